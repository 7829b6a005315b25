// The view of a value as bytes.
import { useState } from "preact/hooks";
import { Button } from "../controls.jsx";
import { number } from "../format.js";
import { VirtualRows } from "./virtual_rows.jsx";

const ROW_BYTES = 16;
const ROW_HEIGHT = 20;
/** The most bytes that are in the list at once: browsers limit how tall an element may be. */
const PART_BYTES = 1024 * 1024;

/**
 * The bytes of a value in hexadecimal, sixteen a row, and beside them as ASCII, with a dot for
 * what ASCII cannot print.
 */
export function HexView({ bytes }) {
  const [wanted, setStart] = useState(0);
  // A shorter value may have taken the place of the one whose end was in view.
  const start = wanted < bytes.length ? wanted : 0;
  const part = bytes.subarray(start, start + PART_BYTES);
  const row = (index) => {
    const rowBytes = part.subarray(index * ROW_BYTES, (index + 1) * ROW_BYTES);
    const offset = (start + index * ROW_BYTES).toString(16).padStart(8, "0");
    const hex = [...rowBytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const ascii = [...rowBytes].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    return <div class="hex-row" key={index}>{`${offset}  ${hex.padEnd(ROW_BYTES * 3)} ${ascii}`}</div>;
  };
  return (
    <div class="stack grow">
      {bytes.length > PART_BYTES && (
        <div class="row">
          <Button disabled={start === 0} onClick={() => setStart(start - PART_BYTES)}>
            Previous
          </Button>
          <Button disabled={start + PART_BYTES >= bytes.length} onClick={() => setStart(start + PART_BYTES)}>
            Next
          </Button>
          <span class="help">
            Bytes {number(start + 1)} to {number(start + part.length)} of {number(bytes.length)}
          </span>
        </div>
      )}
      <VirtualRows class="hex" role="group" aria-label="Bytes" tabIndex={0} count={Math.ceil(part.length / ROW_BYTES)} height={ROW_HEIGHT} row={row} />
    </div>
  );
}
