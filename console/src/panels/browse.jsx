// The panel "Browse": namespaces, their keys as folders, and the value of a key.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ExportDialog, ImportDialog, RemoveByPrefixDialog, UploadDialog } from "../browse/bulk_dialogs.jsx";
import { KeyList } from "../browse/key_list.jsx";
import { compareKeys, folderOf, ORDERS, rowsOf } from "../browse/key_rows.js";
import { NamespaceList } from "../browse/namespace_list.jsx";
import { KeyDetails, NewKey } from "../browse/value_form.jsx";
import { Button, Menu } from "../controls.jsx";
import { useFocusFallback } from "../focus.js";
import { counted } from "../format.js";
import { listProblem, readProblem } from "../key_name.js";
import { keys as listKeys, namespaces as listNamespaces, titleProblem } from "../kv.js";
import { fragmentOf, go, usePlace } from "../location.js";
import { FailedCall, Notice } from "../outcome.jsx";
import { TYPING_PAUSE_MS, useLatest } from "../requests.js";

/** The most keys that are loaded: a browser limits how tall a list may be. */
const KEYS_MAX = 400_000;
/** While all keys are loaded, the list is drawn again after so many pages. */
const PAGES_DRAWN = 5;

/**
 * `#/browse/NAMESPACE/PREFIX`, with `?key=KEY` while a key is open, and `?new=yes` while one is
 * made; the prefix may contain slashes.
 */
const placeOf = (namespace, prefix, query) => fragmentOf("browse", [namespace, ...prefix.split("/")], query);

export function BrowsePanel({ session }) {
  const place = usePlace();
  const { query } = place;
  const path = place.panel === "browse" && place.path[0] !== "" ? place.path : [];
  const listed = async () => (await listNamespaces()).map((namespace) => withAccess(namespace, session));
  const listing = useLatest(listed, [session]);
  const { result: namespaces = null, error, again } = listing;
  /** The list of keys, or what stands in its place. */
  const list = useRef(null);
  const details = useRef(null);
  useFocusFallback(details, list);

  // A token for one namespace has no use for a list of one.
  const only = namespaces?.length === 1 && path.length === 0 ? namespaces[0].title : null;
  useEffect(() => {
    if (only !== null) go(placeOf(only, session.scope?.prefix ?? ""), { replace: true });
  }, [only]);

  if (error) {
    return (
      <div class="stack">
        <h1 ref={list} tabIndex={-1}>
          Browse
        </h1>
        <FailedCall of={listing} place={list} />
      </div>
    );
  }
  if (namespaces === null || only !== null) return <p class="empty">Reading the namespaces…</p>;
  if (path.length === 0) return <NamespaceList heading={list} namespaces={namespaces} session={session} onChanged={again} />;
  const [title, ...segments] = path;
  // An empty name is that of no key.
  const selected = query.get("key") || null;
  const namespace = namespaces.find((one) => one.title === title || one.id === title);
  const problem = namespace ? titleProblem(namespace.title) : `The token sees no namespace ${title}.`;
  if (problem) {
    return (
      <div class="stack">
        <h1 ref={list} tabIndex={-1}>
          Browse
        </h1>
        <Notice kind="danger">
          {problem} {namespace && "Rename the namespace to see its keys."}
        </Notice>
      </div>
    );
  }
  return (
    <Keys
      key={namespace.title}
      namespace={namespace}
      namespaces={namespaces}
      prefix={segments.join("/")}
      selected={selected}
      isNew={namespace.isWritable && selected === null && query.has("new")}
      session={session}
      listBox={list}
      details={details}
    />
  );
}

/**
 * Adds which binding a namespace is, if any, whether the token may change it, and how long its
 * keys may be.
 */
function withAccess(namespace, session) {
  const binding = session.bindings.find(({ id }) => id === namespace.id);
  const isWritable = binding ? binding.writable : session.everything || session.scope?.write === true;
  const { bindings, created } = session.keyBytesMax;
  return { ...namespace, binding, isWritable, keyBytesMax: binding ? bindings : created };
}

/**
 * Returns the keys that are loaded, and how to load more: `{ keys, hasMore, isLoading, problem,
 * load, loadAll, stop, restart, change }`. If `isRefused`, none is loaded.
 */
