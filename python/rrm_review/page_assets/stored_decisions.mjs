// Connects the decisions with the browser's storage, and says so where they would be lost.
import { byId } from "./elements.mjs";
import { createStorage, openStorage } from "./storage.mjs";

/** Load the stored decisions into `decisions`; return what saves later ones. */
export function createStoredDecisions(model, decisions) {
  let isLost = false; // decisions that are neither stored nor exported

  const storage = createStorage(openStorage(), model.key, (error) => {
    byId("warning").hidden = false;
    byId("warning-reason").textContent = error.name === "QuotaExceededError" ? "The browser's storage is full." : "";
  });

  /** Take over an entry of the storage; return the row, or null if it is no decision on a sample of this page. */
  function take({ id, entry }) {
    const row = model.rowOf.get(id);
    if (row === undefined) return null;
    if (entry === undefined || entry === null) {
      decisions.replace(row, entry);
      return row;
    }
    const [kind, value] = entry;
    const label = value === null ? null : model.classOf.get(value);
    if (label === undefined) return null;
    decisions.replace(row, { kind, label });
    return row;
  }

  function asEntry(row) {
    if (!decisions.isChanged(row)) return undefined;
    const decision = decisions.get(row);
    if (decision === null) return null;
    return [decision.kind, decision.label === null ? null : model.values[decision.label]];
  }

  for (const item of storage.load()) take(item);
  window.addEventListener("beforeunload", (event) => {
    if (isLost) event.preventDefault();
  });

  return {
    /** Store the decisions on some samples. */
    save(rows) {
      for (const row of rows) {
        if (!storage.save(model.ids[row], asEntry(row))) isLost = true;
      }
    },
    /** All decisions are in a file now. */
    markExported() {
      isLost = false;
    },
    /** Call `onChange(rows)` when another tab has judged samples. */
    watch(onChange) {
      window.addEventListener("storage", (event) => {
        const item = storage.readEvent(event);
        const row = item === null ? null : take(item);
        if (row !== null) onChange([row]);
      });
    },
  };
}
