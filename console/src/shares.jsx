// A picture of how a sample is divided: a bar, a dot for each member if they are known, and the
// numbers as a table.
import { number, percent } from "./format.js";
import { Table } from "./table.jsx";

/** How many colors `panels.css` has for series and shares. */
export const COLOR_COUNT = 8;

const DOT_PX = 7;
const CELL_PX = 9;
const DOTS_PER_ROW = 50;

/**
 * Shows `shares`, `[{ name, count }]`, of `unit` ("Users"). `members` has the name of the share of
 * each member, in their order.
 */
export function Shares({ label, unit, shares, members }) {
  const total = shares.reduce((sum, { count }) => sum + count, 0);
  const colorOf = new Map(shares.map(({ name }, index) => [name, index % COLOR_COUNT]));
  return (
    <figure class="shares" aria-label={label}>
      <div class="shares-bar" aria-hidden="true">
        {shares
          .filter(({ count }) => count > 0)
          .map(({ name, count }) => (
            <span key={name} class={`color-${colorOf.get(name)}`} style={{ flexGrow: count }} title={`${name}: ${count}`} />
          ))}
      </div>
      {members?.length > 0 && (
        <Dots members={members} colorOf={colorOf} label={`${label}: a dot for each of ${number(members.length)} ${unit.toLowerCase()}`} />
      )}
      <Table
        label={label}
        rows={shares}
        keyOf={({ name }) => name}
        columns={[
          { name: "Variant", cell: ({ name }) => <Named name={name} color={colorOf.get(name)} /> },
          { name: unit, isNumber: true, cell: ({ count }) => number(count) },
          { name: "Share", isNumber: true, cell: ({ count }) => percent(total ? count / total : null) },
        ]}
      />
    </figure>
  );
}

const Named = ({ name, color }) => (
  <>
    <span class={`swatch color-${color}`} aria-hidden="true" />
    {name}
  </>
);

/** A path for each color, because a thousand elements make typing slow. */
function Dots({ members, colorOf, label }) {
  const paths = new Map();
  for (const [index, name] of members.entries()) {
    const [x, y] = [(index % DOTS_PER_ROW) * CELL_PX, Math.floor(index / DOTS_PER_ROW) * CELL_PX];
    paths.set(name, `${paths.get(name) ?? ""}M${x} ${y}h${DOT_PX}v${DOT_PX}h-${DOT_PX}z`);
  }
  const rows = Math.ceil(members.length / DOTS_PER_ROW);
  return (
    <svg class="dots" role="img" aria-label={label} viewBox={`0 0 ${DOTS_PER_ROW * CELL_PX} ${rows * CELL_PX}`}>
      {[...paths].map(([name, path]) => (
        <path key={name} class={`color-${colorOf.get(name)}`} d={path} />
      ))}
    </svg>
  );
}
