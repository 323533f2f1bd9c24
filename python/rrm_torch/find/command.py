"""The command ``find``: from data of any kind to a page on which a person judges suspicious labels."""

from __future__ import annotations

import argparse
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console

from rrm_core._cli import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    CommandError,
    exit_code,
    number_or_name,
    positive_int,
    report_progress,
)

from .corrections import correct, corrected_data, corrected_duplicates, with_decisions
from .earlier_run import compare, read_flagged
from .export_formats import FORMATS, check_exports, write_exports
from .input_checks import check_ids, check_not_replaced, check_search
from .output_folder import PAGE, write_folder
from .readers.labelled_data import Kind, ReadOptions
from .readers.sources import ACCEPTED_SOURCES, read_labelled
from .search import load_model, prepare, search
from .settings import SearchSettings
from .summary import summarise

MAX_THREADS = 1024

DESCRIPTION = """\
Find the labels that are probably wrong, and write a page on which you judge
them by keys. No test set, no known share of wrong labels and no code is
needed: a small model is trained by RRM on the data themselves."""

EPILOG = f"""\
{textwrap.fill(f"DATA is {ACCEPTED_SOURCES}.", 79)}

models
  images      a small residual network on 32 x 32 pixels
  texts       logistic regression on hashed words and parts of words
  tables      gradient boosting
  --features  logistic regression on embeddings of your own
  --logits    no training: predictions of a model that has not seen the samples

examples
  a folder with one folder of images per class
    rrm find photos --out review
  questions and their intents in a CSV file
    rrm find questions.csv --label intent --text question --out review
  the same with embeddings, one row per question
    rrm find questions.csv --label intent --features embeddings.npy --out review
  the next round, after you judged labels on the page and exported them
    rrm find photos --out review --corrections corrections.csv

exit codes
  0 done; 1 the search failed or a file can't be written; 2 wrong input;
  130 interrupted: what was found up to then is written"""


def add_command(commands: Any) -> None:
    """Add the command to a command line.

    Parameters
    ----------
    commands : argparse subparsers
    """
    parser = commands.add_parser(
        "find",
        help="wrong labels in images, texts or tables as you have them, and a page to judge them",
        # Options that take several values would take DATA, too, if it followed them.
        usage="%(prog)s DATA --out FOLDER [OPTIONS]",
        description=DESCRIPTION,
        epilog=EPILOG.replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="a folder or a file, see below")
    out_help = "folder for the page and the lists"
    parser.add_argument("--out", type=_folder, required=True, metavar="FOLDER", help=out_help)
    _add_data_options(parser.add_argument_group("data"))
    _add_search_options(parser.add_argument_group("search"))
    _add_output_options(parser.add_argument_group("output"))


def _add_data_options(group: Any) -> None:
    group.add_argument("--label", metavar="COLUMN", help="column of the labels (default: label, class, target, ...)")
    group.add_argument("--text", metavar="COLUMN", help="column of the texts (default: text, question, ...)")
    group.add_argument("--id", metavar="COLUMN", help="column that identifies the samples (default: row numbers)")
    group.add_argument(
        "--features", metavar="COLUMNS|FILE", help="embeddings: names or patterns of columns, such as emb_*, or .npy"
    )
    group.add_argument(
        "--logits", metavar="COLUMNS|FILE", help="logits or probabilities of a model, one column per class, or .npy"
    )
    group.add_argument("--drop", metavar="COLUMNS", help="columns that aren't features, with commas between them")
    group.add_argument("--split", metavar="NAME", help="read this split only, such as train")
    kinds = get_args(Kind)
    group.add_argument(
        "--kind", choices=kinds, metavar="KIND", help=f"{', '.join(kinds)} (default: decided by the data)"
    )
    group.add_argument("--encoding", metavar="NAME", help="encoding of a text file (default: UTF-8)")


