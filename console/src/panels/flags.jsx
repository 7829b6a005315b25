/** The panel "Flags". */
export function FlagsPanel() {
  return <h1>Flags</h1>;
}
