// Tenants' records in `ROUTING_CONFIG`, each under an id of its own.
import { uniqueName } from "./eventually.mjs";

/** Everything that a test file does with the records of one Worker. */
export function storefrontsOf(worker) {
  const put = (id, record) => worker.env.ROUTING_CONFIG.put(id, typeof record === "string" ? record : JSON.stringify(record));
  return {
    /** Writes a record, or text as it is, under an id. */
    put,
    remove: (id) => worker.env.ROUTING_CONFIG.delete(id),
    /** Writes a record under an id that no other test uses; returns the id. */
    async add(record, name = "shop") {
      const id = uniqueName(name);
      await put(id, record);
      return id;
    },
  };
}
