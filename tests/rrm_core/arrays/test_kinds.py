"""Arrays outside the array API: pandas, pyarrow, Python's own, and any object with a protocol of arrays."""

from __future__ import annotations

import array
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import rrm_core
from rrm_core.arrays import kinds
from support.array_kinds import GROUPS, RULE, N, assert_parts_and_groups_are_read, assert_result_is_in_kind
from support.families import assert_same_bits, losses, old_weights

C = losses("exponential", N, "float32")
W = old_weights(N, "float32")
INDEX = pd.Index([f"image {i}" for i in range(N)], name="file")


def address(values):
    return values.__array_interface__["data"][0]


# pandas


def series(values):
    return pd.Series(values, index=pd.RangeIndex(1, len(values) + 1), name="loss")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_series_gives_a_series(dtype):
    assert_result_is_in_kind(series, pd.Series.to_numpy, dtype)


def test_series_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(lambda values: pd.Series(values), pd.Series.to_numpy)


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("Float32", "Float32"),
        ("Float64", "Float64"),
        ("halffloat[pyarrow]", "float[pyarrow]"),
        ("float[pyarrow]", "float[pyarrow]"),
        ("double[pyarrow]", "double[pyarrow]"),
    ],
)
def test_weights_have_index_name_and_extension_type_of_the_series(given, returned):
    c = pd.Series(C, index=INDEX, name="loss").astype(given)
    weights, plan = rrm_core.reweight(c, **RULE)
    assert isinstance(weights, pd.Series)
    assert weights.dtype == returned
    assert weights.index is INDEX or weights.index.equals(INDEX)
    assert weights.name == "loss"
    expected, expected_plan = rrm_core.reweight(c.to_numpy(), **RULE)
    assert plan == expected_plan
    assert_same_bits(weights.to_numpy(), expected)
    # The array of a Series, without its index.
    if given != "float16" and given not in ("float32", "float64"):
        in_array, _ = rrm_core.reweight(c.array, **RULE)
        assert in_array.dtype == returned
        assert_same_bits(in_array.to_numpy(), expected)


def test_series_is_read_and_returned_without_a_copy(monkeypatch):
    seen = []
    rebuild = kinds.KINDS["pandas", "Series"].rebuild

    def spy(weights, like):
        result = rebuild(weights, like)
        seen.append((address(weights), address(result.to_numpy())))
        return result

    monkeypatch.setitem(
        kinds.KINDS, ("pandas", "Series"), kinds.HostKind("pandas Series", kinds.series.read_pandas, spy)
    )
    kinds._listed_kind.cache_clear()
    try:
        c = pd.Series(C)
        assert address(kinds.as_array("losses", c)) == address(c.to_numpy())
        rrm_core.reweight(c, **RULE)
    finally:
        kinds._listed_kind.cache_clear()
    ((written, returned),) = seen
    assert written == returned


def test_other_arrays_go_by_position_with_a_series():
    c = pd.Series(C, index=INDEX)
    expected, _ = rrm_core.reweight(C, W, mu=0.3, **RULE)
    for old in (W, W.tolist(), W.astype(np.float64), pd.Series(W, index=INDEX), pa.array(W), memoryview(W)):
        weights, _ = rrm_core.reweight(c, old, mu=0.3, **RULE)
        assert weights.index.equals(INDEX)
        assert_same_bits(weights.to_numpy(), expected)
    for given in (C, C.tolist(), memoryview(C)):
        rrm_core.reweight(given, pd.Series(W.astype(np.float64)), mu=0.3, **RULE)
    out = np.empty_like(W)
    assert rrm_core.reweight(c, pd.Series(W, index=INDEX), mu=0.3, out=out, **RULE)[0] is out
    assert_same_bits(out, expected)


