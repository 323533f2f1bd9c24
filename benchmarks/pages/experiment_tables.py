"""Tables of the experiments' records in Markdown: a pure function for each block on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from benchmarks.pages.experiment_record import (
    MISSING,
    Record,
    Run,
    distinct,
    methods,
    provenance,
    require_complete,
    results,
    select,
    spread,
)

# The paper on Rockafellian Relaxation: accuracy on CIFAR-10 with synthetic noise, without and with RRM.
PUBLISHED = {
    "CCE": {0.1: (89.94, 92.20), 0.2: (86.98, 90.44), 0.3: (81.90, 88.49)},
    "MSE": {0.2: (89.43, 91.43)},
    "MAE": {0.3: (88.28, 82.98)},
}


def table6(record: Record) -> str:
    """Return the table of accuracy and of pruned clean and wrong labels on MNIST, by method."""
    require_complete(record)
    wrong, clean = label_counts(record)
    rows = []
    for method in methods(record):
        runs = select(record, method)
        shares = (spread(results(record, method, name)) for name in ("accuracy", "best_accuracy", "memorised"))
        counts: Iterable[str] = ["–"] * 4
        if results(record, method, "histogram") != [None] * len(runs):
            pruned = [round(run["result"]["recall"] * wrong) for run in runs]
            n_pruned = [run["result"]["rounds"]["n_pruned"][-1] for run in runs]
            clean_pruned = [total - count for total, count in zip(n_pruned, pruned, strict=True)]
            near_zero = [run["result"]["histogram"]["wrong"][0] for run in runs]
            counts = (_count(values) for values in (pruned, near_zero, clean_pruned, [_nominal(run) for run in runs]))
        rows.append([method, *shares, *counts])
    head = [
        *("test accuracy, %", "best epoch's, %", "wrong labels memorised, %", f"wrong labels pruned, of {wrong:,}"),
        *("wrong labels of weight below 0.05", f"clean labels pruned, of {clean:,}", "clean labels of nominal weight"),
    ]
    note = (
        "Pruned: by the last reweight. Nominal: in the histogram's interval that holds 1, and with `kept` "
        "1 / (1 − share pruned), the weight of every sample that is left. The paper: 9,286 of 9,600 wrong labels near "
        "zero."
    )
    return _with_note(_table("", head, rows), note, record)


def table6_weights(record: Record) -> str:
    """Return the histograms of the weights in the last epoch."""
    require_complete(record)
    edges = _edges()
    head = [f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} and more" for low, high in edges]
    rows = []
    for method in methods(record):
        for name in ("clean", "wrong"):
            histograms = [counts for counts in results(record, method, "histogram", name) if counts is not None]
            if histograms:
                rows.append([f"{method}: {name} labels", *(_count(column) for column in zip(*histograms, strict=True))])
    note = "Labels by the weight that they had in the last epoch, each interval without its upper end."
    return _with_note(_table("weight", head, rows), note, record)


def adversarial(record: Record) -> str:
    """Return accuracy under attack, a table for each noise rate."""
    require_complete(record)
    tables = []
    for rate in distinct(record, "noise"):
        robust = results(record, methods(record)[0], "robust", noise=rate)[0]
        cells = [(attack, eps) for attack, by_eps in robust.items() for eps in by_eps]
        head = ["memorised", *(f"{attack.upper()}, ε {float(eps):g}" for attack, eps in cells)]
        rows = []
        for method in methods(record, noise=rate):
            shares = [spread(results(record, method, "memorised", noise=rate))]
            shares += [spread(results(record, method, "robust", *cell, noise=rate)) for cell in cells]
            rows.append([method, *shares])
        tables.append(_table(f"{_percent(rate)} wrong labels", head, rows))
    note = (
        "In %: test accuracy under an attack of size ε, in units of a standardised pixel; memorised: the share of "
        "wrong training labels that the model predicts."
    )
    return _with_note("\n\n".join(tables), note, record)


def cifar10n(record: Record) -> str:
    """Return the table of test accuracy on CIFAR-10N, of the last and of the best epoch."""
    require_complete(record)
    kinds = distinct(record, "labels")
    rows = []
    for method in methods(record):
        both = [
            [spread(results(record, method, name, labels=kind)) for name in ("accuracy", "best_accuracy")]
            for kind in kinds
        ]
        rows.append([method, *(f"{end} ({best})" if end != MISSING else end for end, best in both)])
    note = (
        "Test accuracy in %, after the last epoch and, in brackets, after the best one, which cannot be chosen "
        f"without clean labels. {_size(record)}."
    )
    return _with_note(_table("", kinds, rows), note, record)


def cifar10n_fit(record: Record) -> str:
    """Return the table of how wrong and correct labels of CIFAR-10N were fitted, and how well they were separated."""
    require_complete(record)
    parts = ("memorised", "fitted", "recall", "precision")
    rows = []
    for kind in distinct(record, "labels"):
        rows.append([f"**{kind}**", *[""] * len(parts)])
        rows += [
            [method, *(spread(results(record, method, name, labels=kind)) for name in parts)]
            for method in methods(record, labels=kind)
        ]
    note = (
        "In %. Memorised: training accuracy on the wrong labels; fitted: on the right ones. Recall: share of the wrong "
        "labels that the last reweight pruned; precision: share of the pruned labels that are wrong."
    )
    return _with_note(_table("", parts, rows), note, record)


def real_noise(record: Record) -> str:
    """Return a sentence with the result on the worst labels of CIFAR-10N."""
    require_complete(record)
    plain = spread(results(record, "CCE", "accuracy", labels="worst"))
    rrm = spread(results(record, "RRM", "accuracy", labels="worst"))
    run = select(record, "RRM", labels="worst")[0]
    count = len(select(record, "RRM", labels="worst"))
    recall = spread(results(record, "RRM", "recall", labels="worst"))
    return (
        f"Photographs with the labels that people gave them (CIFAR-10N's worst, about "
        f"{_percent(run['settings']['rrm']['contamination'])} wrong; {_size(record)}, "
        f"{'one seed' if count == 1 else f'{count} seeds'}): plain training ends at **{plain} %** test accuracy, RRM "
        f"at **{rrm} %**, and of the wrong labels it finds **{recall} %**."
    )


def fashion_synthetic(record: Record) -> str:
    """Return tables of test accuracy, memorised labels and recall by loss and noise rate, with and without RRM."""
    require_complete(record)
    rates = distinct(record, "noise")

    def cells(method: str, name: str) -> list[str]:
        return [spread(results(record, method, name, noise=rate)) for rate in rates]

    accuracy = _table("test accuracy, %", map(_percent, rates), [[m, *cells(m, "accuracy")] for m in methods(record)])
    head = [f"{name}, {_percent(rate)}" for name in ("memorised", "recall") for rate in rates]
    fit = _table(
        "%", head, [[method, *cells(method, "memorised"), *cells(method, "recall")] for method in methods(record)]
    )
    note = (
        "By share of wrong labels. Memorised: share of the wrong training labels that the model predicts; recall: "
        "share of them above the threshold at the last reweight. A bounded loss can tie at its highest value, where "
        "nothing lies above the threshold and nothing is pruned; with ties shared, these samples lose a part of their "
        "weight, which recall doesn't count."
    )
    return _with_note(f"{accuracy}\n\n{fit}", note, record)


def fashion_gains(record: Record) -> str:
    """Return the table of RRM's gain in accuracy for each loss, and the paper's gains on CIFAR-10."""
    require_complete(record)
    rates = distinct(record, "noise")
    rows = []
    for method in methods(record):
        loss, with_rrm, _ = method.partition(" + ")
        if with_rrm:
            rows.append([method, *(spread(gains(record, loss, method, rate), sign="+") for rate in rates)])
    for loss, by_rate in PUBLISHED.items():
        differences = [by_rate[rate][1] - by_rate[rate][0] if rate in by_rate else None for rate in rates]
        rows.append([f"the paper, CIFAR-10, {loss}", *(spread([value], 1.0, sign="+") for value in differences)])
    note = "Test accuracy with RRM less that without, in points: differences by seed, with the same labels and batches."
    return _with_note(_table("gain", map(_percent, rates), rows), note, record)


def gains(record: Record, without: str, method: str, rate: float) -> list[float]:
    """Return the accuracy with RRM minus that without, by seed."""
    pairs = [{r["seed"]: r["result"]["accuracy"] for r in select(record, m, noise=rate)} for m in (method, without)]
    return [pairs[0][seed] - pairs[1][seed] for seed in pairs[0]]


def grid(record: Record) -> tuple[list[str], dict[str, str]]:
    """Return the rows and columns of the ablation's grid: rules to redistribute, and conditions with their titles."""
    parts = [method.partition(", ") for method in methods(record) if ", scale " in method]
    conditions = dict.fromkeys(condition for _, _, condition in parts)
    words = (("augmentation none", "no augmentation"), ("augmentation strong", "strong augmentation"))
    titles = {}
    for condition in conditions:
        titles[condition] = condition
        for name, title in words:
            titles[condition] = titles[condition].replace(name, title)
    return list(dict.fromkeys(rule for rule, _, _ in parts)), titles


