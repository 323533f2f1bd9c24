"""Wrong inputs of the command `find`: one line on stderr, exit code 2, and nothing is written."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from rrm_torch.cli import main
from support import planted_errors
from support.planted_errors import CLASSES, write_csv

MODELS = """
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

number = 3
without_probabilities = LinearSVC()
without_weights = KNeighborsClassifier()
pipeline_without_weights = make_pipeline(StandardScaler(), KNeighborsClassifier())


class NoEstimator:
    def fit(self, x, y, sample_weight):
        return self

    def predict_proba(self, x):
        return x


def broken(*arguments):
    raise KeyError("no such thing")


def text(n_classes):
    return "a network"


def one_class_too_few(n_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, n_classes - 1))


def other_size(n_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, n_classes))


class Pair(torch.nn.Module):
    def __init__(self, n_classes):
        super().__init__()

    def forward(self, x):
        return x, x


class Constant(torch.nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.n_classes = n_classes

    def forward(self, x):
        return torch.zeros(len(x), self.n_classes)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder with right and wrong sources."""
    folder = tmp_path_factory.mktemp("sources")
    planted_errors.write_numbers(folder / "numbers.csv")
    planted_errors.write_texts(folder / "texts.csv")
    planted_errors.write_predictions(folder / "logits.csv")
    planted_errors.write_images(folder / "photos", 105, 5)
    planted_errors.write_images(folder / "few", 12, 0)
    planted_errors.write_numbers(folder / "repeated.csv", document=[index // 2 for index in range(150)])
    np.save(folder / "short.npy", np.zeros((149, 3), np.float32))
    (folder / "vectors.npy").write_bytes((folder / "short.npy").read_bytes())
    (folder / "empty.csv").touch()
    (folder / "empty").mkdir()
    for name in ("numbers.xlsx", "numbers.pkl", "numbers.doc"):
        (folder / name).write_bytes(b"x")
    (folder / "no.csv.gz").write_bytes(b"not compressed")
    for name in CLASSES[:2]:
        (folder / "broken" / name).mkdir(parents=True)
        for index in range(60):
            (folder / "broken" / name / f"{index}.png").write_bytes(b"no image")
    (folder / "one_left").mkdir()
    shutil.copytree(folder / "photos" / "cat", folder / "one_left" / "cat")
    shutil.copytree(folder / "broken" / "dog", folder / "one_left" / "dog")
    x = [index / 7 for index in range(40)]
    write_csv(folder / "prices.csv", {"x": x, "target": [round(2.5 * value + 0.1, 3) for value in x]})
    write_csv(folder / "one_class.csv", {"x": x, "label": ["a"] * 40})
    write_csv(folder / "unlabelled.csv", {"x": x, "z": x})
    write_csv(folder / "no_labels.csv", {"x": x, "label": [""] * 40})
    (folder / "german.csv").write_bytes(b"x,label\n" + "1,M\u00fcller\n2,Maier\n".encode("cp1252") * 20)
    (folder / "models.py").write_text(MODELS)
    (folder / "syntax.py").write_text("def (")
    (folder / "exits.py").write_text("import sys; sys.exit(0)")
    write_csv(folder / "not_corrections.csv", {"id": [1], "label": ["cat"]})
    write_csv(folder / "unknown_id.csv", {"id": [1000], "decision": ["keep"], "label": [""]})
    write_csv(folder / "unknown_label.csv", {"id": [1], "decision": ["relabel"], "label": ["cow"]})
    write_csv(folder / "conflict_a.csv", {"id": [1], "decision": ["relabel"], "label": ["cat"]})
    write_csv(folder / "conflict_b.csv", {"id": [1], "decision": ["relabel"], "label": ["owl"]})
    write_csv(folder / "other_decision.csv", {"id": [1], "decision": ["maybe"], "label": [""]})
    rows = planted_errors.read_csv(folder / "numbers.csv")
    others = [index for index, row in enumerate(rows) if row["label"] != "cat"]
    empty = [""] * len(others)
    write_csv(folder / "drop_others.csv", {"id": others, "decision": ["drop"] * len(others), "label": empty})
    return folder


WRONG = [
    # Sources
    ("nothing.csv", "", "nothing.csv doesn't exist; data must be a folder of images"),
    ("empty.csv", "", "empty.csv is empty"),
    ("numbers.doc", "", "numbers.doc has the suffix .doc, and data must be"),
    ("numbers.xlsx", "", "save it as CSV"),
    ("numbers.pkl", "", "pickles are never loaded"),
    ("no.csv.gz", "", "isn't a valid .gz file"),
    ("empty", "", "empty"),
    ("broken", "", "none of the 120 images can be decoded"),
    ("one_left", "", "must have samples of at least 2 classes, got 1 once samples that can't be used"),
    ("few", "", "few has 12 images, and the share of wrong labels is estimated from 100 or more; pass the"),
    ("german.csv", "", "--encoding"),
    ("numbers.csv", "--encoding latin0", "one that Python has, such as cp1252 or utf-16, got 'latin0'"),
    # Columns and labels
    ("unlabelled.csv", "", "pass the name of one, --label NAME. Its columns are, by its first line, 'x', 'z'"),
    ("numbers.csv", "--label klass", "label must be a column of"),
    ("numbers.csv", "--text review", "text must be a column of"),
    ("numbers.csv", "--id key", "id_column must be a column of"),
    ("numbers.csv", "--features emb_*", "got 'emb_*', which matches none; its columns are"),
    ("numbers.csv", "--drop nothing", "got 'nothing', which matches none"),
    ("numbers.csv", "--features x0 --logits x1", "pass either features or logits, not both"),
    ("numbers.csv", "--features {}/short.npy", "149"),
    ("numbers.csv", "--features {}/missing.npy", "missing.npy"),
    ("numbers.csv", "--logits x0,x1", "must have one column for each of the 3 classes (cat, dog, owl), got 2"),
    ("numbers.csv", "--split test", "has no column split, got split 'test'"),
    ("numbers.csv", "--kind probabilities", "pass their names, --logits"),
    ("numbers.csv", "--kind sounds", "invalid choice: 'sounds'"),
    ("photos", "--kind texts", "kind must be images for"),
    ("photos", "--label breed", "has no use for label"),
    ("prices.csv", "", "RRMRegressor"),
    ("one_class.csv", "", "one"),
    ("no_labels.csv", "", "has no labels"),
    ("repeated.csv", "--id document", "must differ from sample to sample, got '0' 2 times; pass another column, --id"),
    # Settings
    ("numbers.csv", "--contamination 1", "contamination must be 'auto' or a number in [0, 1), got 1.0"),
    ("numbers.csv", "--contamination -0.1", "contamination must be"),
    ("numbers.csv", "--contamination nan", "contamination must be"),
    ("numbers.csv", "--contamination 5%", "contamination must be 'auto' or a number in [0, 1), got '5%'"),
    ("numbers.csv", "--epochs 2", "epochs must be at least 3"),
    ("numbers.csv", "--epochs 0", "must be an integer of at least 1, got '0'; see --help"),
    ("numbers.csv", "--seed -1", "seed must be an integer from 0 to 4294967295, got -1"),
    ("numbers.csv", "--seed 4294967296", "seed must be"),
    ("numbers.csv", "--limit 0", "must be an integer of at least 1"),
    ("numbers.csv", "--threads 2000", "must be an integer from 1 to 1024"),
    # Models
    ("numbers.csv", "--model {}/models.py", "model must be file.py:name or module:name, got"),
    ("numbers.csv", "--model {}/none.py:x", "none.py isn't an existing file"),
    ("numbers.csv", "--model {}/syntax.py:x", "can't be executed: SyntaxError"),
    ("numbers.csv", "--model {}/exits.py:x", "can't be executed: SystemExit"),
    ("numbers.csv", "--model {}/models.py:x", "models.py has no 'x'"),
    ("numbers.csv", "--model no_such_module:x", "there is no module 'no_such_module' to import"),
    ("numbers.csv", "--model .relative:x", "module '.relative' can't be imported: TypeError"),
    ("numbers.csv", "--model {}/models.py:number", "must be a function or a class, got int"),
    ("numbers.csv", "--model {}/models.py:broken", "broken() can't be called: KeyError: 'no such thing'"),
    ("numbers.csv", "--model {}/models.py:without_probabilities", "LinearSVC has no predict_proba; wrap it in"),
    ("numbers.csv", "--model {}/models.py:without_weights", "KNeighborsClassifier has no argument sample_weight"),
    ("texts.csv", "--model {}/models.py:pipeline_without_weights", "must take sample weights"),
    ("numbers.csv", "--model {}/models.py:NoEstimator", "NoEstimator has no get_params"),
    ("photos", "--model {}/models.py:text", "that returns a torch.nn.Module, for images, got str"),
    ("photos", "--model {}/models.py:broken", "broken(3) can't be called: KeyError"),
    ("photos", "--model {}/models.py:one_class_too_few", "of shape (2, 3), a column for each class, got (2, 2)"),
    ("photos", "--model {}/models.py:other_size", "must map images of shape (2, 3, 32, 32) to logits: RuntimeError"),
    ("photos", "--model {}/models.py:Pair", "got tuple"),
    ("photos", "--model {}/models.py:Constant", "must have parameters to train, got none"),
    ("logits.csv", "--logits p_* --model {}/models.py:text", "pass either logits or a model, not both"),
    # Corrections
    ("numbers.csv", "--corrections {}/missing.csv", "missing.csv"),
    ("numbers.csv", "--corrections {}/not_corrections.csv", "has no columns id, decision and label"),
    ("numbers.csv", "--corrections {}/unknown_id.csv", "no sample has the id '1000'"),
    ("numbers.csv", "--corrections {}/unknown_label.csv", "'1' gets the label 'cow', which no sample has"),
    ("numbers.csv", "--corrections {0}/conflict_a.csv {0}/conflict_b.csv", "relabel 'owl', but relabel 'cat' in"),
    ("numbers.csv", "--corrections {}/other_decision.csv", "must be keep, relabel, drop or unsure, got 'maybe'"),
    ("numbers.csv", "--corrections {}/drop_others.csv", "got 1 once samples that can't be used and those dropped by"),
    # Exports
    ("numbers.csv", "--export argilla", "the export argilla is for texts, got table; choose another, --export"),
    ("texts.csv", "--export cleanlab fiftyone", "the export fiftyone is for images, got texts"),
    ("texts.csv", "--export excel", "invalid choice: 'excel'"),
]


@pytest.mark.parametrize(("source", "options", "message"), WRONG, ids=[f"{case[0]} {case[1]}" for case in WRONG])
def test_wrong_input_is_one_line(sources, tmp_path, capsys, source, options, message):
    out = tmp_path / "out"
    try:
        code = main(["find", str(sources / source), *options.format(sources).split(), "--out", str(out)])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert " find: error: " in printed.err
    assert printed.out == ""
    assert code == 2
    assert not out.exists()


def test_no_traceback(sources, tmp_path):
    arguments = ["numbers.csv", "--model", "models.py:without_probabilities"]
    command = [sys.executable, "-W", "error", "-m", "rrm_torch", "find", *arguments, "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=sources)
    assert result.returncode == 2
    assert result.stderr.startswith("python -m rrm_torch find: error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_out_must_have_a_name(sources, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["find", str(sources / "numbers.csv"), "--out", " "])
    assert raised.value.code == 2
    assert "argument --out: must be a folder, got an empty name" in capsys.readouterr().err


def test_out_is_not_the_folder_of_the_data(sources, capsys):
    before = sorted(sources.rglob("*"))
    assert main(["find", str(sources / "photos"), "--out", str(sources / "photos" / ".")]) == 2
    assert "holds the data; choose another folder for the page and the lists, --out" in capsys.readouterr().err
    assert sorted(sources.rglob("*")) == before


def test_an_empty_id_is_refused(tmp_path, capsys):
    rows = [f"{'' if index == 7 else index},{index % 7 / 2},{index % 2}" for index in range(20)]
    (tmp_path / "gaps.csv").write_text("\n".join(["key,x,label", *rows, ""]))
    assert main(["find", str(tmp_path / "gaps.csv"), "--id", "key", "--out", str(tmp_path / "out")]) == 2
    assert "must not be empty, got none for sample 7 of those used" in capsys.readouterr().err


@pytest.mark.parametrize("inside", [False, True], ids=["a file", "in a file"])
def test_out_must_be_a_folder(sources, tmp_path, capsys, inside):
    file = tmp_path / "file"
    file.write_text("kept")
    out = file / "out" if inside else file
    assert main(["find", str(sources / "numbers.csv"), "--out", str(out)]) == 2
    assert f"folder '{out}' can't be written: " in capsys.readouterr().err
    assert file.read_text() == "kept"


def test_out_must_be_writable(sources, tmp_path, capsys, monkeypatch):
    def deny(dir):
        raise PermissionError(13, "Permission denied")

    # Root may write to any folder.
    monkeypatch.setattr("tempfile.TemporaryFile", deny)
    assert main(["find", str(sources / "numbers.csv"), "--out", str(tmp_path)]) == 2
    assert "can't be written: Permission denied; choose another, --out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["issues.csv", "duplicates.csv", "left_out.csv"])
def test_the_data_are_never_replaced(sources, tmp_path, capsys, name):
    data = tmp_path / name
    content = (sources / "numbers.csv").read_bytes()
    data.write_bytes(content)
    assert main(["find", str(data), "--out", str(tmp_path)]) == 2
    assert f"{data} would be replaced by a file of the search; choose another folder, --out" in capsys.readouterr().err
    assert main(["find", str(sources / "numbers.csv"), "--corrections", str(data), "--out", str(tmp_path)]) == 2
    assert data.read_bytes() == content
    assert list(tmp_path.iterdir()) == [data]


def test_a_failed_search_is_one_line(tmp_path, capsys):
    planted_errors.write_images(tmp_path / "few", 12, 0)
    arguments = ["find", str(tmp_path / "few"), "--contamination", "0.01", "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "it would prune less than one; give at least 0.0833" in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())
