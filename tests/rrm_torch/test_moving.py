"""Moving nested inputs: to_device and map_leaves."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from rrm_torch._models import map_leaves, to_device

META = torch.device("meta")
Pair = namedtuple("Pair", ["ids", "mask"])


@dataclass(frozen=True)
class Sample:
    ids: torch.Tensor
    text: str
    derived: int = field(default=0, init=False)


class Encoding(UserDict):
    """Like those of Hugging Face's tokenizers, with attributes beside the entries."""

    def __init__(self, data, encodings):
        super().__init__(data)
        self.encodings = encodings


def a():
    return torch.zeros(2)


NESTED = {
    "tensor": a(),
    "dict": {"ids": a(), "mask": a()},
    "ordered": OrderedDict(ids=a()),
    "user dict": UserDict(ids=a()),
    "default": defaultdict(list, ids=a()),
    "read-only": MappingProxyType({"ids": a()}),
    "list": [a(), a()],
    "tuple": (a(), a()),
    "named": Pair(a(), a()),
    "dataclass": Sample(a(), "text"),
    "deep": {"text": [{"ids": (a(), Pair(a(), "text"))}], "empty": [], "none": None, "number": 1},
    "packed": pack_sequence([torch.zeros(3), torch.zeros(1)]),
}


def leaves(values):
    found = []
    map_leaves(found.append, values)
    return found


@pytest.mark.parametrize("values", NESTED.values(), ids=NESTED)
def test_to_device_moves_every_tensor_and_keeps_types(values):
    moved = to_device(values, META)
    assert type(moved) is (dict if isinstance(values, MappingProxyType) else type(values))
    for before, after in zip(leaves(values), leaves(moved), strict=True):
        if isinstance(before, (torch.Tensor, PackedSequence)):
            data = after.data if isinstance(after, PackedSequence) else after
            assert data.device == META
            assert before.data.device.type == "cpu"  # unchanged
        else:
            assert after is before


def test_attributes_of_a_mapping_are_kept():
    values = Encoding({"ids": a()}, encodings=["text"])
    moved = to_device(values, META)
    assert moved.encodings == ["text"]
    assert moved["ids"].device == META
    assert values["ids"].device.type == "cpu"


def test_objects_with_a_method_to_are_moved_by_it():
    class Graph:
        def to(self, device, non_blocking):
            return device, non_blocking

    assert to_device([Graph()], META) == [(META, True)]
    assert to_device({"graph": Graph()}, torch.device("cpu")) == {"graph": (torch.device("cpu"), False)}


@pytest.mark.parametrize("value", ["text", b"text", 1, None, {1, 2}, range(3), Sample])
def test_anything_else_stays_as_it_is(value):
    assert to_device(value, META) is value
