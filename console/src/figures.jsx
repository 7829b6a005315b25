/** Shows a list of figures, `[name, text]`, each text with its name. */
export const Figures = ({ figures }) => (
  <dl class="figures">
    {figures.map(([name, text]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>{text}</dd>
      </div>
    ))}
  </dl>
);
