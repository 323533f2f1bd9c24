"""Tensors that are more than their memory are read by their values or refused; so are arrays of other frameworks."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad

import rrm_core
from rrm_torch import distributed
from support.families import assert_same_bits
from support.frameworks import FRAMEWORKS

N = 50
RULE = {"contamination": 0.2}
# torch itself uses it for derivatives.
in_jit = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
PLAIN = torch.rand(N, generator=torch.Generator().manual_seed(0))


def negated(plain=PLAIN):
    """Return a tensor of the same values, whose memory holds them negated."""
    tensor = torch.complex(plain, -plain).conj().imag
    assert tensor.is_neg()
    return tensor


LAZY = {
    "a part of a conjugate": (negated(), PLAIN),
    "a part of a conjugate in float64": (negated(PLAIN.double()), PLAIN.double()),
    "negated bfloat16": (torch._neg_view(-PLAIN.bfloat16()), PLAIN.bfloat16()),
    "negated float16, strided": (torch._neg_view(-PLAIN.half())[::2], PLAIN.half()[::2]),
    "negated, with a graph": (torch._neg_view((-PLAIN).requires_grad_()), PLAIN),
    "zeros without memory": (torch._efficientzerotensor(N), torch.zeros(N)),
    "a parameter": (torch.nn.Parameter(PLAIN.clone()), PLAIN),
    "a subclass": (PLAIN.as_subclass(type("Subclass", (torch.Tensor,), {})), PLAIN),
    "expanded": (PLAIN[:1].expand(N), PLAIN[:1].repeat(N)),
}
with torch.inference_mode():
    LAZY["an inference tensor"] = (PLAIN + 0, PLAIN)


@pytest.mark.parametrize("backend", [None, "numpy", "numba", "array_api"])
@pytest.mark.parametrize("kind", LAZY)
def test_lazy_tensors_are_read_by_their_values(kind, backend):
    lazy, plain = LAZY[kind]
    n = len(plain)
    expected, plan = rrm_core.reweight(plain, backend="numpy", **RULE)
    weights, actual = rrm_core.reweight(lazy, backend=backend, **RULE)
    assert actual == plan
    assert_same_bits(weights, expected.numpy())
    assert type(weights) is torch.Tensor
    old = plain.to(expected.dtype)
    if plain.dtype == old.dtype:
        expected, _ = rrm_core.reweight(old.flip(0), old, mu=0.3, backend="numpy", **RULE)
        weights, _ = rrm_core.reweight(old.flip(0), lazy, mu=0.3, backend=backend, **RULE)
        assert_same_bits(weights, expected.numpy())
    planner = rrm_core.Planner(**RULE)
    while not planner.done:
        planner.update(lazy[: n // 2])
        planner.update(lazy[n // 2 :])
        planner.advance()
    assert planner.plan == plan
    for source in (lazy, [lazy[:7], lazy[7:]]):
        assert rrm_core.stream.plan(source, **RULE) == plan


@in_jit
def test_values_of_a_dual_number():
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(PLAIN, torch.ones(N))
        assert rrm_core.plan(dual, **RULE) == rrm_core.plan(PLAIN, **RULE)


@pytest.mark.parametrize("out", [negated(), torch._efficientzerotensor(N)])
def test_lazy_out_is_refused(out):
    for more in ({}, {"weights": out, "mu": 0.3}):
        with pytest.raises(ValueError, match=r"^out is .* leave it out$"):
            rrm_core.reweight(PLAIN, out=out, **more, **RULE)


def test_out_in_the_memory_of_negated_losses_is_refused():
    pair = torch.complex(PLAIN, -PLAIN)
    losses = pair.conj().imag
    for backend in (None, "array_api"):
        with pytest.raises(ValueError, match="out overlaps losses in memory"):
            rrm_core.reweight(losses, out=pair.imag, backend=backend, **RULE)
    assert torch.equal(losses, PLAIN)
    expected, _ = rrm_core.reweight(PLAIN, **RULE)
    # The other part does not overlap.
    rrm_core.reweight(losses, out=pair.real, **RULE)
    assert torch.equal(pair.real, expected)


class Wrapper(torch.Tensor):
    """A tensor that handles torch's operations itself, as DTensor and MaskedTensor do."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        raise NotImplementedError


