// Where the focus goes if the element that has it goes.
import { useLayoutEffect } from "preact/hooks";

/**
 * Moves the focus if a render of the component removes or disables the element that has it. A
 * browser would leave it on nothing, so whoever uses the keyboard would have to find the place
 * again. `places` are refs of elements that can have the focus, the innermost first. The focus
 * goes to the first of them that the element was in and that the page still has, or else to the
 * last that the page has.
 */
export function useFocusFallback(...places) {
  const focused = document.activeElement;
  const around = places.filter(({ current }) => current?.contains(focused));
  useLayoutEffect(() => {
    const isLost = !focused.isConnected || focused.matches(":disabled");
    // A dialog that closes, and a component inside this one, have moved it already.
    if (!isLost || ![focused, document.body].includes(document.activeElement)) return;
    const place = [...around, ...places.toReversed()].find(({ current }) => current !== null);
    place?.current.focus();
  });
}

const NOWHERE = { current: null };

/**
 * Does so only if the element was in `box`, a ref. If anything else with the focus goes, it is for
 * the component around to say where that goes.
 */
export function useFocusFallbackIn(box, ...places) {
  useFocusFallback(...(box.current?.contains(document.activeElement) ? places : [NOWHERE]));
}
