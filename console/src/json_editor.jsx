// Two editors on CodeMirror 6: one of any text, and one of JSON, which shows findings at their
// line or path.
//
// CodeMirror brings its own styles. In a shadow root it adopts them as constructed style sheets,
// so the page's policy needs neither 'unsafe-inline' nor a nonce. Custom properties of style.css
// reach into a shadow root, and give the colours.
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import {
  bracketMatching,
  ensureSyntaxTree,
  foldGutter,
  foldKeymap,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
  syntaxTree,
} from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import { EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { indexAfterBytes } from "./browse/json_text.js";

/** A longer line is not wrapped: a browser takes seconds to lay it out. */
const WRAPPED_CHARACTERS = 50_000;

/** How long after the last change the text is checked, in milliseconds. */
const TYPING_MS = 150;

/** For how long the parser may read on to place the findings, in milliseconds. */
const PARSE_MS = 200;

/**
 * An editor of JSON. `findings` are `{ path, problem, severity: "error" | "warning", line, column
 * }`: each is shown at its line and column, counted from 1 and in bytes, or else at the value with
 * that path, such as `flags.banner.rules[0]` or `/flags/banner/rules/0`. Text that is not JSON has
 * a finding of its own, unless it is empty or `findings` have an error already. `onChange` gets
 * the new text.
 */
export const JsonEditor = (props) => <Editor language="json" {...props} />;

/** An editor of any text, without findings. */
export const TextEditor = (props) => <Editor language="text" {...props} />;

function Editor({ language, label, value, onChange, readOnly = false, findings = [] }) {
  const host = useRef(null);
  const view = useRef(null);
  const changed = useRef(onChange);
  changed.current = onChange;
  /**
   * The text that `onChange` got last. If it comes back as `value`, it need not be compared with
   * the editor's.
   */
  const reported = useRef(null);
  const [writable, wrapping] = useRef([new Compartment(), new Compartment()]).current;

  useLayoutEffect(() => {
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: "open", delegatesFocus: true });
    const extensions = [
      ...BASE,
      ...(language === "json" ? JSON_ONLY : []),
      // Explicit, because axe does not count what is editable as focusable.
      EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
      EditorView.updateListener.of((update) => {
        const areFromProps = update.transactions.every((transaction) => transaction.isUserEvent("props"));
        if (!update.docChanged || areFromProps) return;
        reported.current = update.state.doc.toString();
        changed.current?.(reported.current);
      }),
      writable.of(EditorState.readOnly.of(readOnly)),
      wrapping.of(wrappingFor(value)),
    ];
    view.current = new EditorView({ root, parent: root, state: EditorState.create({ doc: value, extensions }) });
    return () => view.current.destroy();
  }, [language, label]);

  useLayoutEffect(() => {
    const { state } = view.current;
    if (value === reported.current || state.doc.toString() === normalized(value)) return;
    const changes = { from: 0, to: state.doc.length, insert: value };
    view.current.dispatch({ changes, userEvent: "props", effects: wrapping.reconfigure(wrappingFor(value)) });
  }, [value]);

  useEffect(() => {
    view.current.dispatch({ effects: writable.reconfigure(EditorState.readOnly.of(readOnly)) });
  }, [readOnly]);

  useEffect(() => {
    if (language !== "json") return undefined;
    const look = () => view.current.dispatch(setDiagnostics(view.current.state, diagnosticsOf(view.current, findings)));
    const timer = setTimeout(look, TYPING_MS);
    return () => clearTimeout(timer);
  }, [language, value, findings]);

  return <div class="editor" ref={host} />;
}

function wrappingFor(text) {
  let start = 0;
  while (text.length - start > WRAPPED_CHARACTERS) {
    const end = text.lastIndexOf("\n", start + WRAPPED_CHARACTERS);
    if (end < start) return [];
    start = end + 1;
  }
  return EditorView.lineWrapping;
}

/** CodeMirror counts any line ending as one line feed. */
const normalized = (text) => text.replace(/\r\n?/g, "\n");

function diagnosticsOf(view, findings) {
  const { state } = view;
  // An empty text is a beginning, not a mistake.
  const ofSyntax = state.doc.toString().trim() === "" ? [] : jsonParseLinter()(view).map((fault) => ({ ...fault, ...visible(state, placeOf(state, fault)) }));
  const placed = findings.map((finding) => ({ ...rangeOf(state, finding), severity: finding.severity, message: finding.problem }));
  // If the Worker has found an error, the syntax errors are left out, which it reports, too.
  return (placed.some(({ severity }) => severity === "error") ? placed : [...ofSyntax, ...placed]).toSorted((a, b) => a.from - b.from);
}

/**
 * Returns where a fault of syntax is. A browser names no place if the text ends too early, and the
 * linter then takes the beginning.
 */
function placeOf(state, fault) {
  if (fault.from > 0) return fault;
  const cursor = treeOf(state).cursor();
  while (cursor.next()) if (cursor.type.isError) return { from: cursor.from, to: cursor.to };
  return fault;
}