def _add_search_options(group: Any) -> None:
    group.add_argument(
        "--contamination",
        type=number_or_name,
        default="auto",
        metavar="C",
        help="share of labels to flag, or auto to estimate the share of wrong ones (default: auto)",
    )
    group.add_argument(
        "--corrections",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="corrections.csv or .json that the page exported: train with the corrected labels",
    )
    group.add_argument(
        "--model",
        metavar="FILE.py:NAME",
        help="your own model: a classifier of scikit-learn, or for images a function of the number of classes that "
        "returns a torch module; the file is executed",
    )
    group.add_argument(
        "--epochs", type=positive_int(), default=24, metavar="E", help="passes over the images (default: 24)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all that is random (default: 0)")
    group.add_argument(
        "--threads",
        type=positive_int(MAX_THREADS),
        default=1,
        metavar="T",
        help="threads of torch for images (default: 1, since the network is small)",
    )


def _add_output_options(group: Any) -> None:
    group.add_argument(
        "--limit",
        type=positive_int(),
        metavar="N",
        help="samples on the page, the most suspicious first (default: 1,000 images, all texts and rows)",
    )
    group.add_argument(
        "--export",
        nargs="+",
        choices=sorted(FORMATS),
        default=[],
        metavar="FORMAT",
        help=f"also write the table for other tools: {', '.join(sorted(FORMATS))}",
    )


def run_command(_: str, options: argparse.Namespace) -> int:
    """Read, search and write; return the exit code."""
    torch.set_num_threads(options.threads)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    with report_progress() as progress:
        with exit_code(BAD_INPUT, ValueError, TypeError, OSError, ImportError):
            settings = SearchSettings(options.contamination, options.model, options.epochs, options.seed)
            read_options = _read_options(options)
            check_not_replaced(options.out, _inputs(options), options.export)
            data = read_labelled(options.data, read_options)
            check_ids(data)
            check_exports(options.export, data)
            prepared = prepare(data, progress)
            data = prepared.data
            corrected = None
            training = prepared
            if options.corrections:
                corrected = correct(data, options.corrections)
                training = prepared.take(corrected_data(data, corrected), corrected.retained)
            check_search(training.data, settings)
            model = load_model(training.data, settings)
            _prepare_folder(options.out)
        before = read_flagged(options.out, data.fingerprint())
        with exit_code(FAILED, ValueError, TypeError, RuntimeError, MemoryError, ImportError):
            try:
                result = search(training, settings, progress, model)
            except KeyboardInterrupt:
                raise CommandError("interrupted before anything was found; nothing is written", INTERRUPTED) from None
    duplicates = prepared.duplicates
    if corrected is not None:
        result = with_decisions(result, data, corrected)
        duplicates = corrected_duplicates(duplicates, data, corrected)
    changes = None if before is None else compare(before, result)
    summary = summarise(data, result, duplicates, corrected, changes)
    with exit_code(FAILED, OSError, ValueError, TypeError, ImportError):
        files = write_folder(
            options.out,
            data,
            result,
            duplicates,
            summary,
            corrections=options.corrections,
            limit=options.limit,
        )
        files += write_exports(options.export, options.out, data, result)
    for paragraph in summary:
        console.print(_printable(paragraph))
    where = f"Written to {options.out}: {', '.join(files)}. Open {options.out / PAGE} in a browser."
    console.print(_printable(where))
    return DONE if result.is_complete else INTERRUPTED


def _read_options(options: argparse.Namespace) -> ReadOptions:
    return ReadOptions(
        label=options.label,
        text=options.text,
        id_column=options.id,
        features=_columns_or_file(options.features),
        logits=_columns_or_file(options.logits),
        drop_columns=_split_names(options.drop),
        split=options.split,
        kind=options.kind,
        encoding=options.encoding,
    )


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("must be a folder, got an empty name")
    return Path(text)


def _columns_or_file(text: str | None) -> tuple[str, ...] | Path | None:
    if text is None:
        return None
    if text.lower().endswith(".npy"):
        return Path(text)
    return _split_names(text)


def _split_names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _inputs(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the files that are read."""
    yield options.data
    yield from options.corrections
    for text in (options.features, options.logits):
        source = _columns_or_file(text)
        if isinstance(source, Path):
            yield source


def _printable(text: str) -> str:
    """Return text whose control characters, which names of files may contain, are escaped for a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _prepare_folder(folder: Path) -> None:
    """Create the folder, and check that it is writable before the search; OSError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"folder {str(folder)!r} can't be written: {error.strerror}; choose another, --out") from error
