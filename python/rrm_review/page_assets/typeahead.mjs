// The box in which a class is chosen by typing: a combobox with a list of the classes that match.
import { byId, element, isolated } from "./elements.mjs";

const MAX_OPTIONS = 50;

/** Return the classes that match a text, as numbers: names that begin with it, then names that contain it. Pure. */
export function matchClasses(names, text) {
  const wanted = text.trim().toLowerCase();
  const lower = names.map((name) => name.toLowerCase());
  const all = names.map((_, label) => label);
  const starting = all.filter((label) => lower[label].startsWith(wanted));
  return [...starting, ...all.filter((label) => !lower[label].startsWith(wanted) && lower[label].includes(wanted))];
}

function describeCount(nMatches, nShown) {
  if (nMatches === 0) return "No class matches.";
  if (nMatches > nShown) return `The first ${nShown} of ${nMatches} classes`;
  return nMatches === 1 ? "1 class" : `${nMatches} classes`;
}

/** Return a function that opens the box; `onChoose` gets the class. */
export function createTypeahead(names, onChoose) {
  const dialog = byId("choose-dialog");
  const input = byId("choose-input");
  const list = byId("choose-list");
  const note = byId("choose-note");
  let labels = [];
  let active = 0;

  function draw() {
    const matches = matchClasses(names, input.value);
    labels = matches.slice(0, MAX_OPTIONS);
    active = 0;
    const options = labels.map((label, i) =>
      element("li", { role: "option", id: `choice-${i}`, "data-choice": i }, [isolated(names[label])]),
    );
    list.replaceChildren(...options);
    note.textContent = describeCount(matches.length, labels.length);
    input.setAttribute("aria-expanded", String(labels.length > 0));
    activate(0);
  }

  function activate(i) {
    active = labels.length === 0 ? 0 : (i + labels.length) % labels.length;
    [...list.children].forEach((option, k) => option.setAttribute("aria-selected", String(k === active)));
    list.children[active]?.scrollIntoView({ block: "nearest" });
    if (labels.length > 0) input.setAttribute("aria-activedescendant", `choice-${active}`);
    else input.removeAttribute("aria-activedescendant");
  }

  function choose(i) {
    if (labels[i] === undefined) return;
    const label = labels[i];
    dialog.close();
    onChoose(label);
  }

  input.addEventListener("input", draw);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) activate(active + steps[event.key]);
    else if (event.key === "Enter") choose(active);
    else return;
    event.preventDefault();
  });
  list.addEventListener("click", (event) => choose(Number(event.target.closest("[data-choice]")?.dataset.choice)));

  return () => {
    input.value = "";
    draw();
    dialog.showModal();
    input.focus();
  };
}
