// A long list, of which only what is in view is in the page.
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** Rows above and below those in view, so that a quick scroll shows no gap. */
const MARGIN_ROWS = 12;
/** The rows are made again only when the position passes a multiple of so many rows. */
const STEP_ROWS = 4;

/**
 * A list of `count` rows of one height, of which only those in view, and a few around them, exist.
 * `row` renders the one with an index. `onEnd` is called at each scroll near the end.
 * `scroller` is a ref for the element that scrolls, if the caller needs it, and other attributes
 * go to that element. `active` is `{ index, id }` of the row that the keyboard acts on, which
 * assistive technology looks for: it is named only while it exists.
 */
export function VirtualRows({ count, height, row, onEnd, scroller, active, ...attributes }) {
  const ownScroller = useRef(null);
  const element = scroller ?? ownScroller;
  const [{ top, room }, setView] = useState({ top: 0, room: 800 });
  const update = () => {
    const { scrollTop, clientHeight: room } = element.current;
    // Rounded down to whole steps, so that most frames of a scroll change nothing.
    const top = scrollTop - (scrollTop % (STEP_ROWS * height));
    setView((before) => (before.top === top && before.room === room ? before : { top, room }));
  };
  useLayoutEffect(() => {
    const observer = new ResizeObserver(update);
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  const onScroll = ({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
    update();
    if (scrollTop + clientHeight > scrollHeight - 10 * height) onEnd?.();
  };
  const first = Math.max(0, Math.floor(top / height) - MARGIN_ROWS);
  const end = Math.min(count, Math.ceil((top + room) / height) + STEP_ROWS + MARGIN_ROWS);
  const rows = [];
  for (let index = first; index < end; index += 1) rows.push(row(index));
  const named = active?.index >= first && active.index < end ? { "aria-activedescendant": active.id } : {};
  return (
    <div {...attributes} {...named} ref={element} onScroll={onScroll}>
      <div role="presentation" style={{ height: `${count * height}px` }}>
        <div role="presentation" style={{ transform: `translateY(${first * height}px)` }}>
          {rows}
        </div>
      </div>
    </div>
  );
}
