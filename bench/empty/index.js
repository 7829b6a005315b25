// A Worker that does nothing: what workerd itself needs until the first answer.
export default { fetch: () => new Response() };