@pytest.mark.parametrize(
    ("index", "difference"),
    [
        (INDEX[::-1], "different indexes, the first at position 0: 'image 0' and 'image 59'"),
        (
            INDEX.where(np.arange(N) != 41, "another"),
            "different indexes, the first at position 41: 'image 41' and 'another'",
        ),
        (pd.RangeIndex(N), "different indexes, the first at position 0: 'image 0' and 0"),
        (INDEX.where(np.arange(N) != 59, np.nan), "different indexes, the first at position 59: 'image 59' and nan"),
    ],
)
def test_series_with_different_indexes_are_refused(index, difference):
    c = pd.Series(C, index=INDEX)
    w = pd.Series(W, index=index)
    g = pd.Series(GROUPS, index=index)
    plan = rrm_core.plan(c, **RULE)
    planner = rrm_core.Planner(contamination=0.2, n_groups=3)
    remedy = "they are not aligned by labels: pass both in one order and with the same labels, or "
    for name, call in (
        ("weights", lambda: rrm_core.reweight(c, w, mu=0.3, **RULE)),
        ("weights", lambda: rrm_core.apply(plan, c, w, mu=0.3)),
        ("groups", lambda: rrm_core.reweight(c, groups=g, **RULE)),
        ("groups", lambda: rrm_core.plan(c, groups=g, **RULE)),
        ("groups", lambda: planner.update(c, groups=g)),
    ):
        with pytest.raises(ValueError, match=re.escape(f"losses and {name} have {difference}; {remedy}{name}.to_")):
            call()
    assert planner.n == 0
    labels = pd.Series(GROUPS, index=INDEX)
    is_held_out = pd.Series(GROUPS == 0, index=index)
    with pytest.raises(ValueError, match=re.escape(f"labels and held_out have {difference}; {remedy}")):
        rrm_core.estimate_contamination(labels, labels, pd.Series(C, index=INDEX), is_held_out)


def test_equal_indexes_with_missing_labels_agree():
    c = pd.Series(C, index=INDEX.where(np.arange(N) != 3))
    rrm_core.reweight(c, pd.Series(W, index=c.index.copy()), mu=0.3, **RULE)


def test_categories_that_are_numbers():
    groups = pd.Series(GROUPS, index=INDEX).astype("category")
    assert rrm_core.Groups(groups).numbers.tolist() == GROUPS.tolist()
    held_out = GROUPS == 0
    expected = rrm_core.estimate_contamination(GROUPS, GROUPS, C, held_out)
    assert rrm_core.estimate_contamination(groups, groups, C, held_out).contamination == expected.contamination
    weights, plan = rrm_core.reweight(pd.Series(C, index=INDEX).astype("category"), **RULE)
    assert plan == rrm_core.plan(C, **RULE)
    assert weights.dtype == np.float32
    with pytest.raises(ValueError, match="groups has 2 missing values among 60"):
        rrm_core.Groups(groups.where(groups.index.isin(INDEX[2:])))


