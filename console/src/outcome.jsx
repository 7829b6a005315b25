// Boxes that say what came of a request, and a button that asks before it acts.
import { useRef, useState } from "preact/hooks";
import { Button, Dialog } from "./controls.jsx";
import { useFocusFallbackIn } from "./focus.js";

/** A box with a sentence. `kind` is "good", "warning", "danger", or none of them. */
export const Notice = ({ kind = "", role, children }) => (
  <div class={`notice ${kind}`} role={role}>
    {children}
  </div>
);

/**
 * Shows an error of a call, and nothing if there is none. `children` follow the message, such as
 * buttons.
 */
export const Failure = ({ error, kind = "danger", children }) =>
  error ? (
    <Notice kind={kind} role="alert">
      <p>{error.message}</p>
      {children}
    </Notice>
  ) : null;

/**
 * Shows why the last call of a `useLatest` has failed, with a button that makes it again. `place`
 * is a ref of the element that has the focus once that button is gone.
 */
export function FailedCall({ of: { error, isLoading, again }, place }) {
  const box = useRef(null);
  useFocusFallbackIn(box, place);
  return (
    error && (
      <div ref={box}>
        <Failure error={error}>
          <Button disabled={isLoading} onClick={again}>
            Try again
          </Button>
        </Failure>
      </div>
    )
  );
}

/**
 * A button that asks in a dialog before it acts. `children` say what will happen; `action` is the
 * text of both buttons, and `label` names the first one if its text alone does not say enough. It
 * acts at once if `needsConfirmation()` returns false.
 */
export function ConfirmedButton({ action, label, title = label ?? action, needsConfirmation = () => true, onConfirm, disabled, children }) {
  const [isOpen, setIsOpen] = useState(false);
  const close = () => setIsOpen(false);
  const confirm = () => {
    close();
    onConfirm();
  };
  return (
    <>
      <Button disabled={disabled} aria-label={label} onClick={() => (needsConfirmation() ? setIsOpen(true) : onConfirm())}>
        {action}
      </Button>
      {isOpen && (
        <Dialog title={title} onClose={close}>
          {children}
          <div class="actions">
            <button type="button" onClick={close}>
              Cancel
            </button>
            <button type="button" class="danger" onClick={confirm}>
              {action}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
