"""PTX arithmetic in C++: RULES has a line for each instruction whose result is a function of its operands.

The helpers are shared with instructions.py, which translates all other instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cuda_model.ptx.parser import BITS, Function, Instruction, Operand, UnsupportedError

SIGNED, UNSIGNED, UNTYPED = (tuple(f"{kind}{width}" for width in (16, 32, 64)) for kind in "sub")
INTEGERS = SIGNED + UNSIGNED
LONGER = ("s32", "s64", "u32", "u64")
FLOATS = ("f32", "f64")
LOGICAL = ("pred", *UNTYPED)


class Writer(Protocol):
    """The interface of translator.FunctionWriter that the instructions use."""

    function: Function

    def value(self, operand: Operand, kind: str, part: bool = False) -> str:
        """Return a C++ expression of type `kind`; `part` allows the low bits of a wider register."""

    def address(self, operand: Operand) -> str: ...

    def parameter(self, operand: Operand, size: int) -> str | None:
        """Return a pointer to `size` bytes of a parameter, or None if the address is not a parameter's."""

    def target(self, operand: Operand) -> str:
        """Return the destination register."""

    def call(self, instruction: Instruction) -> str: ...


# ---- Arithmetic: result = function(operands).
@dataclass(frozen=True)
class Rule:
    """C++ function and operand types: T is the instruction's type, W twice as wide, U .u32, P a predicate."""

    function: str
    types: tuple[str, ...]
    operands: str
    typed: bool = True  # the function is a template over the type
    takes_place: bool = False  # the function can fail, and takes the source position


RULES = {
    "add": Rule("add", INTEGERS, "TT"),
    "add.sat": Rule("add_sat", ("s32",), "TT"),
    "add.rn": Rule("add", FLOATS, "TT"),
    "sub": Rule("sub", INTEGERS, "TT"),
    "sub.sat": Rule("sub_sat", ("s32",), "TT"),
    "sub.rn": Rule("sub", FLOATS, "TT"),
    "mul.lo": Rule("mul_lo", INTEGERS, "TT"),
    "mul.hi": Rule("mul_hi", INTEGERS, "TT"),
    "mul.wide": Rule("mul_wide", ("s16", "u16", "s32", "u32"), "TT"),
    "mul.rn": Rule("mul", FLOATS, "TT"),
    "mad.lo": Rule("mad_lo", INTEGERS, "TTT"),
    "mad.hi": Rule("mad_hi", INTEGERS, "TTT"),
    "mad.wide": Rule("mad_wide", ("s16", "u16", "s32", "u32"), "TTW"),
    "sad": Rule("sad", INTEGERS, "TTT"),
    "div": Rule("div", INTEGERS, "TT", takes_place=True),
    "div.rn": Rule("div", FLOATS, "TT", takes_place=True),
    "rem": Rule("rem", INTEGERS, "TT", takes_place=True),
    "fma.rn": Rule("fma", FLOATS, "TTT"),
    "mad.rn": Rule("fma", FLOATS, "TTT"),
    "rcp.rn": Rule("rcp", FLOATS, "T"),
    "sqrt.rn": Rule("sqrt", FLOATS, "T"),
    "abs": Rule("abs", SIGNED + FLOATS, "T"),
    "neg": Rule("neg", SIGNED + FLOATS, "T"),
    "min": Rule("min", INTEGERS + FLOATS, "TT"),
    "max": Rule("max", INTEGERS + FLOATS, "TT"),
    "min.NaN": Rule("min_nan", ("f32",), "TT"),
    "max.NaN": Rule("max_nan", ("f32",), "TT"),
    "copysign": Rule("copysign", FLOATS, "TT"),
    "and": Rule("bit_and", LOGICAL, "TT"),
    "or": Rule("bit_or", LOGICAL, "TT"),
    "xor": Rule("bit_xor", LOGICAL, "TT"),
    "not": Rule("bit_not", LOGICAL, "T"),
    "cnot": Rule("cnot", UNTYPED, "T"),
    "shl": Rule("shl", UNTYPED, "TU"),
    "shr": Rule("shr", INTEGERS + UNTYPED, "TU"),
    "shf.l.clamp": Rule("shf_l_clamp", ("b32",), "TTU", typed=False),
    "shf.l.wrap": Rule("shf_l_wrap", ("b32",), "TTU", typed=False),
    "shf.r.clamp": Rule("shf_r_clamp", ("b32",), "TTU", typed=False),
    "shf.r.wrap": Rule("shf_r_wrap", ("b32",), "TTU", typed=False),
    "popc": Rule("popc", ("b32", "b64"), "T"),
    "clz": Rule("clz", ("b32", "b64"), "T"),
    "brev": Rule("brev", ("b32", "b64"), "T"),
    "bfind": Rule("bfind", LONGER, "T"),
    "bfind.shiftamt": Rule("bfind_shiftamt", LONGER, "T"),
    "bfe": Rule("bfe", LONGER, "TUU"),
    "bfi": Rule("bfi", ("b32", "b64"), "TTUU"),
    "prmt": Rule("prmt", ("b32",), "TTT", typed=False),
    "lop3": Rule("lop3", ("b32",), "TTTU", typed=False),
    "vote.sync.ballot": Rule("vote_ballot", ("b32",), "PU", typed=False),
    "vote.sync.any": Rule("vote_any", ("pred",), "PU", typed=False),
    "vote.sync.all": Rule("vote_all", ("pred",), "PU", typed=False),
    "vote.sync.uni": Rule("vote_uni", ("pred",), "PU", typed=False),
    "match.any.sync": Rule("match_any", ("b32", "b64"), "TU"),
    "activemask": Rule("activemask", ("b32",), "", typed=False),
}