def test_labels_that_are_text_are_refused_with_a_remedy():
    for dtype in ("string", "category", object):
        labels = pd.Series(["cat", "dog"] * (N // 2)).astype(dtype)
        with pytest.raises(TypeError, match=r"^labels must be (numbers|integers), got .*number the (values|classes)"):
            rrm_core.estimate_contamination(labels, GROUPS, C, GROUPS == 0)


# pyarrow


def arrow_to_numpy(array):
    return array.to_numpy(zero_copy_only=False) if isinstance(array, pa.Array) else array.to_numpy()


def chunked(values):
    return pa.chunked_array([pa.array(values[:11]), pa.array(values[11:11]), pa.array(values[11:])])


def sliced(values):
    """Return an Array that begins within its buffers."""
    return pa.array(np.concatenate([values[:3], values]))[3:]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("make", [pa.array, sliced, chunked])
def test_arrow_arrays_give_arrow_arrays(make, dtype):
    c = losses("few distinct", N, dtype)
    w = old_weights(N, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, **RULE)
    for backend in (None, "numpy", "array_api"):
        weights, plan = rrm_core.reweight(make(c), make(w), mu=0.3, backend=backend, **RULE)
        assert plan == expected_plan
        assert type(weights) is type(make(w))
        assert weights.type == make(w).type
        assert_same_bits(arrow_to_numpy(weights), expected)
    if dtype != "float16":
        # Arrays of other types have other classes.
        assert_result_is_in_kind(make, arrow_to_numpy, dtype)


@pytest.mark.parametrize("make", [pa.array, lambda values: pa.chunked_array([pa.array(values)])])
def test_arrow_arrays_in_parts_groups_and_estimates(make):
    assert_parts_and_groups_are_read(make, arrow_to_numpy)


def test_chunks_of_the_weights_are_those_of_the_losses():
    weights, _ = rrm_core.reweight(chunked(C), **RULE)
    assert [len(chunk) for chunk in weights.chunks] == [11, 0, N - 11]
    with pytest.raises(ValueError, match="losses is empty"):
        rrm_core.plan(pa.chunked_array([], pa.float32()), **RULE)


def test_arrow_arrays_are_read_in_place_and_packed_bools_from_any_offset():
    c = pa.array(C)
    assert address(kinds.as_array("losses", c[5:])) == c.buffers()[1].address + 5 * 4
    mask = np.arange(37) % 3 == 0
    for start in (0, 1, 8, 13):
        assert kinds.as_array("held_out", pa.array(mask)[start:]).tolist() == mask[start:].tolist()


# Missing values and other types


@pytest.mark.parametrize(
    ("c", "remedy"),
    [
        (pd.Series([0.5, None, 2.0, None], dtype="Float64"), "pass losses.astype('float64'),"),
        (pd.Series([0.5, None, 2.0, None], dtype="Float32").array, "pass losses.astype('float64'),"),
        (pd.Series([0.5, None, 2.0, None], dtype="float[pyarrow]"), "pass losses.astype('float64'),"),
        (pa.array([0.5, None, 2.0, None]), "pass losses.fill_null(float('nan')),"),
        (pa.chunked_array([[0.5, None], [2.0, None]]), "pass losses.fill_null(float('nan')),"),
    ],
    ids=["Float64", "pandas array", "Arrow in pandas", "pyarrow Array", "pyarrow ChunkedArray"],
)
def test_missing_values_are_refused_with_their_number_and_a_remedy(c, remedy):
    message = f"losses has 2 missing values among 4; leave these samples out, or {remedy}"
    with pytest.raises(ValueError, match=re.escape(message)):
        rrm_core.plan(c, gamma=1.0)
    filled = eval(remedy.removeprefix("pass ").removesuffix(","), {"losses": c})
    assert rrm_core.plan(filled, gamma=1.0, nan="prune").n_nan == 2


NUMBER = "pass one real number per sample"
TYPES = [
    (pd.Series(["a", "b"], dtype="string"), f"got string; {NUMBER}"),
    (pd.Series(["a", "b"], dtype="category"), f"got category; {NUMBER}"),
    (pd.Series(["2024-01-01"], dtype="datetime64[ns]"), f"got datetime64[ns]; {NUMBER}"),
    (pd.Series(["2024-01-01"], dtype="datetime64[ns, UTC]"), f"got datetime64[ns, UTC]; {NUMBER}"),
    (pd.Series([1, 2]), "got int64; convert them to float32"),
    (pd.Series([1, 2], dtype="Int64"), "got int64; convert them to float32"),
    (pd.Series([1.0, 2.0], dtype=object), "got object; convert them to float32"),
    (pd.Series([1j, 2.0]), "got complex128; pass one real number per sample, such as their absolute values"),
    (pa.array(["a", "b"]), f"got string; {NUMBER}"),
    (pa.array([1, 2]), "got int64; convert them to float32"),
    (pa.array([None, None]), f"got null; {NUMBER}"),
    (array.array("i", [1, 2]), "got int32; convert them to float32"),
    (memoryview(b"ab"), "got uint8; convert them to float32"),
]


@pytest.mark.parametrize(("c", "message"), TYPES, ids=[message for _, message in TYPES])
def test_other_types_are_refused(c, message):
    for call in (
        lambda: rrm_core.plan(c, gamma=1.0),
        lambda: rrm_core.Planner(gamma=1.0).update(c),
        lambda: rrm_core.reweight(np.ones(2, np.float32), c, mu=0.5, gamma=1.0),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert re.match(r"^(losses|weights) must be float16, bfloat16, float32 or float64, ", str(caught.value))
        assert message in str(caught.value)


def test_groups_of_other_types_are_refused():
    for groups, found in (
        (pd.Series(["a", "b"], dtype="string"), "string"),
        (pa.array(["a", "b"]), "string"),
        (pd.Series([0.5]), "float64"),
    ):
        with pytest.raises(TypeError, match=f"groups must be integers, got {found}; number the groups 0, 1, 2"):
            rrm_core.Groups(groups)
    with pytest.raises(ValueError, match="groups has 1 missing values among 2"):
        rrm_core.Groups(pd.Series([0, None], dtype="Int64"))
    assert rrm_core.Groups(pd.Series([0, 1], dtype="Int64")).n_groups == 2


REFUSED = [
    (pd.DataFrame({"loss": C}), "losses is a table, got DataFrame; pass one column, such as losses['loss']"),
    (pa.table({"loss": C}), "losses is a table, got Table; pass one column, such as losses['loss']"),
    (pa.record_batch({"loss": C}), "losses is a table, got RecordBatch; pass one column, such as losses['loss']"),
    (
        pd.Series(pd.arrays.SparseArray([0.0, 1.0])),
        "losses is a sparse Series, Sparse[float64, nan]; pass losses.sparse",
    ),
]


@pytest.mark.parametrize(("c", "message"), REFUSED, ids=[type(c).__name__ for c, _ in REFUSED])
def test_what_is_not_one_array_is_refused_with_a_remedy(c, message):
    for call in (rrm_core.reweight, rrm_core.plan, rrm_core.stream.plan):
        with pytest.raises(TypeError, match=re.escape(message)):
            call(c, **RULE)


def test_remedies_for_tables_work():
    for table in (pd.DataFrame({"loss": C}), pa.table({"loss": C}), pa.record_batch({"loss": C})):
        assert rrm_core.plan(table["loss"], **RULE) == rrm_core.plan(C, **RULE)


def test_sparse_arrays_of_scipy_are_refused_with_a_remedy():
    from scipy import sparse

    for make in (sparse.csr_array, sparse.coo_matrix):
        c = make(C[None])
        with pytest.raises(TypeError, match=re.escape("losses is a sparse array, got")) as caught:
            rrm_core.plan(c, **RULE)
        remedy = str(caught.value).rpartition("; pass ")[2]
        assert rrm_core.plan(eval(remedy, {"losses": c}), **RULE) == rrm_core.plan(C, **RULE)


# Python's arrays and views


@pytest.mark.parametrize(
    ("make", "to_numpy"),
    [(lambda x: array.array(x.dtype.char, x), np.asarray), (lambda x: memoryview(x.copy()), np.asarray)],
    ids=["array.array", "memoryview"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_python_arrays(make, to_numpy, dtype):
    assert_result_is_in_kind(make, to_numpy, dtype)
    assert_parts_and_groups_are_read(lambda x: memoryview(x), to_numpy)


@pytest.mark.parametrize("make", [lambda x: array.array("f", x), lambda x: memoryview(x.copy())])
def test_python_arrays_as_out(make):
    expected, plan = rrm_core.reweight(C, W, mu=0.3, **RULE)
    out = make(W)
    assert rrm_core.reweight(C, W, mu=0.3, out=out, **RULE)[0] is out
    assert_same_bits(np.asarray(out), expected)
    out = make(W)
    assert rrm_core.apply(plan, make(C), out, mu=0.3, out=out) is out
    assert_same_bits(np.asarray(out), expected)
    c = make(C)
    with pytest.raises(ValueError, match="out overlaps losses in memory"):
        rrm_core.reweight(c, out=c, **RULE)
    with pytest.raises(ValueError, match="out is read-only"):
        rrm_core.reweight(C, out=memoryview(out).toreadonly(), **RULE)
    with pytest.raises(ValueError, match="out must be of native byte order"):
        rrm_core.reweight(C, out=memoryview(W.astype(">f4")), **RULE)
    with pytest.raises(TypeError, match="out must be float32 for float32 losses, got float64"):
        rrm_core.reweight(C, out=array.array("d", C), **RULE)


def test_memoryviews_of_any_layout():
    both = np.stack([C, C], axis=1)
    expected, _ = rrm_core.reweight(C, **RULE)
    for view in (
        memoryview(both),
        memoryview(C)[::1],
        memoryview(np.repeat(C, 2))[::2],
        memoryview(C.astype(">f4")),
    ):
        if view.ndim == 2:
            with pytest.raises(ValueError, match=re.escape(f"losses must be one-dimensional, got shape ({N}, 2)")):
                rrm_core.plan(view, **RULE)
        else:
            assert_same_bits(np.asarray(rrm_core.reweight(view, **RULE)[0]), expected)


# Protocols


class Interface:
    def __init__(self, values):
        self.values = values
        self.__array_interface__ = values.__array_interface__


class Exporter:
    """An array that exports its memory by DLPack; its package does not import any."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **more):
        return self.values.__dlpack__(**more)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class Convertible:
    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


@pytest.mark.parametrize("wrapper", [Interface, Exporter, Convertible])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_protocols_give_numpy_arrays(wrapper, dtype):
    c = losses("few distinct", N, dtype)
    w = old_weights(N, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, **RULE)
    for given, old in ((wrapper(c), wrapper(w)), (wrapper(c), w), (c, wrapper(w))):
        weights, plan = rrm_core.reweight(given, old, mu=0.3, **RULE)
        assert plan == expected_plan
        assert type(weights) is np.ndarray
        assert_same_bits(weights, expected)
    assert address(kinds.as_array("losses", wrapper(c))) == address(c)


def test_scalars_and_matrices_are_refused():
    for values in (np.array(1.0), np.ones((2, 3))):
        for wrapper in (Interface, Exporter, Convertible):
            for call in (rrm_core.reweight, rrm_core.plan, rrm_core.stream.plan):
                with pytest.raises((TypeError, ValueError), match=r"^losses must be one-dimensional, got shape \("):
                    call(wrapper(values), **RULE)
            with pytest.raises(ValueError, match=r"^losses must be one-dimensional, got shape \("):
                rrm_core.Planner(**RULE).update(wrapper(values))


def test_protocols_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(Convertible, np.asarray)


def test_weights_are_imported_by_from_dlpack_of_the_package(monkeypatch):
    package = type(sys)("made_up")
    package.from_dlpack = lambda x: Made(np.from_dlpack(x))
    monkeypatch.setitem(sys.modules, "made_up", package)
    Made = type("Made", (Exporter,), {"__module__": "made_up.arrays"})  # noqa: N806
    weights, _ = rrm_core.reweight(Made(C), Made(W), mu=0.3, **RULE)
    assert type(weights) is Made
    assert_same_bits(weights.values, rrm_core.reweight(C, W, mu=0.3, **RULE)[0])


def test_arrays_that_numpy_cannot_read_are_refused():
    class OnDevice(Exporter):
        def __dlpack_device__(self):
            return 2, 1

    class Unreadable(Exporter):
        def __dlpack__(self, **more):
            raise BufferError("bfloat16 is not supported")

    class Broken(Convertible):
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("closed file")

    class OnCuda:
        __cuda_array_interface__ = None

    for c, message in (
        (
            OnDevice(C),
            "losses is a OnDevice on DLPack's device (2, 1), not in host memory; pass torch.from_dlpack(losses)",
        ),
        (Unreadable(C), "losses is a Unreadable that NumPy can't read by DLPack: bfloat16 is not supported"),
        (Broken(C), "losses is a Broken that NumPy can't read: closed file"),
        (Convertible(np.ma.masked_array(C)), "losses is a masked array, whose mask would be ignored"),
        (OnCuda(), "got OnCuda; pass cupy.asarray(losses) or torch.as_tensor(losses, device='cuda')"),
        (Convertible, "got type"),
    ):
        with pytest.raises(TypeError, match=re.escape(message)):
            rrm_core.plan(c, **RULE)


def test_arrays_without_writable_memory_are_refused_as_out():
    for out, label in (
        (pd.Series(W), "pandas Series"),
        (pa.array(W), "pyarrow Array"),
        (chunked(W), "pyarrow ChunkedArray"),
        (Convertible(W), "array with __array__"),
        (Exporter(W), "array with __dlpack__"),
    ):
        message = f"out can't be a {label}, which is not written in place; leave it out to get a new one"
        with pytest.raises(TypeError, match=re.escape(message)):
            rrm_core.reweight(C, out=out, **RULE)
    values = W.copy()
    out = Interface(values)
    assert rrm_core.reweight(C, out=out, **RULE)[0] is out
    assert_same_bits(values, rrm_core.reweight(C, **RULE)[0])


# Frameworks can't be mixed


def test_torch_and_a_series_are_not_mixed():
    with pytest.raises(
        TypeError, match="weights is a pandas Series, but losses are a torch array on cpu; use one for both"
    ):
        rrm_core.reweight(torch.from_numpy(C), pd.Series(W), mu=0.5, **RULE)
    with pytest.raises(
        TypeError, match="weights is a torch array on cpu, but losses are a pandas Series; use one for both"
    ):
        rrm_core.reweight(pd.Series(C), torch.from_numpy(W), mu=0.5, **RULE)


# Nothing is imported


PROGRAM = """
import sys
import numpy as np
values = np.linspace(0.0, 1.0, 10)
{create}
before = set(sys.modules)
import rrm_core
weights, plan = rrm_core.reweight(losses, contamination=0.2)
assert plan.n_pruned == 2 and type(weights) is {type}, type(weights)
heavy = {{name.partition(".")[0] for name in set(sys.modules) - before}}
allowed = {{"rrm_core", "numpy", "array_api_compat", "importlib", "_cpu"}}
print(sorted(name for name in heavy - allowed if name not in sys.stdlib_module_names))
"""


@pytest.mark.parametrize(
    ("create", "kind"),
    [
        ("import array; losses = array.array('d', values)", "array.array"),
        ("losses = memoryview(values)", "memoryview"),
        ("import pandas as pd; losses = pd.Series(values)", "pd.Series"),
        (
            "import pyarrow as pa; losses = pa.Array.from_buffers(pa.float64(), 10, [None, pa.py_buffer(values)])",
            "pa.DoubleArray",
        ),
        ("losses = type('A', (), {'__array__': lambda *_, **__: values})()", "np.ndarray"),
    ],
    ids=["array.array", "memoryview", "pandas", "pyarrow", "protocol"],
)
def test_reading_an_array_imports_no_library(create, kind):
    program = PROGRAM.format(create=create, type=kind)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=Path(__file__).anchor
    )
    assert run.stderr == ""
    assert run.stdout.strip() == "[]"


def test_kinds_are_recognised_by_the_names_of_real_classes():
    """A library that renames a class must not pass unnoticed, for those that are installed here."""
    for package, name in (("pandas", "Series"), ("pandas", "DataFrame"), ("pyarrow", "Array"), ("pyarrow", "Table")):
        assert (package, name) in kinds.KINDS
        assert hasattr(sys.modules[package], name)
