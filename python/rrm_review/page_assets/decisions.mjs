// Decisions on samples, with undo and redo. Pure: neither the document nor the storage is used here.

export const KINDS = ["keep", "relabel", "drop", "unsure"];

/** Return a decision; relabelling to the given class is keeping it. `label` is a class, or null. */
export function makeDecision(kind, label, given) {
  if (kind === "keep" || (kind === "relabel" && label === given)) return { kind: "keep", label: given };
  return { kind, label: kind === "relabel" ? label : null };
}

/** Return whether two decisions, or null for none, are the same. */
export function isSame(a, b) {
  return a === b || (a !== null && b !== null && a.kind === b.kind && a.label === b.label);
}

/** Return the decisions of all samples; they begin with those of an earlier round, null for none. */
export function createDecisions(earlier) {
  const current = [...earlier];
  const past = [];
  const future = [];
  let nJudged = current.filter((decision) => decision !== null).length;

  function set(row, decision) {
    nJudged += (decision !== null) - (current[row] !== null);
    current[row] = decision;
  }

  function swap(from, to, side) {
    const step = from.pop();
    if (step === undefined) return [];
    for (const change of step) set(change.row, change[side]);
    to.push(step);
    return step.map((change) => change.row);
  }

  return {
    get nJudged() {
      return nJudged;
    },
    get canUndo() {
      return past.length > 0;
    },
    get canRedo() {
      return future.length > 0;
    },
    get: (row) => current[row],
    /** Return whether a decision is that of an earlier round, unchanged. */
    isEarlier: (row) => earlier[row] !== null && isSame(current[row], earlier[row]),
    /** Return whether a decision differs from that of an earlier round, or from none. */
    isChanged: (row) => !isSame(current[row], earlier[row]),
    /** Make changes, [row, decision] each, as one step of undo; return the rows that changed. */
    apply(changes) {
      const step = [];
      for (const [row, after] of changes) {
        const before = current[row];
        if (isSame(before, after)) continue;
        set(row, after);
        step.push({ row, before, after });
      }
      if (step.length > 0) {
        past.push(step);
        future.length = 0;
      }
      return step.map((change) => change.row);
    },
    /** Set a decision that was made elsewhere, without a step of undo; undefined is that of the earlier round. */
    replace(row, decision) {
      set(row, decision === undefined ? earlier[row] : decision);
    },
    undo: () => swap(past, future, "before"),
    redo: () => swap(future, past, "after"),
  };
}
