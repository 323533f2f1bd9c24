"""The command line: ``python -m rrm_torch``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import rrm_core

from .adversarial import attacks
from .data import images, noise
from .losses import per_sample as losses
from .report import report
from .training.compare import Settings, Trial, compare

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # the last by convention of the shell: 128 + SIGINT
MOST = 1024  # seeds, and threads


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 training failed or the report could not be written, 2 bad input, 130 interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't show ± shall not cost the run

    def fail(error: Exception, code: int) -> int:
        what = " ".join(str(error).split()) or type(error).__name__
        print(f"{parser.prog} {options.command}: error: {what}", file=sys.stderr)
        return code

    try:
        data = images.load(options.data)
        settings = _settings(options, data.n_classes)
        settings.make_rrm(len(data.y_train))  # which refuses too few samples
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
    trials: list[Trial] = []
    names: list[str] = []
    code = 0
    try:
        for trial in _trials(console, data, settings, options.seeds):
            trials.append(trial)
            # First of all: what is printed may go to a pipe that is closed.
            names = report.write(options.report, options.data, data, settings, trials)
            if not console.is_terminal:  # where no bar is drawn until the end
                plain, weighted = trial.plain.accuracy, trial.weighted.accuracy
                console.print(f"seed {trial.seed}: test accuracy {plain:.1%} plain, {weighted:.1%} RRM")
    except KeyboardInterrupt:
        console.print(f"Interrupted; {len(trials)} of {options.seeds} seeds are complete.")
        code = INTERRUPTED
    except (OSError, ValueError, RuntimeError) as error:  # a full disk; losses that are no numbers; no memory left
        code = fail(error, FAILED)
    if trials:
        console.print(report.table(trials, f"{task}, {settings.epochs} epochs"))
    if names:
        shown = ", of which flagged.csv and the pictures of samples show seed 0" if len(trials) > 1 else ""
        console.print(f"Report in {options.report}: {', '.join(names)}{shown}")
        if "suspicious.png" not in names:
            console.print("For pictures, install Matplotlib: pip install 'rrm-core[plot]'")
    return code


def _trials(console: Console, data: images.ImageData, settings: Settings, seeds: int) -> Iterator[Trial]:
    """Yield one trial a seed, under a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=2 * settings.epochs * seeds)
        for seed in range(seeds):

            def after(method: str, seed: int = seed) -> None:
                progress.update(bar, advance=1, description=f"seed {seed + 1} of {seeds}, {method:5}")

            yield compare(data, settings, seed, after)


def _settings(options: argparse.Namespace, n_classes: int) -> Settings:
    given = {name: value for name, value in vars(options).items() if name in Settings.__dataclass_fields__}
    if given.get("contamination") is None and given.get("gamma") is None:
        if not given["noise"]:
            raise ValueError("give --contamination or --gamma: with no --noise to go by, there is no default")
        # A redraw leaves one label in n_classes as it was.
        redrawn = given.get("noise_kind") == "redraw"
        given["contamination"] = given["noise"] * (1 - 1 / n_classes) if redrawn else given["noise"]
    return Settings(**given)


def _redistribute(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to {MOST}, got {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m rrm_torch",
        description="Train an image classifier on labels that can't be trusted, with and without Rockafellian "
        "reweighting (RRM), and find the labels that are wrong.",
    )
    parser.add_argument("--version", action="version", version=f"rrm-core {rrm_core.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _Parser(add_help=False)
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
        help="folder for flagged.csv, results.json and the pictures, where a former report is replaced "
        "(default: report)",
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
a .npz file holds
  x_train, x_test   images: uint8 or floating-point, (n, H, W) or (n, H, W, 1 or 3)
  y_train, y_test   labels: integers from 0
  classes           optional: the classes' names

examples:
  look for wrong labels, about 5 % of them, in a file of your own
    python -m rrm_torch train --data mine.npz --contamination 0.05
  flip 30 % of MNIST's labels, and count how many are found
    python -m rrm_torch train --data mnist.npz --noise 0.3""",
    )
    train.add_argument(
        "--data",
        default="digits",
        metavar="SOURCE",
        help=images.ACCEPTED_SOURCES.replace("%", "%%") + " (default: digits)",
    )
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
        "share of labels to prune, the estimated share of wrong ones (default: as many as --noise makes wrong)",
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
    add(training, "--loss", "cce, mse, mae, ... of each sample", choices=list(losses.BY_NAME))
    add(
        training,
        "--attack",
        "train on adversarial examples, both plainly and with RRM (A-RRM), and test on them too",
        choices=["none", *attacks.BY_NAME],
    )
    add(training, "--eps", "size of the attack; the brightest pixel is 1", type=float, metavar="EPS")
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
