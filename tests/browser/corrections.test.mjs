import assert from "node:assert/strict";
import { test } from "node:test";
import {
  listCorrections,
  matchCorrections,
  readCorrections,
  writeCsv,
  writeJson,
} from "../../python/rrm_review/page_assets/corrections.mjs";
import { decodeText, encodeText, guard, parseCsv, toCsv, unguard } from "../../python/rrm_review/page_assets/csv.mjs";
import { createDecisions } from "../../python/rrm_review/page_assets/decisions.mjs";
import { createStorage } from "../../python/rrm_review/page_assets/storage.mjs";
import { makeModel } from "./models.mjs";

const ASCII_FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-1-1"];
const NO_NUMBERS = ["-infi", "\t", "-1__0", "-1e", "+", "-1\x1c"];
const FORMULAS = [...ASCII_FORMULAS, ...NO_NUMBERS, "＝1", "＋1", "－1", "＠x"];
const NUMBERS = ["-1", "+2.5", "-1e-7", "-.5e3", "-1.", "-inf", "+NaN", "-1_000", "\t1", "\n-2\u2003", "-\u0663"];
const PLAIN = ["", "a=1", "'", "'a", "''", "cat", ".5", ...NUMBERS];

test("cells that a spreadsheet would execute get an apostrophe, which is removed again", () => {
  for (const text of FORMULAS) {
    assert.equal(guard(text), `'${text}`);
    assert.equal(guard(`''${text}`), `'''${text}`);
  }
  for (const text of PLAIN) assert.equal(guard(text), text);
  for (const text of [...FORMULAS, ...PLAIN, ...FORMULAS.map((x) => `'${x}`), ...PLAIN.map((x) => `'${x}`)]) {
    assert.equal(unguard(guard(text)), text);
  }
});

test("CSV reads back whatever the cells hold", () => {
  const rows = [["a", 'b"c', ""], ["x,y", "two\nlines", "\r"], [" ", ";", "\ufffd"]];
  assert.deepEqual(parseCsv(toCsv(rows)), rows);
  assert.equal(toCsv([["a", 'b"', "c,"]]), 'a,"b""","c,"\n');
});

test("CSV as spreadsheets save it is read", () => {
  assert.deepEqual(parseCsv('a;b\r\n"1";\r\n\r\n'), [["a", "b"], ["1", ""]]);
  assert.deepEqual(parseCsv("a\tb\n1\t2"), [["a", "b"], ["1", "2"]]);
  assert.deepEqual(parseCsv("a,b\n1,2\n,\n ,\n"), [["a", "b"], ["1", "2"]]);
  assert.throws(() => parseCsv('a,b\n"1,2\n'), /line 2 of the file has a quotation mark without a partner/);
});

test("bytes of file names that aren't UTF-8 are written and read", () => {
  const text = "ü\udcff\udc80😀.png";
  const bytes = [0xc3, 0xbc, 0xff, 0x80, 0xf0, 0x9f, 0x98, 0x80, 0x2e, 0x70, 0x6e, 0x67];
  assert.deepEqual([...encodeText(text)], bytes);
  assert.equal(decodeText(new Uint8Array(bytes)), text);
  assert.equal(decodeText(encodeText("naïve")), "naïve");
});

function judge(model) {
  const decisions = createDecisions(model.earlier);
  decisions.apply([
    [3, { kind: "keep", label: 0 }],
    [0, { kind: "relabel", label: 2 }],
    [1, { kind: "unsure", label: null }],
  ]);
  return decisions;
}

test("corrections are written in the order of the samples, strings as strings", () => {
  const model = makeModel({ ids: ["=1", "b,", "c", "d"], index: [3, 2, 1, 0] });
  const corrections = listCorrections(model, judge(model));
  const lines = ["id,given_label,decision,label", "d,cat,keep,cat", '"b,",dog,unsure,', "'=1,cat,relabel,eel", ""];
  assert.equal(writeCsv(corrections), lines.join("\n"));
  const file = JSON.parse(writeJson(corrections, model));
  assert.deepEqual([file.format, file.version], ["rrm corrections", 1]);
  assert.deepEqual(file.decisions, [
    { id: "d", given_label: "cat", decision: "keep", label: "cat" },
    { id: "b,", given_label: "dog", decision: "unsure", label: null },
    { id: "=1", given_label: "cat", decision: "relabel", label: "eel" },
  ]);
  assert.deepEqual(JSON.parse(writeJson([], model)).decisions, []);
});

const INTEGERS = {
  integers: { id: true, label: true },
  ids: ["18446744073709551615", "9007199254740993", "-3", "4"],
  values: ["0", "1", "2"],
};

test("integers are numbers in JSON, also those that JavaScript would round", () => {
  const model = makeModel(INTEGERS);
  const text = writeJson(listCorrections(model, judge(model)), model);
  assert.match(text, /"id": 18446744073709551615, "given_label": 0, "decision": "relabel", "label": 2/);
  assert.match(text, /"id": 9007199254740993, "given_label": 1, "decision": "unsure", "label": null/);
});

