// A sample, its labels and its decision as elements, for the grid and the single view.
import { element, isolated, svgElement } from "./elements.mjs";
import { formatValue, readPruned } from "./model.mjs";

const BADGES = { keep: "✓ Keep", relabel: "→", drop: "✕ Drop", unsure: "? Unsure" };
const FIELDS_IN_GRID = 6;
const DESCRIBED_CHARACTERS = 200; // of a text, for screen readers
const BAR_WIDTH = 10; // pixels, at most

/** Return the content of a sample: an image, a text, or the first columns of a table's row. */
export function drawContent(model, row, { whole = false } = {}) {
  const { images, texts, fields } = model.content;
  if (images) return drawImage(model, row);
  if (texts) return element("div", { class: "text", dir: "auto", text: whole ? texts[row] : texts[row].slice(0, 600) });
  const names = Object.keys(fields).slice(0, FIELDS_IN_GRID);
  const pairs = names.map((name) =>
    element("div", { class: "field" }, [
      element("span", { class: "name" }, [isolated(name)]),
      isolated(String(formatValue(fields[name][row])), { class: "value" }),
    ]),
  );
  return element("div", { class: "fields" }, pairs);
}

function drawImage(model, row) {
  const source = model.content.images[row];
  if (source === null) {
    return element("div", { class: "unreadable" }, [
      element("strong", { text: "This image can't be read" }),
      isolated(model.content.errors[row] ?? ""),
    ]);
  }
  const image = element("img", { src: source, alt: `Image ${model.ids[row]}`, draggable: "false" });
  // PNG is used for small images only.
  if (source.startsWith("data:image/png")) image.classList.add("pixelated");
  return image;
}

/** Return the given and the predicted label. */
export function drawLabels(model, row) {
  const [given, predicted] = [model.names[model.given[row]], model.names[model.predicted[row]]];
  return element("div", { class: "labels" }, [
    isolated(given, { class: "given", title: given }),
    element("span", { class: "arrow", text: "→" }),
    isolated(predicted, { class: "predicted", title: predicted }),
  ]);
}

/** Return the decision on a sample as a badge, or null. */
export function drawBadge(model, decisions, row) {
  const decision = decisions.get(row);
  if (decision === null) return null;
  const mark = element("span", { text: BADGES[decision.kind] });
  const badge = element("span", { class: `badge ${decision.kind}` }, [mark]);
  if (decision.kind === "relabel") badge.append(" ", isolated(model.names[decision.label]));
  if (decisions.isEarlier(row)) badge.append(" ", element("em", { text: "earlier round" }));
  return badge;
}

/** Return the reweights as a chart, a bar for each that pruned the sample, or null if there is no history. */
export function drawSparkline(model, row) {
  const pruned = readPruned(model, row);
  if (pruned === null) return null;
  const bars = (wanted, top) => pruned.map((value, i) => (value === wanted ? `M${i} ${top}h.8V10h-.8z` : "")).join("");
  const attributes = {
    viewBox: `0 0 ${pruned.length} 10`,
    preserveAspectRatio: "none",
    class: "sparkline",
    role: "img",
    "aria-label": describePruned(pruned),
  };
  const chart = svgElement("svg", attributes, [
    svgElement("path", { d: bars(1, 0), class: "pruned" }),
    svgElement("path", { d: bars(0, 8.5), class: "kept" }),
  ]);
  chart.style.maxWidth = `${pruned.length * BAR_WIDTH}px`;
  return chart;
}

/** Return the history in words. */
export function describePruned(pruned) {
  return `pruned by ${pruned.reduce((a, b) => a + b, 0)} of ${pruned.length} reweights`;
}

/** Return the sample in words, for screen readers. */
export function describeSample(model, decisions, row) {
  const decision = decisions.get(row);
  const state = decision === null ? "undecided" : decision.kind;
  const given = model.names[model.given[row]];
  const predicted = model.names[model.predicted[row]];
  const text = model.content.texts ? `. ${model.content.texts[row].slice(0, DESCRIBED_CHARACTERS)}` : "";
  return `${model.ids[row]}: given ${given}, predicted ${predicted}, ${state}${text}`;
}

/** Return [name, value] pairs as a table. */
export function drawValues(pairs, caption) {
  const rows = pairs.map(([name, value]) =>
    element("tr", {}, [
      element("th", { scope: "row" }, [isolated(name)]),
      element("td", { dir: "auto", text: String(formatValue(value)) }),
    ]),
  );
  return element("table", { class: "details" }, [
    element("caption", { class: "hidden", text: caption }),
    element("tbody", {}, rows),
  ]);
}
