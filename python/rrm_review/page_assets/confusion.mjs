// Counts of given and predicted classes, and the classes that the digits stand for. Pure.

export const MAX_DIGITS = 10;

/** Return the pairs of given and predicted class that occur, {given, predicted, count}, the most frequent first. */
export function countPairs(given, predicted, nClasses) {
  const counts = new Map();
  for (let row = 0; row < given.length; row++) {
    const pair = given[row] * nClasses + predicted[row];
    counts.set(pair, (counts.get(pair) ?? 0) + 1);
  }
  const pairs = [...counts].map(([pair, count]) => ({
    given: Math.floor(pair / nClasses),
    predicted: pair % nClasses,
    count,
  }));
  return pairs.sort((a, b) => b.count - a.count || a.given - b.given || a.predicted - b.predicted);
}

/** Return the key of the i-th of ten choices: 1 to 9, then 0. */
export function digitOf(i) {
  return String((i + 1) % 10);
}

/** Return a function of a given class that returns its choices, {digit, label}. */
export function createDigits(names, pairs) {
  if (names.length <= MAX_DIGITS) {
    const areDigits = names.every((name) => /^\d$/.test(name));
    const fixed = names.map((name, label) => ({ digit: areDigits ? name : digitOf(label), label }));
    return () => fixed;
  }
  const choices = new Map();
  for (const { given, predicted } of pairs) {
    if (given === predicted) continue;
    const list = choices.get(given) ?? [];
    if (list.length < MAX_DIGITS) list.push({ digit: digitOf(list.length), label: predicted });
    choices.set(given, list);
  }
  return (given) => choices.get(given) ?? [];
}