test("earlier decisions on samples of other pages are exported again, and imported without effect", () => {
  const others = [{ id: "elsewhere", given_label: "cat", decision: "drop", label: null }];
  const model = makeModel({ others });
  const corrections = listCorrections(model, createDecisions(model.earlier));
  assert.deepEqual(corrections, others);
  assert.deepEqual(matchCorrections(readCorrections(writeJson(corrections, model), model), model), []);
  assert.match(writeCsv(corrections), /\nelsewhere,cat,drop,\n$/);
});

for (const write of [writeCsv, writeJson]) {
  for (const [name, changes] of [
    ["strings", { ids: ["=1", "'=1", "a\nb", "\udcff"], values: ["-x", '"', ""], names: ["-x", '"', ""] }],
    ["numbers", { ...INTEGERS, ids: ["1", "2", "-3", "4"] }],
  ]) {
    test(`${write.name} of ${name} is imported again`, () => {
      const model = makeModel(changes);
      const decisions = judge(model);
      const bytes = encodeText(write(listCorrections(model, decisions), model));
      const changesRead = matchCorrections(readCorrections(decodeText(bytes), model), model);
      const restored = createDecisions(model.earlier);
      restored.apply(changesRead);
      for (let row = 0; row < model.n; row++) assert.deepEqual(restored.get(row), decisions.get(row));
    });
  }
}

test("a JSON file stays valid if an earlier decision has an identifier that is no integer", () => {
  const others = ["a-1", "007"].map((id) => ({ id, given_label: null, decision: "drop", label: null }));
  const model = makeModel({ ...INTEGERS, others });
  const text = writeJson(listCorrections(model, createDecisions(model.earlier)), model);
  assert.deepEqual(JSON.parse(text).decisions, others);
});

test("a file that a spreadsheet or a person changed is imported as Python reads it", () => {
  const text = "id ;given_label;decision;label\nid-0;;Relabel ;dog\nid-1;dog;DROP;\n;;;\n";
  const model = makeModel();
  assert.deepEqual(matchCorrections(readCorrections(text, model), model), [
    [0, { kind: "relabel", label: 1 }],
    [1, { kind: "drop", label: null }],
  ]);
});

const HEAD = "id,given_label,decision,label\n";
const model = makeModel();

for (const [text, message] of [
  ["a,b\n1,2\n", /the file must have the columns id, given_label, decision, label/],
  [`${HEAD}x,cat,keep,cat\ny,cat,keep,cat\n`, /2 ids are no samples of this page: "x", "y"$/],
  [`${HEAD}id-0,dog,keep,dog\n`, /the given label of "id-0" is another one: "dog"/],
  [`${HEAD}id-0,cat,maybe,\n`, /the decision on "id-0" is unknown: "maybe"/],
  [`${HEAD}id-0,cat,relabel,cow\n`, /the label of "id-0" is no class: "cow"/],
  ['{"decisions": []}', /the file holds no corrections/],
  ['{"format": "rrm corrections", "version": 2, "decisions": []}', /version 2; this page reads version 1/],
  ["{", /JSON/],
]) {
  test(`import of ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => matchCorrections(readCorrections(text, model), model), message);
  });
}

/** A storage as browsers have it. */
class MemoryStorage extends Map {
  get length() {
    return this.size;
  }
  key = (i) => [...this.keys()][i];
  getItem = (name) => this.get(name) ?? null;
  setItem = (name, value) => this.set(name, value);
  removeItem = (name) => this.delete(name);
}

test("entries of the storage are those of one page", () => {
  const memory = new MemoryStorage();
  const fail = () => assert.fail("nothing should fail");
  const [first, second] = ["a", "b"].map((letter) => createStorage(memory, letter.repeat(64), fail));
  assert.equal(first.save('id "1"', ["keep", "cat"]), true);
  first.save("2", null);
  second.save("2", ["drop", null]);
  assert.deepEqual(first.load(), [
    { id: 'id "1"', entry: ["keep", "cat"] },
    { id: "2", entry: null },
  ]);
  first.save("2", undefined);
  assert.equal(first.load().length, 1);
  const name = `rrm-review ${"a".repeat(32)} "2"`;
  assert.deepEqual(first.readEvent({ key: name, newValue: '["unsure",null]' }), { id: "2", entry: ["unsure", null] });
  assert.deepEqual(first.readEvent({ key: name, newValue: null }), { id: "2", entry: undefined });
  assert.equal(second.readEvent({ key: name, newValue: null }), null);
  assert.equal(first.readEvent({ key: null, newValue: null }), null);
});

test("the test entry of another tab hides no decision", () => {
  const memory = new MemoryStorage();
  const storage = createStorage(memory, "a", () => assert.fail("nothing should fail"));
  storage.save("1", ["keep", "cat"]);
  memory.removeItem = () => {};
  assert.deepEqual(storage.load(), [{ id: "1", entry: ["keep", "cat"] }]);
  assert.equal(storage.readEvent({ key: "rrm-review a test", newValue: "1" }), null);
});

test("a storage that is missing or full is reported", () => {
  const errors = [];
  assert.deepEqual(createStorage(null, "a", (error) => errors.push(error.message)).load(), []);
  const full = new MemoryStorage();
  full.setItem = () => {
    throw new Error("full");
  };
  assert.equal(createStorage(full, "a", (error) => errors.push(error.message)).save("1", ["keep", "cat"]), false);
  assert.deepEqual(errors, ["the browser offers no storage to this page", "full"]);
});
