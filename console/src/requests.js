// Calls of the API as state of a component: the response to its latest inputs, such as what
// somebody types, and the outcome of a button.
import { useEffect, useRef, useState } from "preact/hooks";

/** The `pauseMs` of `useLatest` for checks of what somebody types. */
export const TYPING_PAUSE_MS = 250;

/**
 * Calls `load` at first and whenever one of `inputs` changes, and returns `{ result, error,
 * isLoading, again }`; `again()` makes the call once more. Each call waits for `pauseMs`
 * milliseconds, and is not made if an input changes meanwhile. A response to older inputs is
 * dropped, however late it arrives. While a call is under way, and if it fails, the last result
 * stays.
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
          (result) => settle({ result, error: undefined }),
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
 * Returns `[run, { isBusy, error, result }, reset]` for what a button starts. `run` does nothing
 * while an earlier call of it is under way; `reset` clears its outcome.
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
