// A table of data, which scrolls in its own frame if it is wider than the page. One with actions
// does not: in a narrow window, each of its rows is a card.

/**
 * Shows `rows` by `columns`, `{ name, cell(row), isNumber, hasActions }`. The first column is the
 * header of each row; `keyOf(row)` identifies it, and `classOf(row)` is its class.
 */
export function Table({ label, columns, rows, keyOf, classOf }) {
  const [head, ...rest] = columns;
  const classOfCell = ({ isNumber }) => (isNumber ? "number" : undefined);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls by keyboard, too
    <section class={`table ${columns.some(({ hasActions }) => hasActions) ? "cards" : ""}`} aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.name} scope="col" class={classOfCell(column)}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} class={classOf?.(row)}>
              <th scope="row" class={classOfCell(head)}>
                {head.cell(row)}
              </th>
              {rest.map((column) => (
                <td key={column.name} class={classOfCell(column)} data-label={column.hasActions ? undefined : column.name}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
