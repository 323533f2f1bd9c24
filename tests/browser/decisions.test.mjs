import assert from "node:assert/strict";
import { test } from "node:test";
import { createDecisions, makeDecision } from "../../python/rrm_review/page_assets/decisions.mjs";
import { createSession } from "../../python/rrm_review/page_assets/session.mjs";
import { makeModel } from "./models.mjs";

const KEEP = { kind: "keep", label: 0 };
const DROP = { kind: "drop", label: null };

function makeSession(changes = {}) {
  const model = makeModel(changes);
  const decisions = createDecisions(model.earlier);
  const changed = [];
  return { model, decisions, changed, session: createSession(model, decisions, (rows) => changed.push(rows)) };
}

test("relabelling to the given class is keeping it", () => {
  assert.deepEqual(makeDecision("relabel", 2, 2), { kind: "keep", label: 2 });
  assert.deepEqual(makeDecision("relabel", 1, 2), { kind: "relabel", label: 1 });
  assert.deepEqual(makeDecision("drop", 1, 2), { kind: "drop", label: null });
});

test("undo and redo restore steps in their order", () => {
  const decisions = createDecisions([null, null, null]);
  decisions.apply([[0, KEEP]]);
  decisions.apply([
    [0, DROP],
    [1, DROP],
  ]);
  assert.equal(decisions.nJudged, 2);
  assert.deepEqual(decisions.undo(), [0, 1]);
  assert.deepEqual([decisions.get(0), decisions.get(1), decisions.nJudged], [KEEP, null, 1]);
  assert.deepEqual(decisions.undo(), [0]);
  assert.deepEqual(decisions.undo(), []);
  assert.deepEqual(decisions.redo(), [0]);
  assert.deepEqual(decisions.redo(), [0, 1]);
  assert.deepEqual([decisions.get(0), decisions.nJudged, decisions.canRedo], [DROP, 2, false]);
});

test("a new decision discards what could be redone, an equal one is no step", () => {
  const decisions = createDecisions([null]);
  decisions.apply([[0, KEEP]]);
  decisions.undo();
  decisions.apply([[0, DROP]]);
  assert.equal(decisions.canRedo, false);
  assert.deepEqual(decisions.apply([[0, { ...DROP }]]), []);
  decisions.undo();
  assert.equal(decisions.canUndo, false);
});

test("decisions of an earlier round count as judged until they are cleared", () => {
  const decisions = createDecisions([KEEP, null]);
  assert.deepEqual([decisions.nJudged, decisions.isEarlier(0), decisions.isChanged(0)], [1, true, false]);
  decisions.apply([[0, null]]);
  assert.deepEqual([decisions.nJudged, decisions.isEarlier(0), decisions.isChanged(0)], [0, false, true]);
  decisions.replace(0, undefined);
  assert.deepEqual([decisions.nJudged, decisions.isEarlier(0)], [1, true]);
});

test("the selection goes to the next undecided sample and starts again at the end", () => {
  const { session, decisions, changed } = makeSession({ decisions: ["", "keep", "", ""] });
  session.judge("keep");
  assert.equal(session.row, 2);
  session.moveTo(3);
  session.judge("drop");
  assert.equal(session.row, 2);
  session.judge("unsure");
  assert.deepEqual([session.row, session.nLeft, decisions.nJudged], [2, 0, 4]);
  assert.deepEqual(changed, [[0], [3], [2]]);
});

test("without advancing, and on clearing, the selection stays", () => {
  const { session, decisions } = makeSession();
  session.autoAdvance = false;
  session.judge("keep");
  assert.equal(session.row, 0);
  session.autoAdvance = true;
  session.judge(null);
  assert.deepEqual([session.row, decisions.get(0)], [0, null]);
});

test("judged samples leave a list of undecided ones, and undo selects what it restores", () => {
  const { session } = makeSession();
  session.setFilter({ state: "undecided" });
  session.moveTo(1);
  session.judge("drop");
  assert.deepEqual([session.rows, session.row], [[0, 2, 3], 2]);
  session.undo();
  assert.deepEqual([session.rows, session.row], [[0, 1, 2, 3], 1]);
  session.redo();
  assert.deepEqual(session.rows, [0, 2, 3]);
});

test("a list without samples has no selection, and nothing can be judged", () => {
  const { session, decisions } = makeSession();
  session.setFilter({ text: "nothing like this" });
  assert.equal(session.row, null);
  assert.equal(session.judge("keep"), false);
  assert.equal(decisions.nJudged, 0);
  session.setFilter({ text: "" });
  assert.equal(session.row, 0);
});