function useKeys(namespace, prefix, isRefused) {
  const list = useRef({ keys: [], cursor: undefined });
  const stop = useRef(null);
  const [state, setState] = useState({ keys: [], hasMore: true, isLoading: true, problem: "" });
  const show = (rest) => setState({ keys: [...list.current.keys], hasMore: list.current.cursor !== null, problem: "", ...rest });

  const load = async ({ isAll = false } = {}) => {
    if (stop.current || list.current.cursor === null || list.current.keys.length >= KEYS_MAX) return;
    const controller = new AbortController();
    stop.current = controller;
    show({ isLoading: true });
    let pages = 0;
    try {
      do {
        const page = await listKeys(namespace, { prefix, cursor: list.current.cursor, signal: controller.signal });
        for (const key of page.keys) list.current.keys.push(key);
        list.current.cursor = page.cursor;
        pages += 1;
        if (!isAll || pages % PAGES_DRAWN === 0) show({ isLoading: isAll && page.cursor !== null });
      } while (isAll && list.current.cursor !== null && list.current.keys.length < KEYS_MAX && !controller.signal.aborted);
      if (stop.current === controller) show({ isLoading: false });
    } catch (error) {
      if (stop.current === controller) show({ isLoading: false, problem: controller.signal.aborted ? "" : error.message });
    } finally {
      if (stop.current === controller) stop.current = null;
    }
  };
  const restart = () => {
    stop.current?.abort();
    stop.current = null;
    list.current = { keys: [], cursor: isRefused ? null : undefined };
    if (isRefused) show({ isLoading: false });
    else load();
  };
  useEffect(() => {
    restart();
    return () => {
      stop.current?.abort();
      stop.current = null;
    };
  }, [namespace, prefix]);

  /** Shows a key that was written or removed, which KV itself lists up to 60 seconds later. */
  const change = ({ name, removed, ...rest }) => {
    const { keys } = list.current;
    if (removed) list.current.keys = keys.filter((key) => key.name !== removed);
    if (name?.startsWith(prefix)) {
      const others = list.current.keys.filter((key) => key.name !== name);
      const at = others.findIndex((key) => compareKeys(key.name, name) > 0);
      // What follows the loaded keys comes with its own page.
      const isLoaded = at !== -1 || list.current.cursor === null || keys.some((key) => key.name === name);
      if (isLoaded) others.splice(at === -1 ? others.length : at, 0, { name, ...rest });
      list.current.keys = others;
    }
    show({ isLoading: stop.current !== null });
  };
  return { ...state, load, loadAll: () => load({ isAll: true }), stop: () => stop.current?.abort(), restart, change };
}

/**
 * The keys of a namespace, and one of them or a new one. `listBox` and `details` are refs for both
 * parts.
 */
