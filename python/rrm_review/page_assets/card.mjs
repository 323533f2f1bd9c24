// The card of a sample in the grid.
import { element, isolated } from "./elements.mjs";
import { formatShort } from "./model.mjs";
import { describeSample, drawBadge, drawContent, drawLabels, drawSparkline } from "./sample_view.mjs";

/** Return the id of the element of a sample's card. */
export function cardId(row) {
  return `sample-${row}`;
}

/** Return the card of a sample; `position` counts from 0 among `count` listed samples. */
export function drawCard(model, decisions, row, position, count) {
  const decision = decisions.get(row);
  const numbers = element("span", { class: "numbers" });
  if (model.quality) numbers.append(drawNumber("quality", model.quality[row]));
  if (model.confidence) numbers.append(drawNumber("confidence", model.confidence[row]));
  const isDuplicate = model.duplicates !== null && model.duplicates[row] !== "";
  const marks = element("div", { class: "marks" }, [
    drawBadge(model, decisions, row),
    isDuplicate ? element("span", { class: "mark", text: "duplicate" }) : null,
  ]);
  const isTile = Boolean(model.content.images);
  const id = isolated(model.ids[row], { class: "id", title: model.ids[row] });
  const meta = element("div", { class: "meta" }, [id, isTile ? null : marks, numbers]);
  return element(
    "div",
    {
      id: cardId(row),
      role: "option",
      class: decision === null ? "card" : `card judged ${decision.kind}`,
      "aria-label": describeSample(model, decisions, row),
      "aria-posinset": position + 1,
      "aria-setsize": count,
      "data-row": row,
    },
    [
      element("div", { class: "content" }, [drawContent(model, row), isTile ? marks : null]),
      element("div", { class: "facts" }, [drawLabels(model, row), meta, drawSparkline(model, row)]),
    ],
  );
}

function drawNumber(name, value) {
  return element("span", { class: "number", title: name }, [
    element("span", { class: "name", text: name === "quality" ? "q " : "p " }),
    formatShort(value),
  ]);
}
