/** The panel "Browse". */
export function BrowsePanel() {
  return <h1>Browse</h1>;
}