function Keys({ namespace, namespaces, prefix, selected, isNew, session, listBox, details }) {
  const { title, isWritable, keyBytesMax } = namespace;
  const [order, setOrder] = useState("name");
  const [hasFolders, setHasFolders] = useState(true);
  const [dialog, setDialog] = useState(null);
  /** The key that was created just now, as long as it is open. */
  const [created, setCreated] = useState(null);
  useEffect(() => {
    if (created !== selected) setCreated(null);
  }, [selected]);
  const listRefusal = listProblem(session, prefix, keyBytesMax);
  const list = useKeys(title, prefix, listRefusal !== null);
  const folder = folderOf(prefix);
  useFocusFallback(details, listBox);
  const rows = useMemo(() => rowsOf(list.keys, prefix, { hasFolders, order }), [list.keys, prefix, hasFolders, order]);
  const openFolder = (next) => go(placeOf(title, next));
  const close = () => go(placeOf(title, prefix));
  /** What the address says besides the folder. */
  const open = isNew ? { new: "yes" } : { key: selected ?? undefined };
  // Nothing above the token's own prefix is in its reach.
  const root = session.scope?.prefix ?? "";
  const withinReach = (wanted) => (wanted.startsWith(root) ? wanted : root);
  const goUp = () => folder.length > root.length && openFolder(folderOf(folder.slice(0, -1)));
  const hasDetails = isNew || selected !== null;
  const refusal = selected === null ? null : readProblem(session, selected, keyBytesMax);
  useEffect(() => {
    // On a narrow screen the details take the place of the list.
    if (hasDetails && listBox.current.offsetParent === null && !isNew) details.current.focus();
  }, [folder, hasDetails, selected]);
  const targets = namespaces.filter((one) => one.isWritable);
  const detailActions = {
    session,
    isWritable,
    isJustSaved: created !== null && created === selected,
    keyBytesMax,
    targets,
    onClose: close,
    onSaved: (key, wasNew) => {
      list.change(key);
      if (!wasNew) return;
      setCreated(key.name);
      // Back would lead to an empty form.
      go(placeOf(title, prefix, { key: key.name }), { replace: true });
    },
    onRemoved: (name) => {
      list.change({ removed: name });
      close();
    },
    onOpen: ({ namespace: to, ...key }) => {
      if (to === title) list.change(key);
      go(placeOf(to, to === title ? prefix : "", { key: key.name }));
    },
  };
  const dialogActions = { session, namespace: title, keyBytesMax, prefix: withinReach(prefix), onClose: () => setDialog(null), onChanged: list.restart };

  return (
    <div class={`browse${hasDetails ? " has-details" : ""}`}>
      <section class="keys" aria-label="Keys">
        <div class="row spread">
          <Path namespace={title} namespaces={namespaces} folder={folder} root={root} />
          <div class="row">
            {isWritable && (
              <button type="button" class="primary" onClick={() => go(placeOf(title, prefix, { new: "yes" }))}>
                New key
              </button>
            )}
            <Menu label="More">
              <button type="button" class="quiet" onClick={() => setDialog("export")}>
                Export…
              </button>
              {isWritable && (
                <>
                  <button type="button" class="quiet" onClick={() => setDialog("import")}>
                    Import…
                  </button>
                  <button type="button" class="quiet" onClick={() => setDialog("upload")}>
                    Upload files…
                  </button>
                  <button type="button" class="quiet danger" onClick={() => setDialog("remove")}>
                    Delete by prefix…
                  </button>
                </>
              )}
            </Menu>
          </div>
        </div>
        <div class="row">
          <Filter folder={folder} prefix={prefix} onPrefix={(next) => go(placeOf(title, next, open), { replace: true })} />
          <select aria-label="Sort what is loaded" value={order} onChange={(event) => setOrder(event.currentTarget.value)}>
            {Object.entries(ORDERS).map(([id, label]) => (
              <option key={id} value={id}>
                {label}
              </option>
            ))}
          </select>
          <label class="choice">
            <input type="checkbox" checked={hasFolders} onChange={(event) => setHasFolders(event.currentTarget.checked)} />
            Folders
          </label>
        </div>
        {!isWritable && <p class="help">Read-only: {reasonOf(namespace, session)}</p>}
        <KeyList
          key={`${folder}\n${hasFolders}\n${order}`}
          scroller={listBox}
          label={`Keys of ${title}${folder && ` in ${folder}`}`}
          rows={rows}
          selected={selected}
          onFolder={openFolder}
          onKey={(key) => go(placeOf(title, prefix, { key }))}
          onUp={goUp}
          onEnd={() => list.load()}
        />
        {rows.length === 0 && !list.isLoading && !list.problem && (
          <p class="empty">{listRefusal ?? (prefix === "" ? "The namespace is empty." : "No key begins with this prefix.")}</p>
        )}
        <div class="row spread key-foot">
          <p class="help" role="status">
            {list.problem ? <span class="problem">{list.problem}</span> : listRefusal === null && loadedText(list, order)}
          </p>
          {list.hasMore && (
            <div class="row">
              <Button disabled={list.isLoading} onClick={() => list.load()}>
                Load more
              </Button>
              <button type="button" onClick={list.isLoading ? list.stop : list.loadAll}>
                {list.isLoading ? "Stop" : "Load all"}
              </button>
            </div>
          )}
        </div>
      </section>
      {hasDetails && (
        <section class="key-details" aria-label="Details of the key" ref={details} tabIndex={-1}>
          {isNew ? (
            <NewKey namespace={title} prefix={withinReach(prefix)} {...detailActions} />
          ) : refusal !== null ? (
            <RefusedKey name={selected} problem={refusal} onClose={close} />
          ) : (
            <KeyDetails key={`${title}\n${selected}`} section={details} namespace={title} name={selected} {...detailActions} />
          )}
        </section>
      )}
      {dialog === "export" && <ExportDialog {...dialogActions} />}
      {dialog === "import" && <ImportDialog {...dialogActions} />}
      {dialog === "upload" && <UploadDialog {...dialogActions} prefix={withinReach(folder)} />}
      {dialog === "remove" && <RemoveByPrefixDialog {...dialogActions} />}
    </div>
  );
}

