from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import rrm_core
import rrm_review
from rrm_review import draw_samples, quotas

GROUPS = np.array([0] * 20 + [1] * 3 + [2] * 50)
LARGEST_CONTAMINATION = float(np.nextafter(1, 0))


def judge(path, answers):
    """Write answers into the rows of a file, in their order; no answer leaves a row as it is."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for row, answer in zip(rows, answers, strict=True):
        row[header.index("is_wrong")] = answer
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write(path, *rows):
    path.write_text("\n".join(["group,index,is_wrong", *rows, ""]))
    return path


# Drawing


def test_ten_of_each_group_are_drawn_and_all_of_a_smaller_one(tmp_path):
    samples = draw_samples(GROUPS, path=tmp_path / "s.csv")
    assert list(samples) == ["group", "index", "is_wrong"]
    assert samples["group"].tolist() == [0] * 10 + [1] * 3 + [2] * 10
    assert len(np.unique(samples["index"])) == 23
    np.testing.assert_array_equal(GROUPS[samples["index"]], samples["group"])
    assert samples["index"].dtype == samples["group"].dtype == np.int64


def test_every_position_in_a_group_is_drawn_equally_often(tmp_path):
    samples = draw_samples(np.repeat(np.arange(500), 5), 2, path=tmp_path / "s.csv")
    counts = np.bincount(samples["index"] % 5)
    # 200 are expected, with a standard deviation of 11.
    assert counts.sum() == 1000
    assert counts.min() > 155
    assert counts.max() < 245


def test_file_as_it_is_written(tmp_path):
    labels = ["cat", "dog", "cat"]
    texts = np.array(["=1+1", "two\nlines", "b, c"])
    scores = [0.5, 1.0, 0.25]
    samples = draw_samples(
        ["web", "lab", "web"],
        path=tmp_path / "s.csv",
        labels=labels,
        ids=[Path("a/1.png"), Path("2.png"), Path("3.png")],
        columns={"text": texts, "score": scores},
    )
    assert (tmp_path / "s.csv").read_text() == (
        "group,group_name,index,id,given_label,text,score,is_wrong\n"
        '0,lab,1,2.png,dog,"two\nlines",1,""\n'
        '1,web,0,a/1.png,cat,\'=1+1,0.5,""\n'
        '1,web,2,3.png,cat,"b, c",0.25,""\n'
    )
    assert samples["text"].tolist() == ["two\nlines", "=1+1", "b, c"]
    assert samples["is_wrong"].tolist() == ["", "", ""]


def test_longest_text_of_a_cell_is_read_back(tmp_path):
    path = tmp_path / "s.csv"
    draw_samples([0], path=path, columns={"text": ['"' * 32_767]})
    judge(path, ["0"])
    assert quotas(path).tolist() == [0]


def test_answers_can_be_assigned_to_the_table(tmp_path):
    samples = draw_samples([0, 0], path=tmp_path / "s.csv")
    samples["is_wrong"][1] = "wrong"
    assert samples["is_wrong"].tolist() == ["", "wrong"]


def test_integer_labels_are_written(tmp_path):
    draw_samples([0, 0], path=tmp_path / "s.csv", labels=np.array([7, 8]), ids=[100, 200])
    assert (tmp_path / "s.csv").read_text().splitlines()[1:] == ['0,0,100,7,""', '0,1,200,8,""']


def test_same_seed_draws_the_same_samples_and_another_seed_others(tmp_path):
    first = draw_samples(GROUPS, path=tmp_path / "s.csv", seed=3)
    again = draw_samples(GROUPS, path=tmp_path / "s.csv", seed=3)
    other = draw_samples(GROUPS, path=tmp_path / "s.csv", seed=4)
    np.testing.assert_array_equal(first["index"], again["index"])
    assert not np.array_equal(first["index"], other["index"])


@pytest.mark.parametrize("as_names", [np.asarray, lambda groups: np.array(["b", "c", "d"])[groups]])
def test_other_groups_do_not_change_the_samples_of_a_group(as_names, tmp_path):
    with_others = draw_samples(as_names(GROUPS), path=tmp_path / "s.csv")
    alone = draw_samples(as_names(GROUPS[:23]), path=tmp_path / "s.csv")
    np.testing.assert_array_equal(with_others["index"][:13], alone["index"])
    if as_names is not np.asarray:
        # The numbers of the groups change, their names don't.
        later = draw_samples(np.append(as_names(GROUPS), "a"), path=tmp_path / "s.csv")
        np.testing.assert_array_equal(later["group"][1:], with_others["group"] + 1)
        np.testing.assert_array_equal(later["index"][1:], with_others["index"])


def test_groups_of_one_size_draw_different_positions(tmp_path):
    index = draw_samples(np.repeat([0, 1], 1000), path=tmp_path / "s.csv")["index"]
    assert set(index[:10]) != set(index[10:] - 1000)


def test_numbers_of_named_groups_are_those_of_unique(tmp_path):
    names = np.random.default_rng(0).choice(["zoe", "Bob", "änne", "10", "9"], 100)
    samples = draw_samples(names, path=tmp_path / "s.csv")
    expected, numbers = np.unique(names, return_inverse=True)
    np.testing.assert_array_equal(samples["group"], numbers[samples["index"]])
    np.testing.assert_array_equal(samples["group_name"], expected[samples["group"]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groups": [0, 1, 3]}, ValueError, "without gaps, got 3 in place of 2; names, groups = np.unique"),
        ({"groups": [-1, 0]}, ValueError, "without gaps, got -1 in place of 0"),
        ({"groups": []}, ValueError, r"groups must have shape \(n,\), one for each sample, got \(0,\)"),
        ({"groups": [[0], [1]]}, ValueError, r"groups must have shape \(n,\), one for each sample, got \(2, 1\)"),
        ({"groups": [0.0, 1.0]}, TypeError, "groups must be all integers or all strings, got float"),
        ({"groups": np.array([True, False])}, TypeError, "groups must be integers or strings, got bool"),
        ({"per_group": 0}, ValueError, "per_group must be a whole number, at least 1, got 0"),
        ({"per_group": 2.5}, ValueError, "per_group must be a whole number, at least 1, got 2.5"),
        ({"seed": -1}, ValueError, "seed must be a whole number, at least 0, got -1"),
        ({"labels": ["cat"]}, ValueError, r"labels must have shape \(3,\), one per sample, got \(1,\)"),
        ({"ids": [0.5, 1.5, 2.5]}, TypeError, "ids must be all integers or all strings, got float"),
        ({"columns": {"text": ["a"]}}, ValueError, r"columns\['text'\] must have shape \(3,\)"),
        ({"columns": {"score": [0.5]}}, ValueError, r"columns\['score'\] must have shape \(3,\)"),
        ({"columns": {"text": ["a", None, "b"]}}, TypeError, r"columns\['text'\] must be .*, got NoneType"),
        (
            {"columns": {"text": ["a", "b" * 32_768, "c"]}},
            ValueError,
            r"column 'text' must have strings of at most 32,767 characters, .*, got one of 32,768; shorten it",
        ),
        ({"columns": {"index": [1, 2, 3]}}, ValueError, "columns must have names other than .*, got 'index'"),
        ({"columns": {"is_wrong": [1, 2, 3]}}, ValueError, "columns must have names other than .*, got 'is_wrong'"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_written(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        draw_samples(**({"groups": [0, 0, 1], "path": tmp_path / "s.csv"} | arguments))
    assert list(tmp_path.iterdir()) == []


# A file that exists


def test_unanswered_file_is_replaced(tmp_path):
    path = tmp_path / "s.csv"
    path.touch()
    draw_samples(GROUPS, 5, path=path)
    draw_samples(GROUPS, 2, path=path, labels=GROUPS)
    assert len(path.read_text().splitlines()) == 7


def test_unanswered_file_with_an_escaped_name_is_replaced(tmp_path):
    path = tmp_path / "s.csv"
    for _ in range(2):
        draw_samples([0, 0], path=path, columns={"=x": [1, 2]})
    assert path.read_text().splitlines() == ["group,index,'=x,is_wrong", '0,0,1,""', '0,1,2,""']


@pytest.mark.parametrize("answer", ["1", "no", "perhaps"])
def test_answered_file_is_not_replaced(answer, tmp_path):
    path = tmp_path / "s.csv"
    draw_samples([0, 0, 0], path=path)
    judge(path, ["", answer, ""])
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"would lose what was filled in \(answers: 1, other columns: none\)"):
        draw_samples([0, 0, 0], path=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("name", "message"), [("remarks", "remarks"), ("", "one without a name")])
def test_file_with_a_column_of_remarks_is_not_replaced(name, message, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(f"group;index;is_wrong;{name}\n0;0;;unclear\n")
    with pytest.raises(FileExistsError, match=f"other columns: {message}"):
        draw_samples([0], path=path)
    assert path.read_text() == f"group;index;is_wrong;{name}\n0;0;;unclear\n"


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PK\x03\x04", b"notes"])
def test_other_file_is_not_replaced(content, tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="exists and isn't a file of samples to judge; name another file"):
        draw_samples([0], path=path)
    assert path.read_bytes() == content


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: there is no folder"):
        draw_samples([0], path=tmp_path / "none" / "s.csv")


# Reading the answers


def test_quotas_are_the_shares_of_wrong_labels(tmp_path):
    path = tmp_path / "s.csv"
    draw_samples(GROUPS, path=path)
    judge(path, ["1"] * 3 + ["0"] * 7 + ["0"] * 3 + ["1"] * 9 + ["0"])
    shares = quotas(path, n_groups=3)
    assert shares.tolist() == [0.3, 0, 0.9]
    assert shares.dtype == np.float64
    np.testing.assert_array_equal(quotas(str(path)), shares)


@pytest.mark.parametrize("answer", ["1", "yes", "Y", "TRUE", "Wrong", "X", " x ", "1.0", "True", '"1"'])
def test_answer_for_a_wrong_label(answer, tmp_path):
    assert quotas(write(tmp_path / "s.csv", f"0,0,{answer}", "0,1,0")).tolist() == [0.5]


@pytest.mark.parametrize("answer", ["0", "no", "N", "FALSE", "Right", "correct", " n ", "0.0", "False"])
def test_answer_for_a_right_label(answer, tmp_path):
    assert quotas(write(tmp_path / "s.csv", f"0,0,{answer}", "0,1,1")).tolist() == [0.5]


@pytest.mark.parametrize("answer", ['1""', '""1', '"1"'])
def test_answer_beside_the_quotation_marks_of_an_empty_cell(answer, tmp_path):
    assert quotas(write(tmp_path / "s.csv", f"0,0,{answer}", "0,1,0")).tolist() == [0.5]


@pytest.mark.parametrize("sizes", [(1, 1), (2, 30), (1000, 70_000)])
def test_group_with_wrong_labels_only_keeps_one_sample(sizes, tmp_path):
    shares = quotas(write(tmp_path / "s.csv", "0,0,1", "0,1,1", "1,2,0"))
    assert 0.999999 < shares[0] < 1
    groups = np.repeat([0, 1], sizes)
    losses = np.random.default_rng(0).random(len(groups), np.float32)
    for backend in ("numpy", None):
        weights, _ = rrm_core.reweight(
            losses, groups=groups, contamination=shares, redistribute="kept", backend=backend
        )
        assert np.bincount(groups[weights > 0]).tolist() == [1, sizes[1]]


def test_answers_for_wrong_labels_only_are_refused(tmp_path):
    path = write(tmp_path / "s.csv", "0,0,1", "0,1,", "1,2,x", "1,3,")
    with pytest.raises(ValueError, match="all answers say that the label is wrong, and 2 of 4 samples have none"):
        quotas(path)
    whole = write(tmp_path / "whole.csv", "0,0,1", "0,1,1")
    assert quotas(whole).tolist() == [np.nextafter(1, 0)]


def test_samples_without_an_answer_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "s.csv", "0,0,1", "0,1,", "0,2,0", "1,3,0", '1,4,""', "1,5")
    with pytest.warns(
        UserWarning, match=r"3 of 6 samples in .*s.csv have no answer .*: 1 of group 0, 2 of group 1$"
    ) as caught:
        assert quotas(path).tolist() == [0.5, 0]
    assert caught[0].filename == __file__


def test_group_without_an_answer_is_named(tmp_path):
    path = tmp_path / "s.csv"
    draw_samples(["ann", "bob", "cid"], path=path)
    judge(path, ["0", "", "1"])
    with pytest.raises(ValueError, match=r"s.csv has no answer for group 1 \(bob\); judge .* write 1 \(wrong\) or 0"):
        quotas(path)


@pytest.mark.parametrize(
    ("rows", "n_groups", "named"),
    [
        (["0,0,1", "2,1,0"], None, "group 1"),
        (["0,0,1", "1,1,0"], 4, "group 2, group 3"),
        (["0,0,1", "1000000000000,1,0"], None, "group 1, group 2, group 3, group 4, group 5, ..."),
        ([], None, "group 0"),
    ],
)
def test_group_without_a_row_is_named(rows, n_groups, named, tmp_path):
    with pytest.raises(ValueError, match=f"has no answer for {re.escape(named)}; judge"):
        quotas(write(tmp_path / "s.csv", *rows), n_groups=n_groups)


@pytest.mark.parametrize("answer", ["maybe", "2", "-1", "ja", "0.5", "yes!"])
def test_unknown_answer_is_named_with_its_row(answer, tmp_path):
    path = write(tmp_path / "s.csv", "0,0,1", f"0,1,{answer}")
    message = rf"s.csv, row 3: is_wrong must be 1 \(.*\) .* or 0 \(.*\) .*, got '{answer}'; leave it empty"
    with pytest.raises(ValueError, match=message):
        quotas(path)


def test_rows_are_counted_as_in_a_spreadsheet(tmp_path):
    path = tmp_path / "s.csv"
    draw_samples([0, 0], path=path, columns={"text": ["two\nlines", "three\n\nlines"]})
    judge(path, ["0", "?"])
    with pytest.raises(ValueError, match=r"row 3: .*, got '\?'"):
        quotas(path)


@pytest.mark.parametrize("group", ["", "a", "-1", "1.5", "²", "１"])
def test_row_without_a_group_number_is_named(group, tmp_path):
    path = write(tmp_path / "s.csv", "0,0,1", f"{group},1,0")
    with pytest.raises(ValueError, match=f"row 3: group must be the number .*, got '{group}'; restore it, or delete"):
        quotas(path)


@pytest.mark.parametrize(
    ("n_groups", "message"),
    [
        (1, "row 3: group must be below n_groups=1, got 1; leave n_groups out"),
        (0, "n_groups must be a whole number, at least 1, or None, got 0"),
        (2.5, "n_groups must be a whole number, at least 1, or None, got 2.5"),
    ],
)
def test_wrong_number_of_groups_is_refused(n_groups, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        quotas(write(tmp_path / "s.csv", "0,0,1", "1,1,0"), n_groups=n_groups)


# Files as spreadsheets save them


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_file_saved_by_a_spreadsheet(delimiter, encoding, line_end, tmp_path):
    rows = [
        ["group", "group_name", "index", "text", "is_wrong", ""],
        ["1", "Jörg", "5", "a, b; c\td", "WRONG", ""],
        ["0", "Änne", "3", 'two\nlines, "quoted"', "0", ""],
        ["0", "Änne", "4", "", "x", "a remark"],
        ["", "", "", "", "", "", ""],
    ]
    with (tmp_path / "s.csv").open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    assert quotas(tmp_path / "s.csv").tolist() == [0.5, LARGEST_CONTAMINATION]


def test_columns_may_be_moved_removed_and_added(tmp_path):
    (tmp_path / "s.csv").write_text("remarks,is_wrong,group\nunclear,,0\n,1,0\n,0,0\n")
    with pytest.warns(UserWarning, match="1 of 3 samples"):
        assert quotas(tmp_path / "s.csv").tolist() == [0.5]


def test_file_saved_by_pandas(tmp_path):
    import pandas as pd

    path = tmp_path / "s.csv"
    draw_samples(["b", "a", "a", "b"], path=path)
    frame = pd.read_csv(path)
    frame["is_wrong"] = [1.0, 0.0, np.nan, 0.0]
    frame.to_csv(path, index=False)
    with pytest.warns(UserWarning, match=r"1 of group 1 \(b\)"):
        assert quotas(path).tolist() == [0.5, 0]


def test_table_with_answers_is_read(tmp_path):
    path = tmp_path / "s.csv"
    samples = draw_samples(GROUPS, path=path)
    samples["is_wrong"] = samples["group"] == 2
    rrm_review.to_csv(samples, path)
    assert quotas(path).tolist() == [0, 0, LARGEST_CONTAMINATION]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\x00", "is not a CSV file but a workbook or an archive; save it as CSV"),
        (b"", "has no columns group and is_wrong, its first line is ''; save the file"),
        (b"a,b\n1,2\n", "has no columns group and is_wrong, its first line is 'a,b'; save the file"),
        (b"index,is_wrong\n0,1\n", "has no columns group and is_wrong, its first line is 'index,is_wrong'"),
        (b"group,index\n0,1\n", "has no columns group and is_wrong, its first line is 'group,index'"),
        (b"group,text,is_wrong\n0,a, b,1\n", "row 2 has 4 cells, the header 3; quote cells that contain the separator"),
        (b"group,text,is_wrong\n0," + b"x" * 200_000 + b",1\n", "line 2: field larger than field limit"),
    ],
)
def test_file_that_is_none_of_samples_is_refused(content, message, tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        quotas(path)


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        quotas(tmp_path / "none.csv")
