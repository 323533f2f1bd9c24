// Which key does what. Pure.

const LETTERS = {
  k: "keep",
  p: "predicted",
  l: "choose",
  "/": "choose",
  d: "drop",
  u: "unsure",
  c: "clear",
  z: "undo",
  y: "redo",
  m: "matrix",
  f: "filters",
  e: "export",
  "?": "help",
};
const MOVES = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  Home: "first",
  End: "last",
  PageUp: "page-up",
  PageDown: "page-down",
};
const JUDGING = new Set(["keep", "predicted", "choose", "drop", "unsure", "clear", "digit", "open"]);

/**
 * Return the action of a key, {name} and for digits {name, digit}, or null. A key that is held down judges only once.
 * `context` has the view ("grid", "single" or "matrix"), and whether a text field, a button or a dialog has the focus.
 */
export function readKey(event, context) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || context.inDialog) return null;
  if (event.key === "Escape") return { name: context.isTyping ? "leave" : "back" };
  if (context.isTyping) return null;
  const action = findAction(event, context);
  if (action !== null && event.repeat && JUDGING.has(action.name)) return null;
  if (action !== null && context.view === "matrix" && (JUDGING.has(action.name) || action.name === "move")) return null;
  return action;
}

function findAction(event, context) {
  if (event.key === "Enter" || event.key === " ") return context.onButton ? null : { name: "open" };
  if (event.key in MOVES) return context.inScrolled ? null : { name: "move", direction: MOVES[event.key] };
  if (/^[0-9]$/.test(event.key)) return { name: "digit", digit: event.key };
  const name = LETTERS[event.key.toLowerCase()];
  return name === undefined ? null : { name };
}
