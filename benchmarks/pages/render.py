"""Write the recorded numbers into README.md and docs/; with --check, only report differences.

    python -m benchmarks.pages.render [--check]

The block NAME between ``<!-- begin NAME -->`` and ``<!-- end -->`` is the output of the function NAME in `BLOCKS`. The
figures docs/images/results_*.png are drawn from the same records, and contain a hash of theirs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.pages import (
    auto_tables,
    detection_tables,
    experiment_tables,
    figure_sources,
    gpu_tables,
    group_tables,
    integration_tables,
    quota_tables,
    review_tables,
    reweight_tables,
    scale_tables,
    score_tables,
    tabular_tables,
    text_tables,
    training_tables,
)
from benchmarks.pages.experiment_record import spread
from rrm_core._atomic_write import atomic_write
from rrm_core._cli import run

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
GPU_VERSIONS = {"driver": "driver_version", "CUDA": "CUDA"}
NOT_RECORDED = "Not recorded yet."
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def recorded(name: str) -> dict[str, Any]:
    """Return the record of this name."""
    result: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return result


def is_recorded(name: str) -> bool:
    """Return whether there is a record of this name."""
    return (ROOT / "benchmarks" / "results" / f"{name}.json").exists()


def provenance(run: dict[str, Any]) -> str:
    """Return the line under a table: machine, versions, commit; all commits if runs of a record have others."""
    commits = {entry["commit"]: None for entry in run.get("runs", []) if isinstance(entry, dict) and "commit" in entry}
    names = [commit[:10] for commit in commits or [run["commit"]]]
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return (
        f"{run['machine']['processor']}, {run['machine']['cores']} cores; {versions}; "
        f"commit{'s' * (len(names) > 1)} {', '.join(names)}, {run['date']}."
    )


def training(name: str) -> str:
    """Return the table of a recorded comparison of plain training and RRM."""
    run = recorded(f"train_{name}")
    trials = run["trials"]

    def shares(part: str) -> tuple[str, str]:
        return tuple(spread([t[m][part] for t in trials]) for m in ("plain", "rrm"))  # type: ignore[return-value]

    def seconds(part: str) -> tuple[str, str]:
        return tuple(  # type: ignore[return-value]
            spread([t[m]["seconds"][part] for t in trials], 1.0, 2) for m in ("plain", "rrm")
        )

    # Runs that were told the share have no estimate.
    estimates = [trial["estimate"] for trial in trials if trial.get("estimate")]
    estimated = []
    if estimates:
        bounds = [spread([e["interval"][i] for e in estimates if e["interval"]]) for i in range(2)]
        true_share = spread([trial["realised_noise"] for trial in trials])
        estimated = [
            ("labels that are wrong, %", true_share, true_share),
            ("labels estimated to be wrong, %", "", spread([e["contamination"] for e in estimates])),
            ("its interval, %", "", " to ".join(bounds)),
        ]
    rows = [
        ("test accuracy, %", *shares("accuracy")),
        ("wrong labels memorised, %", *shares("memorised")),
        *estimated,
        ("flagged labels that are wrong (precision), %", "", spread([t["precision"] for t in trials])),
        ("wrong labels that are flagged (recall), %", "", spread([t["recall"] for t in trials])),
        *((f"{part}, s", *seconds(part)) for part in ("training", "scoring", "reweighting")),
    ]
    lines = ["| | plain training | RRM |", "|---|---:|---:|", *("| " + " | ".join(row) + " |" for row in rows)]
    note = f"`{run['command']}`; mean ± standard deviation over {len(trials)} seeds. {provenance(run)}"
    return "\n".join([*lines, "", note])


def demo() -> str:
    """Return the demo's table."""
    return training("demo")


def mnist() -> str:
    """Return MNIST's table."""
    return training("mnist")


def fashion() -> str:
    """Return Fashion-MNIST's table."""
    return training("fashion")


def headline() -> str:
    """Return a sentence with the result of the demo."""
    run = recorded("train_demo")
    trials = run["trials"]
    plain = spread([trial["plain"]["accuracy"] for trial in trials])
    rrm = spread([trial["rrm"]["accuracy"] for trial in trials])
    estimate = spread([trial["estimate"]["contamination"] for trial in trials])
    return (
        f"Handwritten digits with {100 * run['settings']['noise']:.0f} % of the training labels flipped, "
        f"{len(trials)} seeds: RRM estimates that **{estimate} %** of them are wrong. Plain training ends at "
        f"**{plain} %** test accuracy, RRM at **{rrm} %**, and of the wrong labels it finds "
        f"**{spread([t['recall'] for t in trials])} %**."
    )


