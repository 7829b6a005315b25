/** Shows figures, `[name, text]`, each with its name. */
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
