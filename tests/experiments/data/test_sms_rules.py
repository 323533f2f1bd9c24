"""Messages have their true label, that of the rules, and the number of rules that fired."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from experiments.data.sms_rules import read_sms_rules

SHARED = Path(__file__).parents[4] / "shared" / "data"
HEAD = "split\tlabel\trule_label\tn_rules_fired\ttext"
ROWS = [
    "train\tspam\tspam\t1\twin a prize",
    "valid\tham\tham\t2\tsee you",
    "train\tspam\t\t0\tcall now",
    'train\tspam\tham\t4\t"a ""quote"""',
    "test\tham\t\t0\tNA",
]


def save(path, *rows):
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([HEAD, *rows]) + "\n")
    return path


def test_splits_keep_labels_with_texts(tmp_path):
    parts = read_sms_rules(save(tmp_path / "sms.tsv.xz", *ROWS))
    train = parts["train"]
    assert train.texts == ["win a prize", "call now", 'a "quote"']
    assert train.labels.tolist() == [1, 1, 1]
    assert train.rule_labels.tolist() == [1, -1, 0]
    assert train.n_fired.tolist() == [1, 0, 4]
    assert parts["valid"].rule_labels.tolist() == [0]
    assert parts["test"].texts == ["NA"]


def test_labelled_leaves_out_texts_without_a_rule(tmp_path):
    train = read_sms_rules(save(tmp_path / "sms.tsv.xz", *ROWS))["train"].labelled()
    assert train.texts == ["win a prize", 'a "quote"']
    assert train.labels.tolist() == [1, 1]
    assert train.rule_labels.tolist() == [1, 0]
    assert train.n_fired.tolist() == [1, 4]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train\tjunk\tham\t1\tx", "label in .* must be one of 'ham', 'spam', got 'junk'"),
        ("train\tham\tjunk\t1\tx", "rule_label in .* must be one of '', 'ham', 'spam', got 'junk'"),
        ("dev\tham\tham\t1\tx", "split in .* must be one of 'train', 'valid', 'test', got 'dev'"),
        ("train\tham\tham\t-1\tx", "n_rules_fired in .* must be integers of at least 0, got '-1'"),
        ("train\tham\t\t2\tx", "must be empty exactly where n_rules_fired is 0, got '' for 2 rules"),
        ("train\tham\tham\t0\tx", "must be empty exactly where n_rules_fired is 0, got 'ham' for 0 rules"),
        ("train\tham\tham\tx", "must have 5 columns, got 4 in row 6"),
    ],
)
def test_other_rows_are_rejected(row, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_sms_rules(save(tmp_path / "sms.tsv.xz", *ROWS, row))


def test_missing_split_is_named(tmp_path):
    with pytest.raises(ValueError, match="must have rows of the splits train, valid, test, lacks test"):
        read_sms_rules(save(tmp_path / "sms.tsv.xz", *ROWS[:-1]))


def test_real_messages():
    path = SHARED / "sms_rules.tsv.xz"
    if not path.is_file():
        pytest.skip(f"needs the real data in {SHARED}")
    parts = read_sms_rules(path)
    train = parts["train"].labelled()
    assert [len(part.texts) for part in parts.values()] == [4502, 500, 500]
    assert len(train.texts) == 1783
    assert (train.labels != train.rule_labels).sum() == 55
