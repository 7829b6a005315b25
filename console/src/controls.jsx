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
  // At a second Escape, a browser closes a dialog whatever `cancel` does. It is opened again, and
  // `onClose` decides.
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
 * A button that keeps the focus while it is `disabled`. A button with that attribute loses it, and
 * whoever uses the keyboard would have to find the place again.
 */
export function Button({ disabled = false, onClick, ...rest }) {
  const click = (event) => {
    // A click of a submit button would send the form.
    if (disabled) event.preventDefault();
    else onClick?.(event);
  };
  return <button type="button" {...rest} aria-disabled={disabled ? "true" : undefined} onClick={click} />;
}

/** The foot of a dialog: what went wrong, the button that cancels, and those that act. */
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

/** How much an `Excerpt` shows, in units of UTF-16. */
const EXCERPT_LENGTH_MAX = 20_000;

/** The beginning of a long text, in a box that scrolls. */
export function Excerpt({ text }) {
  // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard has to reach it
  return <pre tabIndex={0}>{text.length > EXCERPT_LENGTH_MAX ? `${text.slice(0, EXCERPT_LENGTH_MAX)}…` : text}</pre>;
}

/**
 * A label above its control. `control` is called with the attributes that link it with label and
 * help.
 */
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
 * A button that opens a list of buttons, which closes after a choice, Escape, or when a click or
 * the focus goes elsewhere.
 */
export function Menu({ label, children }) {
  const menu = useRef(null);
  useEffect(() => {
    const close = (event) => {
      // If the menu is removed while it has the focus, `menu` is already null here.
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

/** A progress bar with its count. Without `total`, it shows no end. */
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
