/** The panel "Cache". */
export function CachePanel() {
  return <h1>Cache</h1>;
}
