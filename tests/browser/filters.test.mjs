import assert from "node:assert/strict";
import { test } from "node:test";
import { countPairs, createDigits } from "../../python/rrm_review/page_assets/confusion.mjs";
import { createDecisions } from "../../python/rrm_review/page_assets/decisions.mjs";
import { createSelector, NO_FILTER } from "../../python/rrm_review/page_assets/filters.mjs";
import { matchClasses } from "../../python/rrm_review/page_assets/typeahead.mjs";
import { formatShort, formatValue, readPruned } from "../../python/rrm_review/page_assets/model.mjs";
import { readKey } from "../../python/rrm_review/page_assets/keys.mjs";
import { makeModel } from "./models.mjs";

const COLUMNS = {
  label_quality: [0.1, 0.2, null, 0.4],
  confidence: [0.5, null, 0.9, 0.5],
  is_label_issue: [true, true, false, false],
  duplicates: ["", "also id-3", "", "also id-1"],
  source: ["Web", "lab", "web", "lab"],
};
const model = makeModel({ columns: COLUMNS, index: [3, 2, 1, 0], decisions: ["keep", "", "", "drop"] });

function select(changes) {
  return createSelector(model)({ ...NO_FILTER, ...changes }, createDecisions(model.earlier));
}

for (const [filter, expected] of [
  [{}, [0, 1, 2, 3]],
  [{ given: 0 }, [0, 3]],
  [{ predicted: 2 }, [1]],
  [{ given: 0, predicted: 2 }, []],
  [{ quality: 0.2 }, [0, 1]],
  [{ quality: 0 }, []],
  [{ state: "undecided" }, [1, 2]],
  [{ state: "drop" }, [3]],
  [{ issues: true }, [0, 1]],
  [{ duplicates: true }, [1, 3]],
  [{ text: " WEB " }, [0, 2]],
  [{ text: "id-1" }, [1, 3]],
  [{ text: "text 2" }, [2]],
  [{ order: "index" }, [3, 2, 1, 0]],
  [{ order: "confidence" }, [2, 0, 3, 1]],
  [{ order: "index", given: 0 }, [3, 0]],
]) {
  test(`filter ${JSON.stringify(filter)}`, () => assert.deepEqual(select(filter), expected));
}

test("pairs are counted, the most frequent first", () => {
  assert.deepEqual(countPairs([0, 1, 0, 2, 0], [1, 1, 1, 0, 0], 3), [
    { given: 0, predicted: 1, count: 2 },
    { given: 0, predicted: 0, count: 1 },
    { given: 1, predicted: 1, count: 1 },
    { given: 2, predicted: 0, count: 1 },
  ]);
});

test("up to ten classes have fixed digits, those that are digits their own", () => {
  const digitsOf = createDigits(["cat", "dog"], []);
  assert.deepEqual(digitsOf(1), [
    { digit: "1", label: 0 },
    { digit: "2", label: 1 },
  ]);
  const names = Array.from({ length: 10 }, (_, i) => String(i));
  assert.deepEqual(createDigits(names, [])(0)[7], { digit: "7", label: 7 });
});

test("of many classes, digits stand for those most often predicted", () => {
  const names = Array.from({ length: 40 }, (_, i) => `class ${i}`);
  const pairs = Array.from({ length: 30 }, (_, i) => ({ given: 5, predicted: i, count: 30 - i }));
  const choices = createDigits(names, pairs)(5);
  assert.equal(choices.map((choice) => choice.digit).join(""), "1234567890");
  assert.deepEqual(choices.map((choice) => choice.label), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]);
  assert.deepEqual(createDigits(names, pairs)(6), []);
});

test("classes that begin with the text come first", () => {
  assert.deepEqual(matchClasses(["wildcat", "Cat", "dog", "cattle"], " cat"), [1, 3, 0]);
  assert.deepEqual(matchClasses(["b", "a"], ""), [0, 1]);
});

test("history and numbers are read and written", () => {
  const pruned = makeModel({ pruned: { n: 11, bits: ["8420", "0000", "ffe0", "0000"] } });
  assert.deepEqual(readPruned(pruned, 0), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
  assert.deepEqual(readPruned(pruned, 2), Array(11).fill(1));
  assert.deepEqual([null, true, 12, 0.123456, "∞", ""].map(formatValue), ["–", "yes", "12", "0.1235", "∞", ""]);
  assert.equal(formatShort(0.98765), "0.99");
});

const FREE = { view: "grid", isTyping: false, onButton: false, inScrolled: false, inDialog: false };

for (const [key, changes, expected] of [
  ["k", {}, "keep"],
  ["K", {}, "keep"],
  ["P", { view: "single" }, "predicted"],
  ["/", {}, "choose"],
  ["7", {}, "digit"],
  ["?", {}, "help"],
  ["ArrowDown", {}, "move"],
  ["ArrowDown", { inScrolled: true }, undefined],
  ["Enter", {}, "open"],
  ["Enter", { onButton: true }, undefined],
  [" ", { onButton: true }, undefined],
  ["k", { onButton: true }, "keep"],
  ["k", { isTyping: true }, undefined],
  ["Escape", { isTyping: true }, "leave"],
  ["Escape", {}, "back"],
  ["k", { inDialog: true }, undefined],
  ["Escape", { inDialog: true }, undefined],
  ["k", { view: "matrix" }, undefined],
  ["ArrowDown", { view: "matrix" }, undefined],
  ["z", { view: "matrix" }, "undo"],
  ["x", {}, undefined],
  ["Tab", {}, undefined],
]) {
  test(`key ${key} with ${JSON.stringify(changes)}`, () => {
    assert.equal(readKey({ key }, { ...FREE, ...changes })?.name, expected);
    for (const modifier of ["ctrlKey", "altKey", "metaKey"]) {
      assert.equal(readKey({ key, [modifier]: true }, { ...FREE, ...changes }), null);
    }
  });
}

test("a key that is held down judges once, and goes on moving", () => {
  for (const key of ["k", "p", "d", "u", "c", "1", "l", "Enter"]) assert.equal(readKey({ key, repeat: true }, FREE), null);
  assert.equal(readKey({ key: "ArrowRight", repeat: true }, FREE).name, "move");
  assert.equal(readKey({ key: "z", repeat: true }, FREE).name, "undo");
});
