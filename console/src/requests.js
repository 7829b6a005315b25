// Calls of the API as state of a component: what belongs to its latest inputs, such as what
// somebody types, and what a user starts.
import { useEffect, useRef, useState } from "preact/hooks";

/** The `pauseMs` of `useLatest` for checks of what somebody types. */
export const TYPING_PAUSE_MS = 250;

/**
 * Calls `load` when the component appears and whenever one of `inputs` changes, and returns `{
 * result, error, isLoading, again }`; `again()` makes the call once more. Each call waits for
 * `pauseMs` milliseconds, and is not made if an input changes meanwhile. A response to older
 * inputs is dropped, however late it arrives. During a call, the last result and error stay. A
 * failure keeps the result, and a success clears the error; so `result` may belong to older
 * inputs.
 */
export function useLatest(load, inputs, { pauseMs = 0 } = {}) {
  const [state, setState] = useState({ isLoading: true });
  const [repeats, setRepeats] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    const settle = (outcome) => isCurrent && setState(({ result }) => ({ result, ...outcome, isLoading: false }));
    setState((before) => ({ ...before, isLoading: true }));
    const timer = setTimeout(() => {
      Promise.resolve()
        .then(load)
        .then(
          (result) => settle({ result }),
          (error) => settle({ error }),
        );
    }, pauseMs);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [...inputs, repeats]);
  return { ...state, again: () => setRepeats((count) => count + 1) };
}

/**
 * Returns `[run, { isBusy, error, result }, reset]` for a call that a user starts. `run` clears
 * the outcome of the last call; it does nothing while that is under way. `reset` clears the
 * outcome, but does not stop a call.
 */
export function useAction(perform) {
  const [state, setState] = useState({ isBusy: false });
  const isBusy = useRef(false);
  async function run(...inputs) {
    if (isBusy.current) return;
    isBusy.current = true;
    setState({ isBusy: true });
    let outcome;
    try {
      outcome = { result: await perform(...inputs) };
    } catch (error) {
      outcome = { error };
    }
    isBusy.current = false;
    setState({ isBusy: false, ...outcome });
  }
  return [run, state, () => setState({ isBusy: isBusy.current })];
}