def backends() -> str:
    """Return the table of backends."""
    run = recorded("backends")
    lines = ["| | " + " | ".join(run["cases"]) + " |", "|---|" + "---:|" * len(run["cases"])]
    for backend in next(iter(run["cases"].values())):
        cells = []
        for case in run["cases"].values():
            ms = case[backend]["ms"]
            ratio = case[backend]["faster than numpy"]
            cells.append(
                f"{ms['median']:.2f} ms ({ms['quartile1']:.2f}–{ms['quartile3']:.2f})"
                + ("" if backend == "numpy" else f", {ratio:.1f}x faster")
            )
        lines.append(f"| `{backend}` | " + " | ".join(cells) + " |")
    min_calls = min(run["calls"].values())
    max_calls = max(run["calls"].values())
    note = (
        f"`{run['what']}`: median (quartiles) of {min_calls} to {max_calls} interleaved calls, each backend "
        f"with its default number of threads. {provenance(run)}"
    )
    return "\n".join([*lines, "", note])


def reweight() -> str:
    """Return the table of sizes and rivals on the CPU."""
    run = recorded("reweight")
    return f"{reweight_tables.reweight(run)} {provenance(run)}"


def table_of(name: str, table: Callable[[dict[str, Any]], str]) -> str:
    """Return the table of a record and where it comes from, or that there is no record."""
    if not is_recorded(name):
        return NOT_RECORDED
    run = recorded(name)
    return f"{table(run)} {provenance(run)}"


def groups() -> str:
    """Return the table of times with groups, or that there is no record."""
    return table_of("groups", group_tables.groups)


def sources() -> str:
    """Return the table of the example with labels of several rules, or that there is no record."""
    return table_of("sources", group_tables.sources)


def call() -> str:
    """Return the table of the cost of a call beyond its kernel."""
    run = recorded("call")
    return f"{reweight_tables.call(run)} {provenance(run)}"


def reweight_targets() -> str:
    """Return the table of the kernel's results and goals."""
    run = recorded("reweight")
    return f"{reweight_tables.reweight_targets(run)}\n\n{provenance(run)}"


def reweight_conditions() -> str:
    """Return the table of distributions, types, threads and instruction sets."""
    run = recorded("reweight")
    return f"{reweight_tables.reweight_conditions(run)} {provenance(run)}"


def busy() -> str:
    """Return the table of several threads beside busy processes, or that there is no record."""
    return table_of("busy", reweight_tables.busy)


def gpu() -> str:
    """Return the tables of the run on a GPU, or that there is no record."""
    if not is_recorded("gpu"):
        return NOT_RECORDED
    run = recorded("gpu")
    tables_of_run = gpu_tables.gpu(run)
    versions = [f"{name} {run['gpu'][key]}" for name, key in GPU_VERSIONS.items() if key in run["gpu"]]
    return f"{tables_of_run}\n\n{', '.join([run['device'], *versions])}; {provenance(run)}"


def gpu_costs() -> str:
    """Return the table of launches and bytes on the model of a GPU, or that there is no record."""
    if not is_recorded("gpu_costs"):
        return NOT_RECORDED
    run = recorded("gpu_costs")
    return f"{gpu_tables.costs(run)} Commit {run['commit'][:10]}, {run['date']}."


def training_cost() -> str:
    """Return the table of what RRM adds to training, or that there is no record."""
    if not is_recorded("training_cost"):
        return NOT_RECORDED
    run = recorded("training_cost")

    def cell(ms: dict[str, float]) -> str:
        return f"{ms['median']:.3g} ms ({ms['quartile1']:.3g}–{ms['quartile3']:.3g})"

    rows = [
        ("a batch without RRM", cell(run["ms per batch"]["plain"])),
        ("a batch with RRM", cell(run["ms per batch"]["rrm"])),
        ("the difference of two batches", cell(run["ms of the difference"])),
        ("the line that differs, without RRM", cell(run["ms of the line"]["plain"])),
        ("the line that differs, with RRM", cell(run["ms of the line"]["rrm"])),
        ("`RRM.step()` at an epoch's end", cell(run["ms of step"])),
        ("**added to an epoch**", f"**{run['added to an epoch, %']:.2g} %**"),
    ]
    lines = ["| | time |", "|---|---:|", *("| " + " | ".join(row) + " |" for row in rows)]
    note = (
        f"{run['what']}: medians (quartiles) of {run['batches']:,} batches, each done with and without RRM in turns. "
        f"Added: the extra time of the line, over all batches, plus the step, relative to the batches without RRM. "
        f"{provenance(run)}"
    )
    return "\n".join([*lines, "", note])


def trainer() -> str:
    """Return the tables of what a batch and a step of RRM take, or that there is no record."""
    if not is_recorded("trainer"):
        return NOT_RECORDED
    run = recorded("trainer")
    return f"{training_tables.trainer(run)} {provenance(run)}"


