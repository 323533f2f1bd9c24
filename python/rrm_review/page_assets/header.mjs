// The head of the page: its title, notes and progress.
import { byId, element } from "./elements.mjs";
import { formatCount } from "./model.mjs";

/** Show the title, the number of samples and the notes. */
export function drawTitle(model) {
  document.title = model.title;
  document.body.classList.add(model.kind);
  byId("title").textContent = model.title;
  byId("subtitle").textContent =
    model.n < model.total
      ? `${formatCount(model.n)} of ${formatCount(model.total)} samples, the most suspicious first`
      : `${formatCount(model.n)} ${model.n === 1 ? "sample" : "samples"}`;
  byId("notes").hidden = model.notes.length === 0;
  byId("notes-list").append(...model.notes.map((note) => element("li", { dir: "auto", text: note })));
}

/** Show how many samples are judged, and whether there is something to undo or redo. */
export function drawProgress(model, decisions) {
  byId("progress-text").textContent = `${formatCount(decisions.nJudged)} of ${formatCount(model.n)} judged`;
  byId("progress-bar").max = Math.max(model.n, 1);
  byId("progress-bar").value = decisions.nJudged;
  byId("undo").disabled = !decisions.canUndo;
  byId("redo").disabled = !decisions.canRedo;
}
