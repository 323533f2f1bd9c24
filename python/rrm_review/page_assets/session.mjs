// The samples that are listed, the selected one, and what a decision or a filter does to them. Pure.
import { makeDecision } from "./decisions.mjs";
import { createSelector, NO_FILTER } from "./filters.mjs";

/** Return a session; `onChange(rows)` is called with the rows whose decisions changed. */
export function createSession(model, decisions, onChange) {
  const select = createSelector(model);
  let filter = { ...NO_FILTER };
  let rows = select(filter, decisions);
  // Where a person goes on: decisions may have been stored before.
  let position = Math.max(0, rows.findIndex((row) => decisions.get(row) === null));

  const session = {
    autoAdvance: true,
    get filter() {
      return filter;
    },
    get rows() {
      return rows;
    },
    get position() {
      return position;
    },
    /** The selected sample, or null if none is listed. */
    get row() {
      return rows.length > 0 ? rows[position] : null;
    },
    /** The number of listed samples without a decision. */
    get nLeft() {
      return rows.reduce((count, row) => count + (decisions.get(row) === null), 0);
    },
    /** Select a position, the nearest one that exists. */
    moveTo(target) {
      position = Math.max(0, Math.min(target, rows.length - 1));
    },
    /** Change some settings of the filter; the selected sample stays selected if it is listed. */
    setFilter(changes) {
      filter = { ...filter, ...changes };
      list(session.row);
    },
    /** Decide on the selected sample; a null decision clears it. Return whether a decision changed. */
    judge(kind, label = null) {
      const { row } = session;
      if (row === null) return false;
      const decision = kind === null ? null : makeDecision(kind, label, model.given[row]);
      const changed = decisions.apply([[row, decision]]);
      const target = session.autoAdvance && decision !== null ? findUndecided() : row;
      settle(changed, target);
      return changed.length > 0;
    },
    /** Make many decisions as one step of undo; return how many changed. */
    judgeAll(changes) {
      const changed = decisions.apply(changes);
      settle(changed, session.row);
      return changed.length;
    },
    undo: () => step(decisions.undo()),
    redo: () => step(decisions.redo()),
    /** List the samples again after decisions were replaced. */
    refresh: () => list(session.row),
  };
  return session;

  function step(changed) {
    settle(changed, changed[0] ?? session.row);
    return changed.length;
  }

  function settle(changed, target) {
    if (filter.state !== "all") list(target);
    else if (target !== rows[position]) moveToRow(target);
    if (changed.length > 0) onChange(changed);
  }

  function list(target) {
    rows = select(filter, decisions);
    moveToRow(target);
  }

  function moveToRow(target) {
    const index = rows.indexOf(target);
    session.moveTo(index === -1 ? position : index);
  }

  /** Return the next listed sample without a decision, from the selected one on and then from the start. */
  function findUndecided() {
    for (let i = 1; i < rows.length; i++) {
      const row = rows[(position + i) % rows.length];
      if (decisions.get(row) === null) return row;
    }
    return rows[position];
  }
}
