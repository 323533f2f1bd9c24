"""The command line: ``python -m rrm_torch``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import rrm_core
from rrm_core._cli import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    Parser,
    exit_code,
    number_or_name,
    positive_int,
    print_error,
    progress_bar,
    run,
)

from .adversarial import attacks
from .data import images, noise
from .data.image_corrections import correct_images
from .find.command import add_command, run_command
from .losses import per_sample
from .report import folder, table
from .report.diagnosis import diagnose
from .training.compare import ComparisonSettings, Trial, compare
from .weighting.settings import AUTO

SCRIPT = "rrm"
PROGRAM = SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m rrm_torch"
MAX_COUNT = 1024
"""Largest number of seeds, and of threads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit code: 0 success, 1 training failed or the report could not be written, 2 bad input, 130 interrupted,
        141 output cut off.
    """
    return run(PROGRAM, _parse_and_run, arguments)


def _parse_and_run(arguments: Sequence[str] | None) -> int:
    options = _make_parser().parse_args(arguments)
    program = f"{PROGRAM} {options.command}"
    command = run_command if options.command == "find" else _train
    return run(program, command, program, options)


def _train(program: str, options: argparse.Namespace) -> int:
    """Run the trials, and write the report after each; return the exit code."""
    with exit_code(BAD_INPUT, ValueError, TypeError, OSError, ImportError):
        data = images.load(options.data)
        if options.corrections:
            data = correct_images(data, options.corrections)
        settings = _make_settings(options)
        settings.check_n(len(data.y_train))
        settings.check_groups(data.y_train.numpy())
        folder.prepare(options.report)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    console = Console(markup=False)  # names of files and packages may contain brackets
    task = data.name
    if settings.noise:
        task += f", {100 * settings.noise:g} % {settings.noise_kind} label noise"
    console.print(
        f"{task}: {len(data.x_train):,} training and {len(data.x_test):,} test images, {data.n_classes} classes"
    )
    trials: list[Trial] = []
    files: list[str] = []
    n_reported = 0
    code = DONE
    try:
        for trial in _run_trials(console, data, settings, options.seeds):
            trials.append(trial)
            # Written before anything is printed, because stdout may be a closed pipe.
            files = folder.write(options.report, options.data, data, settings, trials, options.corrections)
            n_reported = len(trials)
            if not console.is_terminal:  # without a terminal the progress bar is only printed at the end
                console.print(
                    f"seed {trial.seed}: test accuracy {trial.plain.accuracy:.1%} plain, "
                    f"{trial.weighted.accuracy:.1%} RRM{table.describe_estimate(trial)}"
                )
    except KeyboardInterrupt:
        console.print(f"Interrupted; {len(trials)} of {options.seeds} seeds are complete.")
        code = INTERRUPTED
    except (OSError, ValueError, RuntimeError) as error:  # a full disk, NaN losses, out of memory
        print_error(program, error)
        code = FAILED
    if trials:
        console.print(table.make_table(trials, f"{task}, {settings.epochs} epochs"))
        _print_diagnosis(console, data, trials)
    if n_reported < len(trials):
        console.print(
            f"Files of the report in {options.report} may lack seed {trials[-1].seed}: writing them ended early."
        )
    if files:
        _print_files(console, options.report, files, len(trials))
    return code


def _print_diagnosis(console: Console, data: images.ImageData, trials: list[Trial]) -> None:
    """Print the diagnosis of the first seed."""
    first = trials[0]
    title = "Diagnosis" if len(trials) == 1 else f"Diagnosis of seed {first.seed}"
    console.print(f"{title}\n{diagnose(first.rrm, data.classes, first.labels)}\n", highlight=False)


def _print_files(console: Console, report: Path, files: list[str], n_trials: int) -> None:
    """Print the files of the report, and what to install for figures."""
    first_seed = ""
    if n_trials > 1:
        first_seed = ", of which the page, flagged.csv, diagnosis.txt and the figures of samples show seed 0"
    console.print(f"Report in {report}: {', '.join(files)}{first_seed}")
    if "suspicious.png" not in files:
        what = "figures" if folder.PAGE in files else "figures and the page"
        console.print(f"For {what}, install Matplotlib: pip install matplotlib")


def _run_trials(console: Console, data: images.ImageData, settings: ComparisonSettings, seeds: int) -> Iterator[Trial]:
    """Yield one trial per seed, with a progress bar."""
    with progress_bar(console, count=["{task.completed}/{task.total}", "epochs"]) as progress:
        bar = progress.add_task("", total=2 * settings.epochs * seeds)
        for seed in range(seeds):

            def on_epoch(method: str, seed: int = seed) -> None:
                progress.update(bar, advance=1, description=f"seed {seed + 1} of {seeds}, {method:5}")

            yield compare(data, settings, seed, on_epoch)


def _make_settings(options: argparse.Namespace) -> ComparisonSettings:
    values = {name: value for name, value in vars(options).items() if name in ComparisonSettings.__dataclass_fields__}
    return ComparisonSettings(**values)


def _make_parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Train an image classifier on noisy labels, with and without Rockafellian relaxation (RRM), and "
        "find the wrong labels.",
    )
    parser.add_argument("--version", action="version", version=f"rrm-core {rrm_core.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = Parser(add_help=False)
    common.add_argument(
        "--seeds", type=positive_int(MAX_COUNT), default=3, metavar="K", help="repeat with seeds 0 to K-1 (default: 3)"
    )
    common.add_argument(
        "--threads",
        type=positive_int(MAX_COUNT),
        metavar="T",
        help="threads of torch (default: 1 in the demo, whose model is too small for more, else torch's own choice)",
    )
    common.add_argument(
        "--report",
        type=Path,
        default=Path("report"),
        metavar="DIR",
        help="folder for review.html (a page to judge labels), flagged.csv, diagnosis.txt, results.json and figures; "
        "replaces an earlier report (default: report)",
    )

    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="handwritten digits with 30 %% of the labels flipped, in about a minute",
        description="Train on scikit-learn's 1,797 handwritten digits, with 30 % of the training labels flipped, with "
        "and without RRM. The same as: python -m rrm_torch train --data digits --noise 0.3",
    )
    demo.set_defaults(data="digits", noise=0.3, threads=1, corrections=[])

    train = commands.add_parser(
        "train",
        parents=[common],
        help="the same with your own images, and the figures of a report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Train a multilayer perceptron on your images, with and without RRM, from the
same initial parameters and batches. Without --noise the labels are used as
they are, and flagged.csv lists them with the most suspicious ones first. With
--noise some labels are made wrong, so that precision and recall are known.""",
        epilog="""\
a .npz file holds
  x_train, x_test   images: uint8 or floating-point, (n, H, W) or (n, H, W, 1 or 3)
  y_train, y_test   labels: integers from 0
  classes           optional: the classes' names

examples:
  find wrong labels in a file of your own; how many there are is estimated
    python -m rrm_torch train --data mine.npz
  the same, if about 5 % are known to be wrong
    python -m rrm_torch train --data mine.npz --contamination 0.05
  judge labels on report/review.html, export them, and train again
    python -m rrm_torch train --data mine.npz --corrections corrections.csv
  flip 30 % of MNIST's labels, and measure how many are found
    python -m rrm_torch train --data mnist.npz --noise 0.3""",
    )
    train.add_argument(
        "--data",
        default="digits",
        metavar="SOURCE",
        help=images.ACCEPTED_SOURCES.replace("%", "%%") + " (default: digits)",
    )
    train.add_argument(
        "--corrections",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="corrections.csv or .json that a review page exported: train with the corrected labels",
    )
    _add_settings(train)
    add_command(commands)
    return parser


