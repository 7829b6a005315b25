/** The panel "Releases". */
export function ReleasesPanel() {
  return <h1>Releases</h1>;
}
