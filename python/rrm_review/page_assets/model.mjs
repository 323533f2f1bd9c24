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

/** Return the columns of a sample as [name, value] pairs; those of a table come first. */
export function listDetails(model, row) {
  const pairs = Object.entries(model.content.fields ?? {}).map(([name, values]) => [name, values[row]]);
  if (model.has_ids) pairs.push(["index", model.index[row]]);
  for (const [name, values] of Object.entries(model.columns)) pairs.push([name, values[row]]);
  return pairs;
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