def _add_settings(train: argparse.ArgumentParser) -> None:
    """Add an option for each of the `ComparisonSettings`, with its default."""

    def add(group: Any, flag: str, text: str, **options: Any) -> None:
        default = ComparisonSettings.__dataclass_fields__[flag.removeprefix("--").replace("-", "_")].default
        suffix = "" if default is None else f" (default: {default})"
        group.add_argument(flag, default=default, help=text + suffix, **options)

    labels = train.add_argument_group("label noise")
    add(labels, "--noise", "share of training labels to make wrong", type=float, metavar="RATE")
    add(
        labels,
        "--noise-kind",
        "symmetric: to any other class; redraw: to any class, so fewer are wrong; pair: to the next class",
        choices=list(noise.KINDS),
    )
    method = train.add_argument_group("RRM")
    rule = method.add_mutually_exclusive_group()
    add(
        rule,
        "--contamination",
        "share of labels to prune, the share of wrong ones: a number, or auto to estimate it (default: auto)",
        type=number_or_name,
        metavar="C",
    )
    add(rule, "--gamma", "prune losses more than this above the smallest", type=float, metavar="G")
    add(method, "--mu", "step from old weights to new, in (0, 1]", type=float, metavar="MU")
    add(
        method,
        "--warmup",
        "epochs of plain training before the first reweight: a number, or auto to end it once the model has learnt "
        "(default: auto with --contamination auto, else 10)",
        type=_count_or_auto,
        metavar="E",
    )
    add(method, "--every", "epochs from one reweight to the next", type=int, metavar="E")
    add(
        method,
        "--redistribute",
        "recipients of the pruned mass: kept, argmin (the paper's), drop (none), or a fraction of the samples",
        type=number_or_name,
        metavar="WHO",
    )
    add(method, "--ties", "losses on the threshold: keep them, or share the pruning evenly", choices=["keep", "share"])
    add(
        method,
        "--scoring",
        "reweight by the losses recorded during training, or by those of a scoring pass",
        choices=["recorded", "pass"],
    )
    add(
        method,
        "--groups",
        "groups of samples: labels, or a .npy file with a number from 0 for each training image; with --contamination "
        "auto the labels by default, with a cap of 0.5",
        metavar="labels|FILE",
    )
    add(method, "--cap", "largest share of a group that --contamination may prune", type=float, metavar="C")
    add(
        method,
        "--mass",
        "samples that receive the mass pruned from a group: all, or those of the group",
        choices=["all", "group"],
    )
    training = train.add_argument_group("training (Adam)")
    add(training, "--loss", "per-sample loss: cce, mse, mae, ...", choices=list(per_sample.BY_NAME))
    add(
        training,
        "--attack",
        "train on adversarial examples, with and without RRM (A-RRM), and test on them, too",
        choices=["none", *attacks.BY_NAME],
    )
    add(training, "--eps", "size of the attack; black is 0 and white is 1", type=float, metavar="EPS")
    add(training, "--epochs", "passes over the training set", type=int, metavar="E")
    add(training, "--batch-size", "samples per step", type=int, metavar="B")
    add(training, "--lr", "learning rate", type=float, metavar="LR")
    hidden: Any = ComparisonSettings.__dataclass_fields__["hidden"].default
    training.add_argument(
        "--hidden",
        type=int,
        nargs="*",
        action=_StoreTuple,
        default=hidden,
        metavar="W",
        help=f"widths of the hidden layers (default: {' '.join(map(str, hidden))})",
    )


def _count_or_auto(text: str) -> int | str:
    """Return the number of epochs of a warm-up, or ``"auto"``."""
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number of epochs, or auto, got {text!r}") from None


class _StoreTuple(argparse.Action):
    """Store the values of an option as a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:  # noqa: ARG002
        setattr(namespace, self.dest, tuple(values))