REASONS = {
    "approx": "an approximation whose bits nobody promises",
    "full": "an approximation whose bits nobody promises",
    "ftz": "it flushes subnormals: compile with --ftz=false",
    "rz": "only rounding to nearest is modelled here",
    "rm": "only rounding to nearest is modelled here",
    "rp": "only rounding to nearest is modelled here",
}


def unsupported(instruction: Instruction, why: str = "") -> UnsupportedError:
    reasons = [why] if why else [REASONS[m] for m in instruction.modifiers if m in REASONS]
    if not reasons and instruction.opcode in ("add", "sub", "mul") and instruction.modifiers[-1] in FLOATS:
        reasons = ["ptxas may fuse it into a multiply-add: compile with --fmad=false"]
    return UnsupportedError(
        instruction.line, f"{instruction.mnemonic}{''.join(f' ({reason})' for reason in reasons[:1])}"
    )


def wider(kind: str) -> str:
    return kind[0] + str(2 * BITS[kind])


def assign(writer: Writer, target: Operand, value: str) -> str:
    return f"set({writer.target(target)}, {value});"


def arithmetic(writer: Writer, instruction: Instruction) -> str:
    *modifiers, kind = instruction.modifiers or ("",)
    saturate = "sat" in modifiers and kind in FLOATS
    if saturate:
        modifiers.remove("sat")
    rule = RULES.get(".".join((instruction.opcode, *modifiers)))
    if rule is None or kind not in rule.types or len(instruction.operands) != len(rule.operands) + 1:
        raise unsupported(instruction)
    kinds = {"T": kind, "U": "u32", "P": "pred", "W": wider(kind) if "W" in rule.operands else ""}
    target, *operands = instruction.operands
    arguments = [writer.value(operand, kinds[letter]) for operand, letter in zip(operands, rule.operands, strict=True)]
    if rule.takes_place:
        arguments.append(place(instruction))
    expression = f"{rule.function}{f'<{kind}>' if rule.typed else ''}({', '.join(arguments)})"
    return assign(writer, target, f"unit({expression})" if saturate else expression)


def place(instruction: Instruction) -> str:
    return f"at({instruction.line})"
