// Small models of a page for the unit tests of its modules.
import { createModel } from "../../python/rrm_review/page_assets/model.mjs";

/** Return a model with some members of its data replaced. */
export function makeModel(changes = {}) {
  const given = changes.given ?? [0, 1, 2, 0];
  const n = given.length;
  return createModel({
    kind: "texts",
    key: "0123456789abcdef".repeat(4),
    total: n,
    has_ids: true,
    integers: { id: false, label: false },
    values: ["cat", "dog", "eel"],
    names: ["cat", "dog", "eel"],
    index: Array.from({ length: n }, (_, row) => row),
    ids: Array.from({ length: n }, (_, row) => `id-${row}`),
    given,
    predicted: given.map((label) => (label + 1) % 3),
    decisions: given.map(() => ""),
    labels: given.map(() => null),
    others: [],
    columns: {},
    content: { texts: given.map((_, row) => `text ${row}`) },
    ...changes,
  });
}
