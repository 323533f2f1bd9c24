// The confusion of given and predicted labels: a matrix, or a list of pairs if there are many classes.
import { element, isolated } from "./elements.mjs";
import { formatCount } from "./model.mjs";

const MAX_CLASSES = 25; // of a matrix
const MAX_PAIRS = 200; // of the list

/** Draw the pairs into a container; `onChoose(given, predicted)` is called on a click. */
export function drawMatrix(container, model, pairs, onChoose) {
  const draw = model.names.length <= MAX_CLASSES ? drawTable : drawList;
  const hint = "Choose a pair to list its samples.";
  container.replaceChildren(
    element("h2", { text: "Given and predicted labels" }),
    element("p", { class: "hint", text: `Samples on this page. ${hint}` }),
    element("div", { class: "scrolls" }, [draw(model, pairs, onChoose)]),
  );
}

function drawButton(model, pair, largest, onChoose) {
  const [given, predicted] = [model.names[pair.given], model.names[pair.predicted]];
  const noun = pair.count === 1 ? "sample" : "samples";
  const label = `given ${given}, predicted ${predicted}: ${formatCount(pair.count)} ${noun}`;
  const button = element("button", {
    type: "button",
    class: pair.given === pair.predicted ? "cell agree" : "cell",
    "aria-label": label,
    title: label,
    text: formatCount(pair.count),
    onclick: () => onChoose(pair.given, pair.predicted),
  });
  button.style.setProperty("--share", `${Math.round(10 + 60 * Math.sqrt(pair.count / largest))}%`);
  return button;
}

/** Return the count of the most frequent pair of different classes. */
function findLargest(pairs) {
  return pairs.find((pair) => pair.given !== pair.predicted)?.count ?? 1;
}

function drawTable(model, pairs, onChoose) {
  const counts = new Map(pairs.map((pair) => [pair.given * model.names.length + pair.predicted, pair]));
  const largest = findLargest(pairs);
  const head = model.names.map((name) => element("th", { scope: "col", title: name }, [isolated(name)]));
  const corner = element("th", { class: "corner", text: "given ↓  predicted →" });
  const rows = model.names.map((name, given) => {
    const cells = model.names.map((_, predicted) => {
      const pair = counts.get(given * model.names.length + predicted);
      if (pair === undefined) return element("td", { class: "zero", text: "·" });
      return element("td", {}, [drawButton(model, pair, largest, onChoose)]);
    });
    return element("tr", {}, [element("th", { scope: "row", title: name }, [isolated(name)]), ...cells]);
  });
  return element("table", { class: "matrix" }, [
    element("caption", { class: "hidden", text: "Samples by given label (rows) and predicted label (columns)" }),
    element("thead", {}, [element("tr", {}, [corner, ...head])]),
    element("tbody", {}, rows),
  ]);
}

function drawList(model, pairs, onChoose) {
  const largest = findLargest(pairs);
  const items = pairs.slice(0, MAX_PAIRS).map((pair) =>
    element("li", {}, [
      drawButton(model, pair, largest, onChoose),
      isolated(model.names[pair.given], { class: "given" }),
      element("span", { class: "arrow", text: "→" }),
      isolated(model.names[pair.predicted], { class: "predicted" }),
    ]),
  );
  return element("ol", { class: "pairs" }, items);
}