const treeOf = (state) => ensureSyntaxTree(state, state.doc.length, PARSE_MS) ?? syntaxTree(state);

/** Returns a range of one character at least, so that it can be underlined. */
function visible(state, { from, to }) {
  if (from < to) return { from, to };
  const line = state.doc.lineAt(from);
  return from < line.to ? { from, to: from + 1 } : { from: Math.max(line.from, from - 1), to };
}

/** Returns `{ from, to }` of a finding in the text. */
function rangeOf(state, { path = "", line, column }) {
  if (line >= 1) {
    const found = state.doc.line(Math.min(line, state.doc.lines));
    const from = found.from + indexAfterBytes(found.text, (column ?? 1) - 1);
    return visible(state, { from, to: found.to });
  }
  const { from, to } = nodeAt(state, pathSteps(path));
  return visible(state, { from, to: Math.min(to, state.doc.lineAt(from).to) });
}

/** Returns the members and indices of a path, in either form. */
function pathSteps(path) {
  if (path.startsWith("/")) {
    return path
      .slice(1)
      .split("/")
      .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  }
  return [...path.matchAll(/\[("(?:[^"\\]|\\.)*")\]|\[(\d+)\]|([^.[\]]+)/g)].map(([, quoted, index, name]) => {
    if (quoted === undefined) return index ?? name;
    return unquoted(quoted);
  });
}

function unquoted(quoted) {
  try {
    return JSON.parse(quoted);
  } catch {
    return quoted.slice(1, -1);
  }
}

/** Returns the node of the syntax tree to which the steps lead, or the deepest one on the way. */
function nodeAt(state, steps) {
  const tree = treeOf(state);
  const root = tree.topNode.firstChild ?? tree.topNode;
  let [node, place] = [root, root];
  for (const step of steps) {
    if (node.name === "Object") {
      const property = node.getChildren("Property").find((child) => memberName(state, child) === step);
      if (!property) break;
      [place, node] = [property, property.lastChild];
    } else {
      const elements = childrenOf(node).filter(({ name }) => !["[", "]", ","].includes(name));
      const element = node.name === "Array" ? elements[Number(step)] : undefined;
      if (!element) break;
      [place, node] = [element, element];
    }
  }
  return place;
}

function memberName(state, property) {
  const name = property.getChild("PropertyName");
  return name && unquoted(state.sliceDoc(name.from, name.to));
}

function childrenOf(node) {
  const children = [];
  for (let child = node.firstChild; child; child = child.nextSibling) children.push(child);
  return children;
}

const COLOURS = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--code-name)" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: tags.invalid, color: "var(--danger)" },
]);

const THEME = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--field)", fontSize: "13px", height: "100%" },
  // The host shows the focus: the gutters would cover a part of an outline in here.
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
  ".cm-content": { caretColor: "var(--text)", padding: "8px 0" },
  ".cm-gutters": { color: "var(--muted)", backgroundColor: "var(--field)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter, .cm-matchingBracket": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine, &.cm-focused .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--selected)", outline: "none" },
  ".cm-selectionMatch": { backgroundColor: "var(--selected)" },
  ".cm-foldPlaceholder": { color: "var(--muted)", backgroundColor: "var(--hover)", border: "none" },
  ".cm-tooltip, .cm-panels": { color: "var(--text)", backgroundColor: "var(--raised)", border: "1px solid var(--line)" },
  ".cm-panels": { border: "none", borderBottom: "1px solid var(--line)" },
  ".cm-textfield": { color: "var(--text)", backgroundColor: "var(--field)", border: "1px solid var(--line)" },
  ".cm-button": { color: "var(--text)", backgroundImage: "none", backgroundColor: "var(--raised)", border: "1px solid var(--line)" },
  ".cm-panel.cm-search [name=close]": { color: "var(--text)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--danger)" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--warning)" },
});

/**
 * Replaces a selection by what is typed over it. Left to itself, Chromium keeps the look of the
 * selection in a `style` attribute, which the page's policy blocks and reports.
 */
const TYPING_OVER_A_SELECTION = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { state } = view;
    if (event.inputType !== "insertText" || !event.data || event.isComposing || state.readOnly || state.selection.main.empty) return false;
    view.dispatch(state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    event.preventDefault();
    return true;
  },
});

const BASE = [
  TYPING_OVER_A_SELECTION,
  lineNumbers(),
  history(),
  highlightActiveLine(),
  highlightSelectionMatches(),
  search({ top: true }),
  THEME,
  syntaxHighlighting(COLOURS),
  // Without a binding for Tab, it moves on to the next control, so the keyboard gets out of the
  // editor.
  keymap.of([...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...lintKeymap]),
];

const JSON_ONLY = [json(), indentUnit.of("  "), foldGutter(), bracketMatching(), indentOnInput(), lintGutter()];