def experiment(name: str, block: Callable[[dict[str, Any]], str]) -> str:
    """Return a block about an experiment, or that there is no record."""
    if not is_recorded(f"experiment_{name}"):
        return NOT_RECORDED
    return block(recorded(f"experiment_{name}"))


EXPERIMENTS = {
    "mnist_table6": (experiment_tables.table6, experiment_tables.table6_weights),
    "mnist_adversarial": (experiment_tables.adversarial,),
    "cifar10n": (experiment_tables.cifar10n, experiment_tables.cifar10n_fit, experiment_tables.real_noise),
    "fashion_synthetic": (experiment_tables.fashion_synthetic, experiment_tables.fashion_gains),
    "ablation": (experiment_tables.ablation_grid, experiment_tables.ablation_settings),
    "auto": (auto_tables.auto_estimates, auto_tables.auto_accuracy),
    "auto_large": (auto_tables.auto_large_estimates,),
    "groups": (quota_tables.groups_sources, quota_tables.groups_tails, quota_tables.groups_pruned),
    "scores": (score_tables.scores_accuracy, score_tables.scores_pruned),
    "tabular": (
        tabular_tables.tabular_accuracy,
        tabular_tables.tabular_clean,
        tabular_tables.tabular_estimates,
        tabular_tables.tabular_lists,
    ),
    "detection": (detection_tables.detection_order, detection_tables.detection_lists),
    "text": (text_tables.text_accuracy, text_tables.text_pruned, text_tables.text_groups),
}


def scale(name: str, block: Callable[[dict[str, Any]], str]) -> str:
    """Return a block about files or ranks, or that there is no record."""
    if not is_recorded(name):
        return NOT_RECORDED
    run = recorded(name)
    return f"{block(run)} {provenance(run)}"


BLOCKS: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        *(demo, mnist, fashion, headline, backends, call, reweight, reweight_targets, reweight_conditions, busy),
        *(groups, sources, gpu, gpu_costs, training_cost, trainer),
    )
}
BLOCKS |= {block.__name__: partial(scale, "stream", block) for block in (scale_tables.stream, scale_tables.scale_paper)}
BLOCKS["frameworks"] = partial(table_of, "integrations", integration_tables.frameworks)
BLOCKS |= {
    block.__name__: partial(table_of, "preferences", block)
    for block in (integration_tables.preferences, integration_tables.swapped_pairs)
}
BLOCKS["find_errors"] = partial(table_of, "find", review_tables.find_errors)
BLOCKS["review_page"] = partial(table_of, "review_page", review_tables.review_page)
BLOCKS["round_trip"] = partial(table_of, "round_trip", review_tables.round_trip)
BLOCKS |= {
    block.__name__: partial(table_of, "banking77", block)
    for block in (review_tables.banking77, review_tables.banking77_list)
}
BLOCKS["dataframes"] = partial(scale, "dataframes", scale_tables.dataframes)
BLOCKS |= {block.__name__: partial(scale, "ranks", block) for block in (scale_tables.ranks, scale_tables.traffic)}
BLOCKS |= {block.__name__: partial(experiment, name, block) for name, blocks in EXPERIMENTS.items() for block in blocks}


def rendered(page: str) -> str:
    """Return the text of a page with its blocks replaced by current ones."""
    return BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m[2]]()}\n{m[3]}", page)


def draw() -> None:
    """Draw the figures that are missing or outdated."""
    records = experiment_records()
    folder = ROOT / "docs" / "images"
    for name in figure_sources.outdated(folder, records):
        from benchmarks.pages import experiment_figures  # imports Matplotlib, which --check does without

        experiment_figures.draw(name, records[figure_sources.RECORDS[name]], folder / f"{name}.png")
        print(f"drew {(folder / name).relative_to(ROOT)}.png")


def experiment_records() -> dict[str, Any]:
    """Return the existing records of figures."""
    return {name: recorded(name) for name in figure_sources.RECORDS.values() if is_recorded(name)}


def main() -> int:
    """Write or check the pages; return 1 if --check finds one that is not up to date, otherwise 0."""
    check = "--check" in sys.argv[1:]
    if not check:
        draw()
    records = experiment_records()
    code = 0
    for path in PAGES:
        text = path.read_text()
        page = path.relative_to(ROOT)
        for fault in figure_sources.faults(text, ROOT / "docs" / "images", records):
            print(f"{page} shows {fault}: run python -m benchmarks.pages.render")
            code = 1
        if rendered(text) == text:
            continue
        if check:
            print(f"{page} differs from benchmarks/results/: run python -m benchmarks.pages.render")
            code = 1
        else:
            with atomic_write(path) as file:
                file.write(rendered(text).encode())
            print(f"wrote {page}")
    return code


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.pages.render", main))
