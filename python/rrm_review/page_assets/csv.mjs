// CSV files: quoting, cells that a spreadsheet would execute, and bytes of file names that aren't UTF-8. Pure.

const FORMULA = /^'*[=+\-@＝＋－＠\t\r\n]/;
// What Python's float() reads, so that a reader in Python has the same rule: digits of any script, blanks around.
const BLANK = "[\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*";
const DIGITS = "\\p{Nd}+(?:_\\p{Nd}+)*";
const DECIMAL = `(?:${DIGITS}\\.?(?:${DIGITS})?|\\.${DIGITS})(?:e[+-]?${DIGITS})?`;
const NUMBER = new RegExp(`^${BLANK}[+-]?(?:${DECIMAL}|inf|infinity|nan)${BLANK}$`, "iu");
const SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

function isFormula(text) {
  return FORMULA.test(text) && !NUMBER.test(text);
}

/** Return a text with an apostrophe before it if a spreadsheet would execute it; `unguard` is the inverse. */
export function guard(text) {
  return isFormula(text) ? `'${text}` : text;
}

/** Return the text that `guard` was given. */
export function unguard(text) {
  return text.startsWith("'") && isFormula(text.slice(1)) ? text.slice(1) : text;
}

function quote(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** Return rows of texts as CSV. */
export function toCsv(rows) {
  return rows.map((cells) => `${cells.map(quote).join(",")}\n`).join("");
}

/** Return the rows of a CSV file without empty ones; its first line shows whether commas, semicolons or tabs separate the cells. */
export function parseCsv(text) {
  const [header] = text.split(/[\r\n]/, 1);
  const separator = [",", ";", "\t"].find((character) => header.includes(character)) ?? ",";
  const quoted = '"((?:[^"]|"")*)"';
  const plain = `([^"\\r\\n${separator}][^\\r\\n${separator}]*|)`;
  const pattern = new RegExp(`(?:${quoted}|${plain})(${separator}|\\r\\n|\\n|\\r|$)`, "gy");
  const rows = [];
  let cells = [];
  while (pattern.lastIndex < text.length || cells.length > 0) {
    const match = pattern.exec(text);
    if (match === null) throw new Error(`line ${rows.length + 1} of the file has a quotation mark without a partner`);
    cells.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] === separator) continue;
    // Spreadsheets append empty rows.
    if (cells.some((cell) => cell.trim() !== "")) rows.push(cells);
    cells = [];
  }
  return rows;
}

/** Return a text in UTF-8, with the surrogates by which Python stands for other bytes as these bytes. */
export function encodeText(text) {
  if (!SURROGATE.test(text)) return new TextEncoder().encode(text);
  const bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else bytes.push(...new TextEncoder().encode(character));
  }
  return new Uint8Array(bytes);
}

/** Return the text of a file, with surrogates for bytes that aren't UTF-8, as Python does. */
export function decodeText(bytes) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch {
    const characters = [];
    for (let start = 0; start < bytes.length; ) {
      const [character, length] = decodeCharacter(bytes, start);
      characters.push(character);
      start += length;
    }
    return characters.join("");
  }
}

function decodeCharacter(bytes, start) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for (let length = 1; length <= 4 && start + length <= bytes.length; length++) {
    try {
      return [decoder.decode(bytes.subarray(start, start + length)), length];
    } catch {
      // A longer piece may be a character.
    }
  }
  return [String.fromCharCode(0xdc00 + bytes[start]), 1];
}