def ablation_grid(record: Record) -> str:
    """Return the table of rules to redistribute the mass, by augmentation and scale."""
    require_complete(record)
    rules, titles = grid(record)
    rows = []
    for title, cell in (
        ("test accuracy, %", lambda method: spread(results(record, method, "accuracy"))),
        ("wrong labels memorised, %", lambda method: spread(results(record, method, "memorised"))),
        ("largest weight ever", lambda method: _count(_largest(record, method))),
    ):
        rows.append([f"**{title}**", *[""] * len(titles)])
        rows += [[_rule(rule), *(cell(f"{rule}, {where}") for where in titles)] for rule in rules]
    note = (
        "Scale mean: a batch's mean of weight times loss; paper: the sum over the batch of p times loss, "
        "batch / n of it, at the same learning rate. Largest weight: of any sample after any reweight; 1 is nominal."
    )
    return _with_note(_table("redistribute", titles.values(), rows), note, record)


def ablation_settings(record: Record) -> str:
    """Return the table of settings varied separately."""
    require_complete(record)
    parts = ("accuracy", "memorised", "recall")
    base = "kept, augmentation none, scale mean"
    strong = "kept, augmentation strong, scale mean"
    rrm = select(record, base)[0]["settings"]["rrm"]
    defaults = f"contamination {rrm['contamination']:g}, warm-up {rrm['warmup']}, mu 1, recorded losses"
    names = {"plain, augmentation none, scale mean": "plain training", base: f"RRM: {defaults}"}
    names |= {method: method for method in methods(record) if ", scale " not in method}
    if "fresh losses, augmentation strong" in names:
        # Precede it with the recorded losses of the same augmentation, for comparison.
        title = names.pop("fresh losses, augmentation strong")
        names |= {strong: "recorded losses, augmentation strong", "fresh losses, augmentation strong": title}
    rows = [
        [title, *(spread(results(record, method, name)) for name in parts), _count(_largest(record, method))]
        for method, title in names.items()
    ]
    head = ["test accuracy, %", "wrong labels memorised, %", "recall, %", "largest weight ever"]
    note = "Each line changes one setting of RRM's."
    return _with_note(_table("", head, rows), note, record)


