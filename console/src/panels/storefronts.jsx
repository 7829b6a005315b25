/** The panel "Storefronts". */
export function StorefrontsPanel() {
  return <h1>Storefronts</h1>;
}
