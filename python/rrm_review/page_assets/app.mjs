// The page: connects the parts.
import { createAnnouncer, describeDecision } from "./announcer.mjs";
import { drawCard } from "./card.mjs";
import { createDigits } from "./confusion.mjs";
import { createDecisionBar } from "./decision_bar.mjs";
import { createDecisions } from "./decisions.mjs";
import { byId } from "./elements.mjs";
import { createExportDialog } from "./export_dialog.mjs";
import { countModelPairs, createFilterBar } from "./filter_bar.mjs";
import { createGrid } from "./grid.mjs";
import { drawProgress, drawTitle } from "./header.mjs";
import { listenToKeys } from "./key_events.mjs";
import { drawMatrix } from "./matrix.mjs";
import { createModel, formatCount } from "./model.mjs";
import { describeSample } from "./sample_view.mjs";
import { createSession } from "./session.mjs";
import { createSingle } from "./single.mjs";
import { openStorage } from "./storage.mjs";
import { createStoredDecisions } from "./stored_decisions.mjs";
import { createTheme } from "./theme.mjs";
import { createTypeahead } from "./typeahead.mjs";

const model = createModel(JSON.parse(byId("data").textContent));
const decisions = createDecisions(model.earlier);
const stored = createStoredDecisions(model, decisions);
const session = createSession(model, decisions, onDecisions);
const pairs = countModelPairs(model);
const digitsOf = createDigits(model.names, pairs);
const announce = createAnnouncer(byId("status"));
const views = ["grid", "single", "matrix"];
let view = "grid";
let lastView = "grid"; // of a matrix that is closed

const drawBar = createDecisionBar(model, decisions, session, digitsOf, act);
const drawSingle = createSingle(byId("single"), model, decisions, session, moveBy);
const openChoice = createTypeahead(model.names, (label) => judge("relabel", label));
const openExport = createExportDialog(model, decisions, session, () => stored.markExported());
const showFilter = createFilterBar(model, session, onFilter);
const grid = createGrid(byId("grid"), session, {
  isTiles: Boolean(model.content.images),
  hasSparkline: Boolean(model.pruned),
  draw: (row, position, count) => drawCard(model, decisions, row, position, count),
  onSelect: moveTo,
  onOpen: (position) => {
    moveTo(position);
    setView("single");
  },
});

function onDecisions(rows) {
  stored.save(rows);
  grid.update(rows);
  drawProgress(model, decisions);
}

/** Show the selected sample where it is shown. */
function drawSelection() {
  byId("nothing").hidden = session.row !== null || view === "matrix";
  drawBar();
  if (view === "single") drawSingle();
  else if (view === "grid") grid.show();
  byId("decisions").hidden ||= view === "matrix";
}

function onFilter() {
  if (view === "matrix") setView("grid");
  showFilter();
  grid.relist();
  drawSelection();
  announce(byId("match-count").textContent);
}

function setView(next) {
  if (next === "matrix" && view !== "matrix") lastView = view;
  view = next;
  for (const name of views) {
    byId(name).hidden = name !== view;
    byId(`view-${name}`).setAttribute("aria-pressed", String(name === view));
  }
  grid.layout();
  drawSelection();
  if (view === "grid") byId("grid").focus();
  else byId(view).focus();
}

function moveTo(position) {
  session.moveTo(position);
  drawSelection();
  if (view === "single" && session.row !== null) announce(describeSample(model, decisions, session.row));
}

function moveBy(distance) {
  moveTo(session.position + distance);
}

function move(direction) {
  if (direction === "first") moveTo(0);
  else if (direction === "last") moveTo(session.rows.length - 1);
  else if (view === "grid") moveTo(grid.findNeighbour(direction));
  else moveBy(["left", "up", "page-up"].includes(direction) ? -1 : 1);
}

function openHelp() {
  byId("help-dialog").showModal();
  // The first control is the button at the end.
  byId("help-title").focus();
}

function afterDecisions() {
  showFilter();
  if (session.filter.state !== "all") grid.relist();
  drawSelection();
}

function judge(kind, label) {
  const { row } = session;
  if (row === null) return;
  session.judge(kind, label);
  afterDecisions();
  announce(describeDecision(decisions.get(row), model.names, session.nLeft));
}

function step(name) {
  const count = session[name]();
  afterDecisions();
  const verb = name === "undo" ? "undone" : "redone";
  announce(count === 0 ? `nothing to ${name}` : `${verb}, ${formatCount(session.nLeft)} left`);
}

function chooseDigit(digit) {
  if (session.row === null) return;
  const choice = digitsOf(model.given[session.row]).find((item) => item.digit === digit);
  if (choice === undefined) announce(`no class has the digit ${digit}`);
  else judge("relabel", choice.label);
}

function goBack() {
  setView(view === "matrix" ? lastView : "grid");
}

/** Do what a key or a button stands for. */
function act(action) {
  const actions = {
    keep: () => judge("keep"),
    predicted: () => session.row !== null && judge("relabel", model.predicted[session.row]),
    choose: () => session.row !== null && openChoice(),
    drop: () => judge("drop"),
    unsure: () => judge("unsure"),
    clear: () => judge(null),
    digit: () => chooseDigit(action.digit),
    undo: () => step("undo"),
    redo: () => step("redo"),
    move: () => move(action.direction),
    open: () => setView("single"),
    back: goBack,
    leave: () => (view === "grid" ? byId("grid") : byId(view)).focus(),
    matrix: () => (view === "matrix" ? goBack() : setView("matrix")),
    filters: () => {
      byId("filters").open = true;
      byId("filter-text").focus();
    },
    export: openExport,
    help: openHelp,
  };
  actions[action.name]();
}

function start() {
  drawTitle(model);
  for (const name of views) byId(`view-${name}`).addEventListener("click", () => setView(name));
  for (const name of ["undo", "redo", "export", "help"]) byId(name).addEventListener("click", () => act({ name }));
  byId("advance").addEventListener("change", (event) => (session.autoAdvance = event.target.checked));
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  listenToKeys(() => view, act);
  createTheme(openStorage());
  drawMatrix(byId("matrix"), model, pairs, (given, predicted) => {
    session.setFilter({ given, predicted });
    setView("grid");
    onFilter();
  });
  stored.watch((rows) => {
    session.refresh();
    grid.update(rows);
    drawProgress(model, decisions);
    afterDecisions();
  });
  drawProgress(model, decisions);
  showFilter();
  setView("grid");
  document.documentElement.dataset.ready = "true";
}

start();
