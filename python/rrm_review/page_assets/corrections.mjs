// The files of corrections: one row for each judged sample, in the order of the samples. Pure.
import { KINDS, makeDecision } from "./decisions.mjs";
import { guard, parseCsv, toCsv, unguard } from "./csv.mjs";

const FORMAT = "rrm corrections";
const COLUMNS = ["id", "given_label", "decision", "label"];

/**
 * Return the judged samples as {id, given_label, decision, label} of texts; `label` is null for none.
 * Earlier decisions on samples that aren't on the page follow.
 */
export function listCorrections(model, decisions) {
  const rows = Array.from({ length: model.n }, (_, row) => row).filter((row) => decisions.get(row) !== null);
  rows.sort((a, b) => model.index[a] - model.index[b]);
  const corrections = rows.map((row) => {
    const { kind, label } = decisions.get(row);
    return {
      id: model.ids[row],
      given_label: model.values[model.given[row]],
      decision: kind,
      label: label === null ? null : model.values[label],
    };
  });
  return [...corrections, ...model.others];
}

/** Return corrections as the text of a CSV file. */
export function writeCsv(corrections) {
  const rows = corrections.map((row) => [guard(row.id), guard(row.given_label ?? ""), row.decision, guard(row.label ?? "")]);
  return toCsv([COLUMNS, ...rows]);
}

/** Return corrections as the text of a JSON file; identifiers and labels that were integers are numbers. */
export function writeJson(corrections, model) {
  // Earlier decisions on other samples may have identifiers that aren't integers.
  const write = (text, isInteger) => (isInteger && /^-?(0|[1-9]\d*)$/.test(text) ? text : JSON.stringify(text));
  const lines = corrections.map((row) => {
    const members = [
      `"id": ${write(row.id, model.integers.id)}`,
      `"given_label": ${write(row.given_label, model.integers.label)}`,
      `"decision": ${JSON.stringify(row.decision)}`,
      `"label": ${write(row.label, model.integers.label)}`,
    ];
    return `{${members.join(", ")}}`;
  });
  const head = `{"format": "${FORMAT}", "version": 1, "decisions": [`;
  return lines.length === 0 ? `${head}]}\n` : `${head}\n${lines.join(",\n")}\n]}\n`;
}

/** Return the corrections in the text of a file, as `listCorrections` does; raise an error that says what is wrong. */
export function readCorrections(text, model) {
  return text.trimStart().startsWith("{") ? readJson(text, model) : readCsv(text);
}

/** Return corrections as [row, decision] pairs; raise an error that names what is no sample of the page. */
export function matchCorrections(corrections, model) {
  const others = new Set(model.others.map((item) => item.id));
  const unknown = corrections.map((item) => item.id).filter((id) => !model.rowOf.has(id) && !others.has(id));
  if (unknown.length > 0) {
    const named = unknown.slice(0, 5).map((id) => JSON.stringify(id));
    const more = unknown.length > 5 ? ", …" : "";
    throw new Error(`${unknown.length} ids are no samples of this page: ${named.join(", ")}${more}`);
  }
  const onPage = corrections.filter((item) => model.rowOf.has(item.id));
  return onPage.map((item) => {
    const row = model.rowOf.get(item.id);
    const given = model.given[row];
    // An empty one is unknown: not every file has the given labels.
    const isKnown = item.given_label !== null && item.given_label !== undefined && item.given_label !== "";
    if (isKnown && item.given_label !== model.values[given]) {
      const label = JSON.stringify(item.given_label);
      throw new Error(`the given label of ${JSON.stringify(item.id)} is another one: ${label}`);
    }
    if (!KINDS.includes(item.decision)) {
      throw new Error(`the decision on ${JSON.stringify(item.id)} is unknown: ${JSON.stringify(item.decision)}`);
    }
    const label = model.classOf.get(item.label);
    if (item.decision === "relabel" && label === undefined) {
      throw new Error(`the label of ${JSON.stringify(item.id)} is no class: ${JSON.stringify(item.label)}`);
    }
    return [row, makeDecision(item.decision, label, given)];
  });
}

function readJson(text, model) {
  // The digits of a number as they are written: JavaScript would round large integers.
  const asText = (name, value, context) => (typeof value === "number" ? (context?.source ?? String(value)) : value);
  const file = JSON.parse(text, asText);
  if (file.format !== FORMAT || !Array.isArray(file.decisions)) throw new Error("the file holds no corrections");
  if (file.version !== "1") throw new Error(`the file has version ${file.version}; this page reads version 1`);
  return file.decisions;
}

function readCsv(text) {
  const [header = [], ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
  const names = header.map((name) => name.trim());
  const positions = COLUMNS.map((name) => names.indexOf(name));
  if (positions.includes(-1)) throw new Error(`the file must have the columns ${COLUMNS.join(", ")}`);
  return rows.map((cells) => {
    const [id, givenLabel, decision, label] = positions.map((position) => cells[position] ?? "");
    const kind = decision.trim().toLowerCase();
    return { id: unguard(id), given_label: unguard(givenLabel), decision: kind, label: unguard(label) };
  });
}
