// Which samples are listed, and in which order. Pure.

export const NO_FILTER = Object.freeze({
  given: null,
  predicted: null,
  quality: null,
  state: "all",
  issues: false,
  duplicates: false,
  text: "",
  order: "quality",
});

/** Return all rows in an order: "quality" (the most suspicious first), "index" or "confidence" (the highest first). */
export function sortRows(model, order) {
  const rows = Array.from({ length: model.n }, (_, row) => row);
  if (order === "index") return rows.sort((a, b) => model.index[a] - model.index[b]);
  if (order === "confidence" && model.confidence) {
    const confidence = model.confidence.map((value) => value ?? -1);
    return rows.sort((a, b) => confidence[b] - confidence[a] || a - b);
  }
  return rows;
}

/** Return the searchable text of each sample: identifier, sample, labels and columns, in lower case. */
export function collectTexts(model) {
  const columns = [...Object.values(model.content.fields ?? {}), ...Object.values(model.columns)].filter((values) =>
    values.some((value) => typeof value === "string" || Number.isInteger(value)),
  );
  const texts = model.content.texts ?? [];
  return model.ids.map((id, row) => {
    const parts = [id, texts[row] ?? "", model.names[model.given[row]], model.names[model.predicted[row]]];
    for (const values of columns) parts.push(values[row] ?? "");
    return parts.join("\n").toLowerCase();
  });
}

/** Return whether a decision is in a state of the filter: "all", "undecided" or a kind. */
export function isInState(decision, state) {
  if (state === "all") return true;
  return state === (decision === null ? "undecided" : decision.kind);
}

/** Return a function of (filter, decisions) that returns the rows which pass; it keeps orders and texts. */
export function createSelector(model) {
  const orders = new Map();
  let texts = null;
  return (filter, decisions) => {
    if (!orders.has(filter.order)) orders.set(filter.order, sortRows(model, filter.order));
    let rows = orders.get(filter.order);
    const retain = (passes) => (rows = rows.filter(passes));
    if (filter.given !== null) retain((row) => model.given[row] === filter.given);
    if (filter.predicted !== null) retain((row) => model.predicted[row] === filter.predicted);
    if (filter.quality !== null && model.quality) {
      retain((row) => model.quality[row] !== null && model.quality[row] <= filter.quality);
    }
    if (filter.issues && model.issues) retain((row) => model.issues[row]);
    if (filter.duplicates && model.duplicates) retain((row) => model.duplicates[row] !== "");
    if (filter.state !== "all") retain((row) => isInState(decisions.get(row), filter.state));
    const words = filter.text.trim().toLowerCase();
    if (words !== "") {
      texts ??= collectTexts(model);
      retain((row) => texts[row].includes(words));
    }
    return rows;
  };
}