/** A key that the address names, and that cannot be read. */
const RefusedKey = ({ name, problem, onClose }) => (
  <div class="stack">
    <h2 class="mono">{name}</h2>
    <Notice kind="danger">{problem}</Notice>
    <div class="row">
      <button type="button" onClick={onClose}>
        Close
      </button>
    </div>
  </div>
);

function loadedText({ keys, hasMore, isLoading }, order) {
  const loaded = `${counted(keys.length, "key")} loaded`;
  if (isLoading) return `${loaded}, reading…`;
  if (!hasMore) return `${loaded}, that is all`;
  const sorted = order === "name" ? "" : "; only those loaded are sorted";
  if (keys.length >= KEYS_MAX) return `${loaded}, which is as many as fit here; a prefix shows the others${sorted}`;
  return `${loaded}, more follow${sorted}`;
}

/** Returns why nothing can be changed. */
function reasonOf({ binding }, { everything, scope }) {
  if (scope && !scope.write) return "the token only reads.";
  return everything && binding ? "the var KV_API_WRITABLE does not list this binding." : "the token may not change this namespace.";
}

/** The namespace and the folders above. Those that the token reaches are links. */
function Path({ namespace, namespaces, folder, root }) {
  const names = folder.split("/").slice(0, -1);
  const steps = names.map((name, index) => ({ name, prefix: `${names.slice(0, index + 1).join("/")}/` }));
  return (
    <nav class="path" aria-label="Folder">
      <ol>
        {namespaces.length > 1 && (
          <li>
            <a href={fragmentOf("browse")}>Namespaces</a>
          </li>
        )}
        <li>{folder.length <= root.length ? <h1>{namespace}</h1> : <a href={placeOf(namespace, root)}>{namespace}</a>}</li>
        {steps.map(({ name, prefix }) => (
          <li key={prefix}>
            {prefix === folder ? (
              <h1 class="mono">{name || "/"}</h1>
            ) : prefix.length <= root.length ? (
              name
            ) : (
              <a href={placeOf(namespace, prefix)}>{name || "/"}</a>
            )}
          </li>
        ))}
      </ol>
    </nav>
  );
}

/** What the keys in this folder begin with. */
function Filter({ folder, prefix, onPrefix }) {
  const [text, setText] = useState(prefix.slice(folder.length));
  const timer = useRef(null);
  /** Keeps what else is in the address when the pause ends, such as the key that is open then. */
  const ask = useRef(onPrefix);
  ask.current = onPrefix;
  useEffect(() => () => clearTimeout(timer.current), []);
  // A slash leads into another folder, and what follows it is the text there.
  useEffect(() => {
    clearTimeout(timer.current);
    timer.current = null;
    setText(prefix.slice(folder.length));
  }, [folder]);
  // After Back it is another prefix. What somebody types at this moment is asked for next.
  useEffect(() => {
    if (timer.current === null) setText(prefix.slice(folder.length));
  }, [prefix]);
  const onInput = (event) => {
    const next = event.currentTarget.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      timer.current = null;
      ask.current(folder + next);
    }, TYPING_PAUSE_MS);
  };
  return (
    <input
      class="grow mono filter"
      type="search"
      aria-label="Keys that begin with"
      placeholder="Begins with…"
      spellcheck={false}
      autocomplete="off"
      value={text}
      onInput={onInput}
    />
  );
}
