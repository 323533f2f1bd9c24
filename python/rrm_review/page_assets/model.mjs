// The data of the page, as the other modules use it. Pure.

/** Return the model of a page from its JSON data. */
export function createModel(data) {
  const n = data.ids.length;
  const earlier = data.decisions.map((kind, row) => {
    if (kind === "") return null;
    if (kind === "keep") return { kind, label: data.given[row] };
    return { kind, label: kind === "relabel" ? data.labels[row] : null };
  });
  return {
    ...data,
    n,
    earlier,
    quality: data.columns.label_quality ?? null,
    confidence: data.columns.confidence ?? null,
    issues: data.columns.is_label_issue ?? null,
    duplicates: data.columns.duplicates ?? null,
    rowOf: new Map(data.ids.map((id, row) => [id, row])),
    classOf: new Map(data.values.map((value, label) => [value, label])),
  };
}

/** Return a sample's values of some columns as [name, value] pairs. */
export function listValues(columns, row) {
  return Object.entries(columns).map(([name, values]) => [name, values[row]]);
}

/** Return what the table of label issues says of a sample as [name, value] pairs. */
export function listDetails(model, row) {
  return listValues(model.has_ids ? { index: model.index, ...model.columns } : model.columns, row);
}

/** Return which reweights pruned a sample, as booleans, or null. */
export function readPruned(model, row) {
  if (!model.pruned) return null;
  const digits = model.pruned.bits[row];
  return Array.from({ length: model.pruned.n }, (_, i) => (parseInt(digits[i >> 2], 16) >> (3 - (i & 3))) & 1);
}

/** Return a value as text: numbers that aren't whole with four significant digits. */
export function formatValue(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return value;
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

/** Return a number with two significant digits. */
export function formatShort(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(2))) : formatValue(value);
}

/** Return a count with thousands separators. */
export function formatCount(count) {
  return count.toLocaleString("en");
}
