"""torch tensors that are more than their memory: refused, or computed before they are read.

torch is never imported here: a tensor shows that it is loaded.
"""

from __future__ import annotations

import sys
from typing import Any

from array_api_compat import is_torch_array


def check_tensor_kind(name: str, x: Any) -> None:
    """Raise a TypeError if the tensor `x`, an argument called `name`, is not dense with memory of its own."""
    torch = sys.modules["torch"]
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        raise TypeError(f"{name} is being transformed by torch.func; call this outside vmap, grad and functionalize")
    if type(x).__name__ == "FakeTensor":
        raise TypeError(f"{name} is a FakeTensor, which has no values; call this on real tensors, outside fake mode")
    if torch.nn.parameter.is_lazy(x):
        raise TypeError(f"{name} is a parameter without values yet; initialise it first")
    if x.is_nested:
        raise TypeError(f"{name} must be a dense tensor, got a nested tensor; pass torch.cat({name}.unbind())")
    if x.layout is not torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got one of layout {x.layout}; pass {name}.to_dense()")
    if x.is_meta:
        raise TypeError(f"{name} is on the device meta, and so has no values; call this on real tensors")
    # A subclass that handles torch's operations itself, such as DTensor.
    if type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise TypeError(
            f"{name} must be a dense tensor with memory of its own, got a {type(x).__name__}; pass the tensor that it "
            "stands for, such as to_local() of a DTensor"
        )


def is_negated(x: Any) -> bool:
    """Return whether `x` is a tensor whose memory holds the negated values: a part of a conjugate, for example."""
    return is_torch_array(x) and bool(x.is_neg())


def is_zero_without_memory(x: Any) -> bool:
    """Return whether `x` is a tensor of zeros without memory, which torch's derivatives can be."""
    return is_torch_array(x) and bool(x._is_zerotensor())


def plain_tensor(x: Any) -> Any:
    """Return a tensor with the values of `x` in its memory, outside autograd: a view of `x` where that is possible."""
    if is_zero_without_memory(x):
        return sys.modules["torch"].zeros(x.shape, dtype=x.dtype, device=x.device)
    return x.as_subclass(sys.modules["torch"].Tensor).detach().resolve_neg()


def memory_of_negated(x: Any) -> Any:
    """Return a tensor of the memory of a negated tensor, and so of the negated values."""
    memory = sys.modules["torch"].empty(0, dtype=x.dtype, device=x.device)
    return memory.set_(x.detach().untyped_storage(), x.storage_offset(), x.shape, x.stride())


def view_as_numpy(x: Any) -> Any:
    """Return a NumPy view of a plain tensor on the CPU; of bfloat16 its bits, which are all that torch can give."""
    torch = sys.modules["torch"]
    if x.dtype is torch.bfloat16:
        x = x.view(torch.int16)
    return x.numpy()
