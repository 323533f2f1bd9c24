// The controls of the filter.
import { countPairs } from "./confusion.mjs";
import { byId, element } from "./elements.mjs";
import { NO_FILTER } from "./filters.mjs";
import { formatCount } from "./model.mjs";

function fillClasses(select, labels, names) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const options = names.map((name, label) =>
    counts.has(label) ? element("option", { value: label, text: `${name} (${formatCount(counts.get(label))})` }) : null,
  );
  select.append(...options.filter((option) => option !== null));
}

/** Return a function that shows the filter in its controls; `onFilter` is called after a change by them. */
export function createFilterBar(model, session, onFilter) {
  const control = (name) => byId(`filter-${name}`);
  fillClasses(control("given"), model.given, model.names);
  fillClasses(control("predicted"), model.predicted, model.names);
  control("quality").closest("label").hidden = model.quality === null;
  control("issues").closest("label").hidden = model.issues === null;
  control("duplicates").closest("label").hidden = !(model.duplicates ?? []).some((remark) => remark !== "");
  if (model.confidence === null) control("order").querySelector("[value=confidence]").remove();

  const asClass = (value) => (value === "" ? null : Number(value));
  const asQuality = (value) => (value === "" || Number.isNaN(Number(value)) ? null : Number(value));
  const read = {
    given: (node) => asClass(node.value),
    predicted: (node) => asClass(node.value),
    quality: (node) => asQuality(node.value),
    state: (node) => node.value,
    issues: (node) => node.checked,
    duplicates: (node) => node.checked,
    text: (node) => node.value,
    order: (node) => node.value,
  };
  for (const [name, value] of Object.entries(read)) {
    control(name).addEventListener("input", (event) => {
      session.setFilter({ [name]: value(event.target) });
      onFilter();
    });
  }
  byId("filter-clear").addEventListener("click", () => {
    session.setFilter({ ...NO_FILTER, order: session.filter.order });
    onFilter();
  });
  const isWide = window.matchMedia("(min-width: 900px)");
  const fold = () => (byId("filters").open = isWide.matches);
  isWide.addEventListener("change", fold);
  fold();

  return () => {
    const { filter } = session;
    for (const name of Object.keys(read)) {
      const node = control(name);
      if (node.type === "checkbox") node.checked = filter[name];
      else if (read[name](node) !== filter[name]) node.value = filter[name] ?? "";
    }
    const isFiltered = Object.keys(NO_FILTER).some((name) => name !== "order" && filter[name] !== NO_FILTER[name]);
    byId("filter-clear").disabled = !isFiltered;
    byId("filters").classList.toggle("active", isFiltered);
    byId("match-count").textContent = isFiltered
      ? `${formatCount(session.rows.length)} of ${formatCount(model.n)} samples match`
      : `${formatCount(model.n)} ${model.n === 1 ? "sample" : "samples"}`;
  };
}

/** Return the pairs of given and predicted class on the page. */
export function countModelPairs(model) {
  return countPairs(model.given, model.predicted, model.names.length);
}
