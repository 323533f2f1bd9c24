from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch

from rrm_torch import Checkpoint
from rrm_torch.training import random_state
from support.interrupts import interrupted

BIT_GENERATORS = random_state.NUMPY_BIT_GENERATORS


@pytest.fixture(autouse=True)
def own_generators():
    """Put back the global generators after each test."""
    put_back = random_state.restorer()
    yield
    put_back()


def draws():
    """Draw from all global generators, also the numbers that they cache."""
    numpy = [np.random.randn(3).tolist(), np.random.randint(0, 99, 3, dtype=np.uint16).tolist()]  # noqa: NPY002
    return torch.randn(3).tolist(), random.gauss(), random.random(), numpy


@pytest.mark.parametrize("there", BIT_GENERATORS)
@pytest.mark.parametrize("here", ["MT19937", "SFC64"])
def test_checkpoint_restores_any_bit_generator_of_numpy(tmp_path, there, here):
    checkpoint = Checkpoint(tmp_path / "run.pt", model=torch.nn.Linear(1, 1))
    np.random.set_bit_generator(getattr(np.random, there)(1))
    draws()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint.save(1)
        expected = draws()
        np.random.set_bit_generator(getattr(np.random, here)(2))
        assert checkpoint.load() == 1
    assert draws() == expected
    assert type(np.random.get_bit_generator()).__name__ == there


class OwnGenerator(np.random.PCG64):
    """A bit generator that numpy.random doesn't have."""


def test_state_of_an_unknown_bit_generator_needs_that_generator():
    np.random.set_bit_generator(OwnGenerator(1))
    state = random_state.capture()
    expected = draws()
    random_state.restore(state)
    assert draws() == expected
    np.random.set_bit_generator(np.random.MT19937(1))
    with pytest.raises(
        ValueError, match=r"of numpy is invalid: call np\.random\.set_bit_generator with a 'OwnGenerator'"
    ):
        random_state.restore(state)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("torch", value) for value in (None, 3, torch.zeros(5), torch.zeros(5056, dtype=torch.uint8))],
        *[("torch", torch.full((5056,), 255, dtype=torch.uint8)), ("torch", torch.get_rng_state()[:-1])],
        *[("torch", torch.get_rng_state().long()), ("torch", torch.get_rng_state().to("meta"))],
        *[("cuda", value) for value in (None, {}, 3, [None], [torch.zeros(16)], [torch.zeros(2, 8).byte()])],
        *[("python", value) for value in (None, 3, [], [3], [3, [1] * 624, None], [2, [1] * 625, None])],
        *[("python", [3, [1] * 625, value]) for value in ("x", 1, [])],
        *[("python", [3, [value] * 625, None]) for value in (-1, 2**32, 2**70, 1.5, "x", None)],
        *[("python", [3, [*[1] * 624, value], None]) for value in (-1, 625, 2**31)],
        *[("numpy", value) for value in (None, 3, [], {}, {"bit_generator": "PCG64"}, {"bit_generator": []})],
    ],
)
def test_restore_rejects_invalid_states_and_keeps_all(name, value):
    state = random_state.capture()
    draws()
    before = random_state.capture()
    with pytest.raises(ValueError, match=f"its random state of {name} is invalid: "):
        random_state.restore({**state, name: value})
    assert repr(random_state.capture()) == repr(before)


@pytest.mark.parametrize("bit_generator", BIT_GENERATORS)
def test_restore_rejects_invalid_numbers_of_numpy(bit_generator):
    np.random.set_bit_generator(getattr(np.random, bit_generator)(1))
    state = random_state.capture()
    before = draws()
    fields = [(field, None) for field in state["numpy"]] + [("state", field) for field in state["numpy"]["state"]]
    for field, inner in fields:
        for value in (-1, 625, 2**70, 2**200, 0.5, "x", None, [], [1], [0.5] * 4, {}):
            numpy = {**state["numpy"], field: value if inner is None else {**state["numpy"][field], inner: value}}
            try:
                random_state.restore({**state, "numpy": numpy})
            except ValueError:
                continue
            # Any number is a valid state of some generators, and any float a cached Gaussian number.
            assert (bit_generator, inner) in {("PCG64", "state"), ("PCG64DXSM", "state")} or field in {
                "uinteger",
                "gauss",
                "has_gauss",
                "has_uint32",
            } | {"state"}, (field, inner, value)
    random_state.restore(state)
    assert draws() == before


@pytest.mark.parametrize("position", [-1, 625, 2**31 - 1])
def test_restore_rejects_position_outside_the_words(position):
    state = random_state.capture()
    numpy = {**state["numpy"], "state": {**state["numpy"]["state"], "pos": position}}
    with pytest.raises(ValueError, match=r"of numpy is invalid: pos must lie in \[0, 624\]"):
        random_state.restore({**state, "numpy": numpy})
    np.random.set_bit_generator(np.random.Philox(1))
    state = random_state.capture()
    with pytest.raises(ValueError, match=r"of numpy is invalid: buffer_pos must lie in \[0, 4\]"):
        random_state.restore({**state, "numpy": {**state["numpy"], "buffer_pos": position}})


def test_interrupted_restore_leaves_all_old_or_all_new():
    np.random.set_bit_generator(np.random.PCG64(4))
    state = random_state.capture()
    new = repr(state)

    def make():
        torch.manual_seed(1)
        random.seed(1)
        np.random.set_bit_generator(np.random.MT19937(1))
        return repr(random_state.capture())

    for _, old in interrupted(make, lambda _: random_state.restore(state), samples=80):
        assert repr(random_state.capture()) in (old, new)


def test_rank_seed_works_with_any_bit_generator():
    state = torch.get_rng_state()
    for name in BIT_GENERATORS:
        np.random.set_bit_generator(getattr(np.random, name)(1))
        outcomes = []
        for rank in (1, 1, 2):
            random_state.seed_from(state, rank)
            outcomes.append(np.random.rand())  # noqa: NPY002
        assert outcomes[0] == outcomes[1] != outcomes[2]