def refused():
    """Yield the tensors that are refused, and a part of the message."""
    yield "nested", torch.nested.nested_tensor([PLAIN[:3], PLAIN[:2]]), "a nested tensor; pass torch.cat("
    jagged = torch.nested.nested_tensor([PLAIN[:3], PLAIN[:2]], layout=torch.jagged)
    yield "jagged", jagged, "a nested tensor; pass torch.cat("
    yield "sparse", PLAIN.to_sparse(), "got one of layout torch.sparse_coo"
    yield "compressed", PLAIN.reshape(5, 10).to_sparse_csr(), "got one of layout torch.sparse_csr"
    yield "oneDNN", PLAIN.to_mkldnn(), "got one of layout torch._mkldnn"
    yield "meta", PLAIN.to("meta"), "on the device meta"
    yield "wrapper", Wrapper(PLAIN), "got a Wrapper; pass the tensor that it stands for"
    yield "lazy", torch.nn.parameter.UninitializedParameter(), "without values yet"
    yield "quantized", torch.quantize_per_tensor(PLAIN, 0.1, 0, torch.quint8), "got torch.quint8; convert"
    yield "complex", torch.complex(PLAIN, PLAIN), "got torch.complex64; pass one real number per sample"
    yield "conjugate", torch.complex(PLAIN, PLAIN).conj(), "got torch.complex64; pass one real number per sample"
    yield "complex array", PLAIN.numpy() + 1j, "got complex64; pass one real number per sample"
    yield "float8", PLAIN.to(torch.float8_e5m2), "got torch.float8_e5m2"
    yield "masked array", np.ma.masked_array(PLAIN.numpy(), PLAIN.numpy() > 0.5), "whose mask would be ignored"
    yield "matrix", np.matrix(PLAIN.numpy()), "got matrix; pass "
    yield "structured", np.zeros(N, [("loss", "f4")]), "convert them to float32"
    yield "objects", np.array([1.0] * N, object), "got object"
    yield "long double", np.ones(N, np.longdouble), f"got {np.dtype(np.longdouble)}"


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API", "ignore:Sparse CSR", "ignore:torch.quantize", "ignore:the matrix subclass"
)
def test_other_kinds_are_refused_in_one_line():
    plan = rrm_core.plan(PLAIN, **RULE)
    for kind, x, message in refused():
        for backend in (None, "array_api"):
            calls = {
                "losses": [
                    lambda x=x, b=backend: rrm_core.reweight(x, backend=b, **RULE),
                    lambda x=x, b=backend: rrm_core.apply(plan, x, backend=b),
                    lambda x=x: rrm_core.objective(x, 1.0),
                    lambda x=x: rrm_core.Planner(**RULE).update(x),
                    lambda x=x: rrm_core.stream.plan(x, **RULE),
                    lambda x=x: rrm_core.stream.plan([x], **RULE),
                ],
                "weights": [lambda x=x, b=backend: rrm_core.reweight(PLAIN, x, mu=0.3, backend=b, **RULE)],
                "out": [lambda x=x, b=backend: rrm_core.reweight(PLAIN, out=x, backend=b, **RULE)],
            }
            for name, some in calls.items():
                for number, call in enumerate(some):
                    with pytest.raises(TypeError, match=rf"^{name}[ ,]") as caught:
                        call()
                    if number < 4:
                        assert message in str(caught.value), kind
                    assert "\n" not in str(caught.value)


@in_jit
def test_tensors_in_a_transform_are_refused():
    """Under functionalize a tensor's memory may hold anything."""

    def reweight(x):
        y = x * 1
        y.add_(1)
        return rrm_core.reweight(y, **RULE)[0]

    for transformed in (
        lambda: torch.func.functionalize(reweight)(PLAIN),
        lambda: torch.func.vmap(reweight)(PLAIN[None]),
        lambda: torch.func.grad(lambda x: reweight(x).sum())(PLAIN),
        lambda: torch.func.jvp(reweight, (PLAIN,), (PLAIN,)),
        lambda: torch.func.functionalize(lambda x: rrm_core.Planner(**RULE).update(x))(PLAIN),
    ):
        with pytest.raises(TypeError, match=re.escape("losses is being transformed by torch.func; call this outside")):
            transformed()


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="no JAX for this Python")
def test_deleted_jax_array_is_refused():
    import jax

    deleted = jax.numpy.ones(4)
    deleted.delete()
    with pytest.raises(ValueError, match="losses is a JAX array that was deleted"):
        rrm_core.reweight(deleted, **RULE)
    with pytest.raises(ValueError, match="weights is a JAX array that was deleted"):
        rrm_core.reweight(jax.numpy.ones(4), deleted, **RULE)


def test_plans_of_ranks_refuse_them_too(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with pytest.raises(TypeError, match="losses must be a dense tensor"):
            distributed.plan(Wrapper(PLAIN), **RULE)
        weights, plan = distributed.reweight(negated(), **RULE)
        assert plan == rrm_core.plan(PLAIN, **RULE)
        assert torch.equal(weights, rrm_core.reweight(PLAIN, **RULE)[0])
    finally:
        torch.distributed.destroy_process_group()
