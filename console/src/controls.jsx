// The controls that panels and dialogs share.
import { useEffect, useId, useLayoutEffect, useRef } from "preact/hooks";

/** A modal dialog with a title. `onClose` is called for Escape; it may remove the dialog. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown.showModal();
    // Closing gives the focus back to the control that had it; removing alone does not.
    return () => shown.close();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  // A browser closes a dialog at the second Escape without asking.
  const closed = () => {
    if (dialog.current === null) return;
    dialog.current.showModal();
    onClose();
  };
  return (
    <dialog ref={dialog} aria-labelledby={id} onCancel={cancel} onClose={closed}>
      <div class="stack">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

/**
 * A button that keeps the focus while it is `disabled`. A browser takes the focus from one with
 * that attribute, so whoever has pressed it with the keyboard would have to find the place again.
 */
export function Button({ disabled = false, onClick, ...rest }) {
  const click = (event) => {
    // A click of a submit button would send the form.
    if (disabled) event.preventDefault();
    else onClick?.(event);
  };
  return <button type="button" {...rest} aria-disabled={disabled ? "true" : undefined} onClick={click} />;
}

/** The foot of a dialog: what went wrong, a way out, and the buttons that go on. */
export function DialogFoot({ problem, cancel = "Cancel", cancelRef, onCancel, children }) {
  return (
    <>
      <p class="problem" role="alert">
        {problem}
      </p>
      <div class="actions">
        <button type="button" ref={cancelRef} onClick={onCancel}>
          {cancel}
        </button>
        {children}
      </div>
    </>
  );
}

/** The most characters that an `Excerpt` shows. */
const EXCERPT = 20_000;

/** The beginning of a text, to read. */
export function Excerpt({ text }) {
  // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard has to reach it
  return <pre tabIndex={0}>{text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text}</pre>;
}

/** A label above its control. `control` is called with the attributes that tie both together. */
export function Field({ label, help, control, class: name = "" }) {
  const id = useId();
  return (
    <div class={`field ${name}`}>
      <label for={id}>{label}</label>
      {control({ id, "aria-describedby": help ? `${id}-help` : undefined })}
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
    </div>
  );
}

/**
 * A button that opens a list of buttons, which closes after a choice, Escape, or if a click or the
 * focus goes elsewhere.
 */
export function Menu({ label, children }) {
  const menu = useRef(null);
  useEffect(() => {
    const close = (event) => {
      // Removing the menu while it has the focus moves the focus: `menu` is null by then.
      if (menu.current && !menu.current.contains(event.target)) menu.current.open = false;
    };
    addEventListener("pointerdown", close);
    addEventListener("focusin", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("focusin", close);
    };
  }, []);
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || !menu.current.open) return;
    menu.current.open = false;
    menu.current.firstElementChild.focus();
    event.stopPropagation();
  };
  // Before the button acts: a dialog that it opens gives the focus back to what has it then.
  const onClickCapture = ({ target, currentTarget }) => {
    if (!target.closest("button")) return;
    currentTarget.firstElementChild.focus();
    currentTarget.open = false;
  };
  return (
    <details class="menu" ref={menu} onKeyDown={onKeyDown} onClickCapture={onClickCapture}>
      <summary>{label}</summary>
      <div>{children}</div>
    </details>
  );
}

/** A bar with its numbers. Without `total` the end is not known. */
export function Progress({ label, done, total }) {
  const text = total === undefined ? done.toLocaleString("en") : `${done.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  return (
    <div class="field">
      <progress aria-label={label} value={total === undefined ? undefined : done} max={total === undefined ? undefined : Math.max(total, 1)} />
      <p class="help" role="status">
        {label}: {text}
      </p>
    </div>
  );
}
