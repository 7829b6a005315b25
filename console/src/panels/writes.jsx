/** The panel "Writes". */
export function WritesPanel() {
  return <h1>Writes</h1>;
}
