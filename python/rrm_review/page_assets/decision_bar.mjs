// The bar of decisions on the selected sample: the same buttons in the grid and in the single view.
import { byId, element, isolated } from "./elements.mjs";

function key(text) {
  return element("kbd", { text, "aria-hidden": "true" });
}

/** Return a function that draws the bar for the selected sample; `act` gets an action as `readKey` returns it. */
export function createDecisionBar(model, decisions, session, digitsOf, act) {
  const buttons = byId("decision-buttons");
  const digits = byId("digit-buttons");

  function drawButton(action, name, label, letter, kind = action) {
    const decision = decisions.get(session.row);
    const pressed = action === "clear" ? null : String(decision !== null && isDecision(action, decision));
    const children = [element("span", { text: name }), label === null ? null : isolated(label), key(letter)];
    const attributes = { type: "button", class: `decide ${kind}`, "aria-pressed": pressed, title: label };
    return element("button", { ...attributes, onclick: () => act({ name: action }) }, children);
  }

  function isDecision(action, decision) {
    if (action === "predicted") return decision.kind === "relabel" && decision.label === model.predicted[session.row];
    if (action === "choose") return decision.kind === "relabel" && decision.label !== model.predicted[session.row];
    return action === decision.kind;
  }

  return () => {
    const { row } = session;
    byId("decisions").hidden = row === null;
    if (row === null) return;
    const decision = decisions.get(row);
    const focused = document.activeElement?.closest("#decisions button")?.classList[1];
    const given = model.names[model.given[row]];
    const predicted = model.names[model.predicted[row]];
    const differs = given !== predicted;
    const predictedClass = differs ? "predicted differs" : "predicted";
    buttons.replaceChildren(
      drawButton("keep", "Keep", given, "K"),
      drawButton("predicted", differs ? "Relabel" : "Predicted", predicted, "P", predictedClass),
      drawButton("choose", "Other class…", null, "L"),
      drawButton("drop", "Drop", null, "D"),
      drawButton("unsure", "Unsure", null, "U"),
      drawButton("clear", "Clear", null, "C"),
    );
    buttons.lastChild.disabled = decision === null;
    const choices = digitsOf(model.given[row]).map(({ digit, label }) => {
      const isPredicted = label === model.predicted[row];
      const attributes = {
        type: "button",
        class: `digit digit-${digit}${isPredicted ? " is-predicted" : ""}`,
        "aria-pressed": String(decision !== null && decision.label === label),
        title: model.names[label],
        onclick: () => act({ name: "digit", digit }),
      };
      return element("button", attributes, [key(digit), isolated(model.names[label])]);
    });
    digits.replaceChildren(...choices);
    digits.hidden = choices.length === 0;
    // The buttons are new ones: the focus stays where it was.
    if (focused) byId("decisions").querySelector(`.${focused}:not(:disabled)`)?.focus();
  };
}
