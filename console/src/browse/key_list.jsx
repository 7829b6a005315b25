// The list of keys and folders in the panel "Browse".
import { useEffect, useId, useMemo, useState } from "preact/hooks";
import { dateTime, fromNow, number } from "../format.js";
import { VirtualRows } from "./virtual_rows.jsx";

const ROW_HEIGHT = 34;

/**
 * The keys and folders in view, as a list box: arrows, Page Up and Down, Home and End move, Enter
 * opens, Backspace goes to the folder above. `scroller` is a ref of the element.
 */
export function KeyList({ scroller, label, rows, selected, onFolder, onKey, onUp, onEnd }) {
  const id = useId();
  const [active, setActive] = useState(null);
  const index = Math.min(active ?? 0, rows.length - 1);

  const selectedAt = useMemo(() => rows.findIndex(({ key }) => key?.name === selected), [rows, selected]);
  useEffect(() => {
    if (selectedAt >= 0) setActive(selectedAt);
  }, [selected]);
  // The rows come after the address that names the key. Whoever has moved meanwhile stays there.
  useEffect(() => {
    if (selectedAt >= 0) setActive((now) => now ?? selectedAt);
  }, [selectedAt >= 0]);

  const open = (row) => (row.folder === undefined ? onKey(row.key.name) : onFolder(row.folder));
  const moveTo = (to) => {
    const next = Math.max(0, Math.min(to, rows.length - 1));
    setActive(next);
    const { current } = scroller;
    const top = next * ROW_HEIGHT;
    if (top < current.scrollTop) current.scrollTop = top;
    else if (top + ROW_HEIGHT > current.scrollTop + current.clientHeight) current.scrollTop = top + ROW_HEIGHT - current.clientHeight;
  };
  const onKeyDown = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(scroller.current.clientHeight / ROW_HEIGHT) - 1);
    const moves = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: rows.length - 1 };
    if (event.key in moves) moveTo(moves[event.key]);
    else if (event.key === "Enter" && rows[index]) open(rows[index]);
    else if (event.key === "Backspace") onUp();
    else return;
    event.preventDefault();
  };

  const row = (at) => {
    const item = rows[at];
    const isSelected = item.key !== undefined && item.key.name === selected;
    const choose = () => {
      setActive(at);
      open(item);
    };
    return (
      // biome-ignore lint/a11y/useKeyWithClickEvents: the list box has the keys
      // biome-ignore lint/a11y/useFocusableInteractive: the list box has the focus
      <div
        key={item.folder ?? item.key.name}
        id={`${id}-${at}`}
        role="option"
        class={`key-row${at === index ? " active" : ""}`}
        aria-selected={isSelected}
        aria-setsize={rows.length}
        aria-posinset={at + 1}
        onClick={choose}
      >
        {item.folder === undefined ? <KeyCells item={item} /> : <FolderCells item={item} />}
      </div>
    );
  };

  return (
    <VirtualRows
      class="key-list"
      role="listbox"
      aria-label={label}
      active={{ index, id: `${id}-${index}` }}
      tabIndex={0}
      scroller={scroller}
      count={rows.length}
      height={ROW_HEIGHT}
      row={row}
      onEnd={onEnd}
      onKeyDown={onKeyDown}
    />
  );
}

const FolderCells = ({ item: { label, count } }) => (
  <>
    <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M1.5 3.5h4.6l1.4 1.6h7v7.4h-13z" />
    </svg>
    <span class="key-name">{label}</span>
    <span class="key-note">{number(count)}</span>
  </>
);

function KeyCells({ item: { label, key } }) {
  const { metadata, expiration } = key;
  return (
    <>
      <span class="glyph" />
      <span class="key-name">{label}</span>
      {metadata !== undefined && metadata !== null && <span class="key-metadata">{JSON.stringify(metadata)}</span>}
      {expiration && (
        <span class="key-note" title={dateTime(expiration)}>
          {fromNow(expiration)}
        </span>
      )}
    </>
  );
}
