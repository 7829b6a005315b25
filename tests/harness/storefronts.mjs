// Puts storefront records into `ROUTING_CONFIG` and removes them; `add` chooses an unused id.
import { uniqueName } from "./names.mjs";

/** Returns how a test file writes and removes the records of one Worker. */
export function storefrontsOf(worker) {
  const put = (id, record) => worker.env.ROUTING_CONFIG.put(id, typeof record === "string" ? record : JSON.stringify(record));
  return {
    /** Puts a record, an object or text, under an id. */
    put,
    remove: (id) => worker.env.ROUTING_CONFIG.delete(id),
    /** Puts a record under an id that no other test uses, and returns the id. */
    async add(record, name = "shop") {
      const id = uniqueName(name);
      await put(id, record);
      return id;
    },
  };
}
