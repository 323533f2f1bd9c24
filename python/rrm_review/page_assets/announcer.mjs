// What happened, in words: shown in the status line and read by screen readers.
import { formatCount } from "./model.mjs";

const VERBS = { keep: "kept", relabel: "relabelled", drop: "dropped", unsure: "marked as unsure" };

/** Return a function that shows a message in an element with role="status". */
export function createAnnouncer(node) {
  return (message) => {
    // The same message twice is a change only if it was empty between.
    node.textContent = "";
    node.textContent = message;
  };
}

/** Return what a decision did, such as "kept, 36 left". */
export function describeDecision(decision, names, nLeft) {
  const left = nLeft === 0 ? "none left" : `${formatCount(nLeft)} left`;
  if (decision === null) return `decision cleared, ${left}`;
  const label = decision.kind === "relabel" ? ` as ${names[decision.label]}` : "";
  return `${VERBS[decision.kind]}${label}, ${left}`;
}
