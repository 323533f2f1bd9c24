"""The command line: ``python -m rrm_torch``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import rrm_core

from . import images, noise, report
from .comparison import Settings, Trial, compare

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # the last by convention of the shell: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 the report could not be written, 2 bad input, 130 interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)

    def fail(error: Exception, code: int) -> int:
        print(f"{parser.prog} {options.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return code

    try:
        settings = _settings(options)
        data = images.load(options.data)
        report.prepare(options.report)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return fail(error, BAD_INPUT)
    if options.threads is not None:
        torch.set_num_threads(options.threads)

    console = Console(markup=False)  # names of files and extras may hold brackets
    task = f"{data.name}, {100 * settings.noise:g} % {settings.noise_kind} label noise" if settings.noise else data.name
    console.print(
        f"{task}: {len(data.x_train):,} training and {len(data.x_test):,} test images, {data.n_classes} classes"
    )
    trials, interrupted = _train(console, data, settings, options.seeds)
    if interrupted:
        console.print(f"Interrupted; {len(trials)} of {options.seeds} seeds are complete.")
    if trials:
        console.print(report.table(trials, f"{task}, {settings.epochs} epochs"))
        try:
            names = report.write(options.report, options.data, data, settings, trials)
        except OSError as error:
            return fail(error, FAILED)
        console.print(f"Report in {options.report}: {', '.join(names)}")
        if "suspicious.png" not in names:
            console.print("For pictures, install Matplotlib: pip install 'rrm-core[plot]'")
    return INTERRUPTED if interrupted else 0


def _train(console: Console, data: images.ImageData, settings: Settings, seeds: int) -> tuple[list[Trial], bool]:
    """Return the trials that were completed, and whether Ctrl-C kept the others from it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    trials: list[Trial] = []
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=2 * settings.epochs * seeds)
        try:
            for seed in range(seeds):

                def after(method: str, seed: int = seed) -> None:
                    progress.update(bar, advance=1, description=f"seed {seed + 1} of {seeds}, {method:5}")

                trials.append(compare(data, settings, seed, after))
        except KeyboardInterrupt:
            return trials, True
    return trials, False


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: value for name, value in vars(options).items() if name in Settings.__dataclass_fields__}
    if given.get("contamination") is None and given.get("gamma") is None:
        if not given["noise"]:
            raise ValueError("give --contamination or --gamma: with no --noise to go by, there is no default")
        given["contamination"] = given["noise"]
    return Settings(**given)


def _redistribute(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rrm_torch",
        description="Train an image classifier on labels that can't be trusted, with and without Rockafellian "
        "reweighting (RRM), and find the labels that are wrong.",
    )
    parser.add_argument("--version", action="version", version=f"rrm-core {rrm_core.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--seeds", type=_count, default=3, metavar="K", help="repeat with seeds 0 to K-1 (default: 3)")
    shared.add_argument(
        "--threads",
        type=_count,
        metavar="T",
        help="threads of torch (default: 1 in the demo, whose model is too small for more, else torch's own choice)",
    )
    shared.add_argument(
        "--report",
        type=Path,
        default=Path("report"),
        metavar="DIR",
        help="folder for flagged.csv, results.json and the pictures (default: report)",
    )

    demo = commands.add_parser(
        "demo",
        parents=[shared],
        help="real handwritten digits with 30 %% of the labels flipped, in about half a minute",
        description="Train on scikit-learn's 1,797 handwritten digits, 30 % of whose training labels are flipped, with "
        "and without RRM. The same as: python -m rrm_torch train --data digits --noise 0.3",
    )
    demo.set_defaults(data="digits", noise=0.3, threads=1)

    train = commands.add_parser(
        "train",
        parents=[shared],
        help="your own images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Train a multilayer perceptron on your images, with and without RRM, from the
same initial parameters and batches. Without --noise the labels are taken as
they come, and flagged.csv lists them with the suspicious ones first; with it,
some are made wrong on purpose, so that what is found can be counted.""",
        epilog="""\
examples:
  look for wrong labels, about 5 % of them, in a file of your own
    python -m rrm_torch train --data mine.npz --contamination 0.05
  flip 30 % of MNIST's labels, and count how many are found
    python -m rrm_torch train --data mnist.npz --noise 0.3""",
    )
    train.add_argument("--data", required=True, metavar="SOURCE", help=images.ACCEPTED.replace("%", "%%"))
    _add_settings(train)
    return parser


def _add_settings(train: argparse.ArgumentParser) -> None:
    default: dict[str, Any] = {name: field.default for name, field in Settings.__dataclass_fields__.items()}
    labels = train.add_argument_group("wrong labels made on purpose")

    def add(group: Any, flag: str, text: str, **options: Any) -> None:
        name = flag.removeprefix("--").replace("-", "_")
        shown = default[name]
        shown = " ".join(map(str, shown)) if isinstance(shown, tuple) else shown
        suffix = "" if shown is None else f" (default: {shown})"
        group.add_argument(flag, default=default[name], help=text + suffix, **options)

    add(labels, "--noise", "share of training labels to make wrong", type=float, metavar="RATE")
    add(
        labels,
        "--noise-kind",
        "symmetric: to any other class; redraw: to any class, so fewer are wrong; pair: to the next class",
        choices=list(noise.KINDS),
    )
    method = train.add_argument_group("the method")
    rule = method.add_mutually_exclusive_group()
    add(
        rule,
        "--contamination",
        "share of labels to prune, the estimated share of wrong ones (default: that of --noise)",
        type=float,
        metavar="C",
    )
    add(rule, "--gamma", "prune losses more than this above the smallest", type=float, metavar="G")
    add(method, "--mu", "step from old weights to new, in (0, 1]", type=float, metavar="MU")
    add(method, "--warmup", "epochs of plain training before the first reweight", type=int, metavar="E")
    add(method, "--every", "epochs from one reweight to the next", type=int, metavar="E")
    add(
        method,
        "--redistribute",
        "who gets the pruned mass: kept, argmin (the paper's), drop (nobody), or a fraction of the samples",
        type=_redistribute,
        metavar="WHO",
    )
    add(method, "--ties", "losses on the threshold: keep them, or share the pruning evenly", choices=["keep", "share"])
    add(
        method,
        "--scoring",
        "reweight by losses recorded while training, or by a pass of its own",
        choices=["recorded", "pass"],
    )
    training = train.add_argument_group("training (Adam)")
    add(training, "--epochs", "passes over the training set", type=int, metavar="E")
    add(training, "--batch-size", "samples per step", type=int, metavar="B")
    add(training, "--lr", "learning rate", type=float, metavar="LR")
    training.add_argument(
        "--hidden",
        type=int,
        nargs="*",
        action=_Tuple,
        default=default["hidden"],
        metavar="W",
        help=f"widths of the hidden layers (default: {' '.join(map(str, default['hidden']))})",
    )


class _Tuple(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:  # noqa: ARG002
        setattr(namespace, self.dest, tuple(values))


if __name__ == "__main__":
    sys.exit(main())
