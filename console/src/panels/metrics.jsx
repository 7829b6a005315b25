/** The panel "Metrics". */
export function MetricsPanel() {
  return <h1>Metrics</h1>;
}