def label_counts(record: Record) -> tuple[int, int]:
    """Return the number of wrong and of clean labels, which all runs of an experiment with one noise rate share."""
    histogram = next(run["result"]["histogram"] for run in record["runs"] if "histogram" in run["result"])
    return sum(histogram["wrong"]), sum(histogram["clean"])


def _nominal(run: Run) -> int:
    """Return the number of clean labels in the histogram's interval that contains the nominal weight."""
    result = run["result"]
    weight = 1.0
    if run["settings"]["rrm"].get("redistribute", "kept") == "kept":
        weight = 1 / (1 - result["rounds"]["n_pruned"][-1] / run["settings"]["samples"])
    counts: Sequence[int] = result["histogram"]["clean"]
    return next(count for count, (low, high) in zip(counts, _edges(), strict=True) if low <= weight < high)


def _largest(record: Record, method: str) -> list[float | None]:
    """Return the largest weight after any reweight, by seed."""
    columns = results(record, method, "rounds", "largest_weight")
    return [max(column) if column else None for column in columns]


def _edges() -> list[tuple[float, float]]:
    from rrm_torch.training.history import WEIGHT_EDGES  # imports torch, which --check does without

    return list(pairwise(WEIGHT_EDGES))


def _size(record: Record) -> str:
    settings = record["runs"][0]["settings"]
    return f"{settings['samples']:,} of 50,000 images, a small residual network, {settings['recipe']['epochs']} epochs"


def _rule(name: str) -> str:
    return name if name == "plain" else f"`{name}`"


def _count(values: Iterable[float | None]) -> str:
    values = list(values)
    small = any(value is not None and value != round(value) and value < 100 for value in values)
    return spread(values, 1.0, 2 if small else 0)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _table(corner: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    names = list(head)
    lines = [f"| {corner} | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _with_note(table: str, note: str, record: Record) -> str:
    return f"{table}\n\n{note} {provenance(record)}"
