// A Worker that does nothing, to measure workerd's own time to the first response.
export default { fetch: () => new Response() };
