// The list of namespaces, and the dialog that creates, renames or deletes one.
import { useState } from "preact/hooks";
import { Button, Dialog, DialogFoot, Field } from "../controls.jsx";
import { createNamespace, deleteNamespace, renameNamespace, titleProblem } from "../kv.js";
import { fragmentOf } from "../location.js";

/** What kv-edge keeps in a binding with this role. */
const ROLES = {
  cache: "Stored responses of the cache",
  configuration: "Flags and users' records",
  storefronts: "Records of storefronts",
  assets: "Releases of files",
  writes: "Keys of /writes",
  namespaces: "The home of created namespaces",
};

/** All namespaces that the token sees. `heading` is a ref for the heading. */
export function NamespaceList({ heading, namespaces, session, onChanged }) {
  const [open, setOpen] = useState(null);
  return (
    <div class="stack">
      <div class="row spread">
        <h1 ref={heading} tabIndex={-1}>
          Namespaces
        </h1>
        {session.createsNamespaces && (
          <button type="button" onClick={() => setOpen({ action: "create" })}>
            New namespace
          </button>
        )}
      </div>
      <div class="table cards">
        <table>
          <thead>
            <tr>
              <th scope="col">Title</th>
              <th scope="col">ID</th>
              <th scope="col">Access</th>
              <th scope="col">
                <span class="unseen">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {namespaces.map((namespace) => (
              <tr key={namespace.id}>
                <td>
                  <a href={fragmentOf("browse", [namespace.title, ""])}>{namespace.title}</a>
                  <div class="help">{namespace.binding ? (ROLES[namespace.binding.role] ?? "A binding") : "Created by a client"}</div>
                </td>
                <td class="mono" data-label="ID">
                  {namespace.id}
                </td>
                <td data-label="Access">{namespace.isWritable ? <span class="chip good">read and write</span> : <span class="chip">read-only</span>}</td>
                <td>
                  {session.everything && !namespace.binding && (
                    <div class="row">
                      <button type="button" onClick={() => setOpen({ action: "rename", namespace })}>
                        Rename…
                      </button>
                      <button type="button" class="danger" onClick={() => setOpen({ action: "delete", namespace })}>
                        Delete…
                      </button>
                    </div>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {namespaces.length === 0 && <p class="empty">The token sees no namespace.</p>}
      </div>
      {open && <NamespaceDialog {...open} onClose={() => setOpen(null)} onChanged={onChanged} />}
    </div>
  );
}

const TITLES = { create: "New namespace", rename: "Rename the namespace", delete: "Delete the namespace with all of its keys?" };
const VERBS = { create: "Create", rename: "Rename", delete: "Delete" };

function NamespaceDialog({ action, namespace, onClose, onChanged }) {
  const [title, setTitle] = useState(action === "rename" ? namespace.title : "");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const isBlank = title !== "" && title.trim() === "";
  const refusal = action === "delete" ? null : isBlank ? "A title has more than spaces." : titleProblem(title);
  async function submit(event) {
    event.preventDefault();
    if (action === "delete" && title !== namespace.title) return setProblem("The title is not the same.");
    setBusy(true);
    try {
      if (action === "create") await createNamespace(title);
      else if (action === "rename") await renameNamespace(namespace.id, title);
      else await deleteNamespace(namespace.id);
      onChanged();
      onClose();
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
    }
  }
  return (
    <Dialog title={TITLES[action]} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field
          label="Title"
          help={action === "delete" ? `Type ${namespace.title} to confirm. That cannot be undone.` : refusal}
          control={(attributes) => (
            <input {...attributes} spellcheck={false} autocomplete="off" value={title} onInput={(event) => setTitle(event.currentTarget.value)} />
          )}
        />
        <DialogFoot problem={problem} onCancel={onClose}>
          <Button type="submit" class={action === "delete" ? "danger" : "primary"} disabled={isBusy || title === "" || refusal !== null}>
            {VERBS[action]}
          </Button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
