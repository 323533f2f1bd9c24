// The single view: one sample, large, with all that is known about it.
import { element, isolated } from "./elements.mjs";
import { formatCount, formatValue, listDetails, listValues, readPruned } from "./model.mjs";
import { describePruned, drawBadge, drawContent, drawSparkline, drawValues } from "./sample_view.mjs";

/** Return a function that draws the selected sample into a container; `onMove` gets -1 or 1. */
export function createSingle(container, model, decisions, session, onMove) {
  return () => {
    const { row } = session;
    if (row === null) {
      container.replaceChildren();
      return;
    }
    const { fields } = model.content;
    const details = listDetails(model, row);
    const attributes = { class: `stage ${model.kind} scrolls`, tabindex: "0", role: "region", "aria-label": "Sample" };
    const stage = element("div", attributes);
    if (fields) stage.append(drawValues(listValues(fields, row), "All columns of this sample"));
    else stage.append(drawContent(model, row, { whole: true }));
    container.replaceChildren(
      element("div", { class: "viewer" }, [drawHeading(row), stage]),
      element("aside", { class: "panel scrolls", "aria-label": "Details" }, [
        drawFacts(row),
        ...drawHistory(row),
        details.length > 0 ? element("h3", { text: "Details" }) : "",
        drawValues(details, "Columns of the table of label issues"),
      ]),
    );
  };

  function drawHeading(row) {
    const count = `${formatCount(session.position + 1)} of ${formatCount(session.rows.length)}`;
    return element("div", { class: "heading" }, [
      element("button", { type: "button", "aria-label": "Previous sample", text: "‹", onclick: () => onMove(-1) }),
      element("span", { class: "count", text: count }),
      element("button", { type: "button", "aria-label": "Next sample", text: "›", onclick: () => onMove(1) }),
      element("h2", {}, [isolated(model.ids[row])]),
      drawBadge(model, decisions, row) ?? element("span", { class: "badge", text: "Undecided" }),
    ]);
  }

  function drawFacts(row) {
    const facts = [
      ["Given", model.names[model.given[row]], "given"],
      ["Predicted", model.names[model.predicted[row]], "predicted"],
    ];
    if (model.confidence) facts.push(["Confidence", formatValue(model.confidence[row]), "number"]);
    if (model.quality) facts.push(["Label quality", formatValue(model.quality[row]), "number"]);
    if (model.duplicates && model.duplicates[row] !== "") facts.push(["Same content", model.duplicates[row], "remark"]);
    const items = facts.map(([name, value, kind]) =>
      element("div", { class: kind }, [element("dt", { text: name }), element("dd", {}, [isolated(value)])]),
    );
    return element("dl", { class: "facts" }, items);
  }

  function drawHistory(row) {
    const pruned = readPruned(model, row);
    if (pruned === null) return [];
    return [element("p", { class: "history", text: describePruned(pruned) }), drawSparkline(model, row)];
  }
}
