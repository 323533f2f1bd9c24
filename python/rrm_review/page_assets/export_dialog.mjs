// The dialog in which decisions are exported to a file, or imported from one.
import { listCorrections, matchCorrections, readCorrections, writeCsv, writeJson } from "./corrections.mjs";
import { decodeText, encodeText } from "./csv.mjs";
import { byId, element } from "./elements.mjs";
import { formatCount } from "./model.mjs";

function download(name, bytes, type) {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Return a function that opens the dialog; `onExport` is called after a download. */
export function createExportDialog(model, decisions, session, onExport) {
  const dialog = byId("export-dialog");
  const message = byId("import-message");

  byId("export-csv").addEventListener("click", () => {
    download("corrections.csv", encodeText(writeCsv(listCorrections(model, decisions))), "text/csv");
    onExport();
  });
  byId("export-json").addEventListener("click", () => {
    download("corrections.json", encodeText(writeJson(listCorrections(model, decisions), model)), "application/json");
    onExport();
  });
  byId("import-file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file === undefined) return;
    try {
      const text = decodeText(new Uint8Array(await file.arrayBuffer()));
      const changes = matchCorrections(readCorrections(text, model), model);
      const nChanged = session.judgeAll(changes);
      message.textContent = `${formatCount(changes.length)} decisions read, ${formatCount(nChanged)} of them new here.`;
      message.className = "";
    } catch (error) {
      message.textContent = `Nothing was imported: ${error.message}.`;
      message.className = "error";
    }
    event.target.value = "";
    draw();
  });

  function draw() {
    const counts = { keep: 0, relabel: 0, drop: 0, unsure: 0 };
    for (let row = 0; row < model.n; row++) {
      const decision = decisions.get(row);
      if (decision !== null) counts[decision.kind] += 1;
    }
    const parts = Object.entries(counts).map(([kind, count]) => `${formatCount(count)} ${kind}`);
    const others = model.others.length;
    const note = others > 0 ? ` Earlier decisions on samples that aren't on this page: ${formatCount(others)}.` : "";
    byId("export-summary").textContent = `${formatCount(decisions.nJudged)} judged samples: ${parts.join(", ")}.${note}`;
  }

  return () => {
    message.textContent = "";
    draw();
    dialog.showModal();
  };
}
