"""Translation of PTX instructions to calls of runtime.h: a function for each opcode that is not in RULES."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cuda_model.ptx.arithmetic import (
    FLOATS,
    INTEGERS,
    LOGICAL,
    LONGER,
    UNSIGNED,
    UNTYPED,
    Writer,
    arithmetic,
    assign,
    place,
    unsupported,
)
from cuda_model.ptx.parser import BITS, Function, Group, Instruction, Operand, Value

Statement = Callable[[Writer, Instruction], str]
STATEMENTS: dict[str, Statement] = {}


def statement(*opcodes: str) -> Callable[[Statement], Statement]:
    def register(function: Statement) -> Statement:
        STATEMENTS.update(dict.fromkeys(opcodes, function))
        return function

    return register


def operands_of(instruction: Instruction, *counts: int) -> list[Operand]:
    if len(instruction.operands) not in counts:
        raise unsupported(instruction, f"{len(instruction.operands)} operands")
    return instruction.operands


def items_of(operand: Operand) -> tuple[Value, ...]:
    if isinstance(operand, Group):
        return operand.items
    assert isinstance(operand, Value)
    return (operand,)


class Modifiers:
    """The modifiers of an instruction, consumed one kind at a time until none is left."""

    def __init__(self, instruction: Instruction):
        self.instruction = instruction
        self.left = list(instruction.modifiers)

    def any_of(self, *choices: str, default: str = "") -> str:
        for modifier in self.left:
            if modifier in choices:
                self.left.remove(modifier)
                return modifier
        return default

    def one_of(self, *choices: str) -> str:
        return self.any_of(*choices) or self.fail()

    def done(self) -> None:
        if self.left:
            self.fail()

    def fail(self) -> str:
        raise unsupported(self.instruction)


# ---- Moves and conversions
@statement("mov")
def mov(writer: Writer, instruction: Instruction) -> str:
    target, source = operands_of(instruction, 2)
    modifiers = Modifiers(instruction)
    kind = modifiers.one_of(*LOGICAL, *INTEGERS, *FLOATS)
    modifiers.done()
    if isinstance(source, Group):
        width = BITS[kind] // len(source.items)
        parts = ", ".join(writer.value(item, f"b{width}") for item in source.items)
        return assign(writer, target, f"pack<b{BITS[kind]}>({parts})")
    if isinstance(target, Group):
        parts = ", ".join(map(writer.target, target.items))
        return f"unpack({writer.value(source, f'b{BITS[kind]}')}, {parts});"
    return assign(writer, target, writer.value(source, kind))


ROUNDINGS_TO_WHOLE = ("rni", "rzi", "rmi", "rpi")
ROUNDINGS = ("rn", "rz", "rm", "rp")


def roundings(to: str, source: str) -> tuple[str, ...]:
    """Return the rounding modifiers, one of which cvt requires between these types."""
    if to not in FLOATS:
        return ROUNDINGS_TO_WHOLE if source in FLOATS else ("",)
    if source not in FLOATS or BITS[to] < BITS[source]:
        return ROUNDINGS
    return (*ROUNDINGS_TO_WHOLE, "") if to == source else ("",)


@statement("cvt")
def cvt(writer: Writer, instruction: Instruction) -> str:
    target, operand = operands_of(instruction, 2)
    *modifiers, to, source = instruction.modifiers
    saturate = "sat" in modifiers
    rounding = "".join(modifier for modifier in modifiers if modifier != "sat")
    known = all(kind in BITS and kind[0] in "usf" for kind in (to, source))
    if not known or rounding not in roundings(to, source):
        raise unsupported(instruction)
    arguments = f"{to}, Round::{rounding or 'none'}, {str(saturate).lower()}"
    return assign(writer, target, f"convert<{arguments}>({writer.value(operand, source, part=True)})")


@statement("cvta")
def cvta(writer: Writer, instruction: Instruction) -> str:
    target, operand = operands_of(instruction, 2)
    modifiers = Modifiers(instruction)
    modifiers.one_of("u64")
    sign = "-" if modifiers.any_of("to") else "+"
    space = modifiers.one_of("global", "const", "shared", "shared::cta", "local").removesuffix("::cta")
    modifiers.done()
    window = f" {sign} {space}_window" if space in ("shared", "local") else ""
    return assign(writer, target, writer.value(operand, "u64") + window)


@statement("isspacep")
def isspacep(writer: Writer, instruction: Instruction) -> str:
    target, operand = operands_of(instruction, 2)
    address = writer.value(operand, "u64")
    tests = {space: f"in_window({address}, {space}_window)" for space in ("shared", "local")}
    tests["shared::cta"] = tests["shared"]
    tests["const"] = f"thread.constants.holds({address})"
    tests["global"] = f"!({tests['shared']} || {tests['local']} || {tests['const']})"
    (space,) = instruction.modifiers
    if space not in tests:
        raise unsupported(instruction)
    return assign(writer, target, tests[space])


# ---- Comparisons and choices
ORDERED = ("eq", "ne", "lt", "le", "gt", "ge")
UNSIGNED_NAMES = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def comparisons(kind: str) -> dict[str, str]:
    """Return the C++ function of each comparison of a type."""
    if kind in FLOATS:
        return {name: name for name in (*ORDERED, *(f"{name}u" for name in ORDERED), "num", "nan")}
    if kind in UNTYPED:
        return {name: name for name in ("eq", "ne")}
    same = {name: name for name in ORDERED}
    return same | UNSIGNED_NAMES if kind in UNSIGNED else same


def comparison(writer: Writer, instruction: Instruction, modifiers: Modifiers, kind: str) -> tuple[str, str]:
    """Return the comparison and the C++ of .and, .or or .xor, such as " && p1"."""
    names = comparisons(kind)
    function = names[modifiers.one_of(*names)]
    combine = modifiers.any_of("and", "or", "xor")
    modifiers.done()
    _, a, b, *more = operands_of(instruction, 4 if combine else 3)
    compared = f"{function}<{kind}>({writer.value(a, kind)}, {writer.value(b, kind)})"
    sign = {"and": "&&", "or": "||", "xor": "!="}
    return compared, f" {sign[combine]} {writer.value(more[0], 'pred')}" if combine else ""


@statement("setp")
def setp(writer: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    kind = modifiers.one_of(*UNTYPED, *INTEGERS, *FLOATS)
    compared, combined = comparison(writer, instruction, modifiers, kind)
    target, *opposite = items_of(instruction.operands[0])
    if not opposite:
        return assign(writer, target, compared + combined)
    both = assign(writer, target, f"holds{combined}"), assign(writer, opposite[0], f"!holds{combined}")
    order = both if writer.target(target) not in combined else both[::-1]
    return f"{{ const bool holds = {compared}; {' '.join(order)} }}"


@statement("set")
def set_(writer: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    kind = modifiers.left.pop()
    to = modifiers.one_of("u32", "s32", "f32")
    if kind not in (*UNTYPED, *INTEGERS, *FLOATS):
        raise unsupported(instruction)
    compared, combined = comparison(writer, instruction, modifiers, kind)
    bits = "0x3f800000" if to == "f32" else "0xffffffff"
    return assign(writer, instruction.operands[0], f"{compared}{combined} ? b32{{{bits}}} : b32{{0}}")


@statement("selp")
def selp(writer: Writer, instruction: Instruction) -> str:
    target, a, b, condition = operands_of(instruction, 4)
    modifiers = Modifiers(instruction)
    kind = modifiers.one_of(*UNTYPED, *INTEGERS, *FLOATS)
    modifiers.done()
    chosen = f"{writer.value(condition, 'pred')} ? {writer.value(a, kind)} : {writer.value(b, kind)}"
    return assign(writer, target, chosen)


@statement("slct")
def slct(writer: Writer, instruction: Instruction) -> str:
    target, a, b, condition = operands_of(instruction, 4)
    if len(instruction.modifiers) != 2:
        raise unsupported(instruction)
    kind, sign = instruction.modifiers
    if kind not in (*UNTYPED, *INTEGERS, *FLOATS) or sign not in ("s32", "f32"):
        raise unsupported(instruction)
    chosen = f"{writer.value(condition, sign)} >= 0 ? {writer.value(a, kind)} : {writer.value(b, kind)}"
    return assign(writer, target, chosen)


# ---- Memory
SPACES = {"global": "global", "shared": "shared", "shared::cta": "shared", "local": "local", "const": "constant"}
SCOPES = ("cta", "cluster", "gpu", "sys")
HINTS = ("nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak")
HINT = re.compile(r"L1::(evict_\w+|no_allocate)|L2::(\d+B|evict_\w+)")


@dataclass(frozen=True)
class Transfer:
    """The modifiers of ld and st."""

    kind: str
    space: str
    count: int
    strong: bool
    fence: bool

    @property
    def size(self) -> int:
        return self.count * BITS[self.kind] // 8


def transfer(instruction: Instruction) -> Transfer:
    modifiers = Modifiers(instruction)
    kind = modifiers.one_of(*(kind for kind in BITS if kind != "pred"))
    modifiers.left = [modifier for modifier in modifiers.left if not HINT.fullmatch(modifier)]
    while modifiers.any_of(*HINTS):
        pass
    order = modifiers.any_of("volatile", "relaxed", "acquire" if instruction.opcode == "ld" else "release")
    modifiers.any_of(*SCOPES)
    space = modifiers.any_of(*SPACES, "param")
    count = int(modifiers.any_of("v2", "v4", default="v1")[1:])
    modifiers.done()
    return Transfer(kind, SPACES.get(space, space or "generic"), count, bool(order), order in ("acquire", "release"))


def registers_of(instruction: Instruction, operand: Operand, count: int) -> tuple[Value, ...]:
    items = items_of(operand)
    if len(items) != count:
        raise unsupported(instruction, f"a vector of {len(items)}")
    return items


@statement("ld")
def ld(writer: Writer, instruction: Instruction) -> str:
    target, source = operands_of(instruction, 2)
    form = transfer(instruction)
    registers = ", ".join(map(writer.target, registers_of(instruction, target, form.count)))
    if form.space == "param":
        pointer = writer.parameter(source, form.size) or f"reinterpret_cast<unsigned char *>({writer.address(source)})"
        return f"load_parameter<{form.kind}>({pointer}, {registers});"
    function = f"load{'_strong' if form.strong else ''}<Space::{form.space}, {form.kind}>"
    fence = " model::fence();" if form.fence else ""
    return f"{function}(thread, {writer.address(source)}, {place(instruction)}, {registers});{fence}"


@statement("st")
def st(writer: Writer, instruction: Instruction) -> str:
    target, source = operands_of(instruction, 2)
    form = transfer(instruction)
    items = registers_of(instruction, source, form.count)
    values = ", ".join(writer.value(item, form.kind, part=True) for item in items)
    if form.space == "param":
        pointer = writer.parameter(target, form.size)
        if pointer is None:
            raise unsupported(instruction)
        return f"store_parameter<{form.kind}>({pointer}, {values});"
    if form.space == "constant":
        raise unsupported(instruction)
    function = f"store{'_strong' if form.strong else ''}<Space::{form.space}, {form.kind}>"
    fence = "model::fence(); " if form.fence else ""
    return f"{fence}{function}(thread, {writer.address(target)}, {place(instruction)}, {values});"


ATOMICS = {
    "add": ("add", ("s32", "u32", "u64", "s64")),
    "min": ("min", LONGER),
    "max": ("max", LONGER),
    "and": ("bit_and", ("b32", "b64")),
    "or": ("bit_or", ("b32", "b64")),
    "xor": ("bit_xor", ("b32", "b64")),
    "exch": ("exch", ("b32", "b64")),
    "cas": ("cas", ("b16", "b32", "b64")),
    "inc": ("inc", ("u32",)),
    "dec": ("dec", ("u32",)),
}


@statement("atom", "red")
def atom(writer: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    order = modifiers.any_of("relaxed", "acquire", "release", "acq_rel")
    modifiers.any_of(*SCOPES)
    space = modifiers.any_of("global", "shared", "shared::cta", default="generic").removesuffix("::cta")
    name = modifiers.one_of(*ATOMICS)
    function, kinds = ATOMICS[name]
    if modifiers.left[-1:] in (["f32"], ["f64"]):
        raise unsupported(instruction, "its result depends on the order of the threads")
    kind = modifiers.one_of(*kinds)
    modifiers.done()
    returns = instruction.opcode == "atom"
    address, *operands = operands_of(instruction, (3 if name == "cas" else 2) + returns)[returns:]
    arguments = ", ".join(("old", *(writer.value(operand, kind) for operand in operands)))
    change = f"[&]({kind} old) {{ return {function}<{kind}>({arguments}); }}"
    done = f"atomic<Space::{space}, {kind}>(thread, {writer.address(address)}, {place(instruction)}, {change})"
    before = "model::fence(); " if order in ("release", "acq_rel") else ""
    after = " model::fence();" if order in ("acquire", "acq_rel") else ""
    return before + (assign(writer, instruction.operands[0], done) if returns else f"{done};") + after


@statement("membar", "fence")
def fence(_: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    modifiers.any_of("sc", "acq_rel")
    scope = modifiers.one_of(*SCOPES, "gl")
    modifiers.done()
    return "model::fence_block();" if scope == "cta" else "model::fence();"


# ---- Barriers and warps
@statement("bar", "barrier")
def bar(writer: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    scope = modifiers.any_of("warp", "cta")
    modifiers.one_of("sync")
    modifiers.any_of("aligned")
    modifiers.done()
    operands = operands_of(instruction, 1)
    if scope == "warp":
        return f"model::sync_warp({writer.value(operands[0], 'u32')});"
    if operands != [Value("0")]:
        raise unsupported(instruction, "only barrier 0, for all threads of the block")
    return "{ static char site; model::sync_block(&site); }"


@statement("shfl")
def shfl(writer: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    modifiers.one_of("sync")
    mode = modifiers.one_of("up", "down", "bfly", "idx")
    modifiers.one_of("b32")
    modifiers.done()
    results, *operands = operands_of(instruction, 5)
    target, *inside = items_of(results)
    arguments = [writer.value(operand, "b32") for operand in operands] + [writer.target(p) for p in inside]
    return assign(writer, target, f"shfl<Shuffle::{mode}>({', '.join(arguments)})")


@statement("match")
def match(writer: Writer, instruction: Instruction) -> str:
    if instruction.modifiers[0] != "all":
        return arithmetic(writer, instruction)
    modifiers = Modifiers(instruction)
    modifiers.one_of("all")
    modifiers.one_of("sync")
    kind = modifiers.one_of("b32", "b64")
    modifiers.done()
    results, value, mask = operands_of(instruction, 3)
    target, *all_same = items_of(results)
    if not all_same:
        raise unsupported(instruction)
    arguments = f"{writer.value(value, kind)}, {writer.value(mask, 'u32')}, {writer.target(all_same[0])}"
    return assign(writer, target, f"match_all<{kind}>({arguments})")


@statement("redux")
def redux(writer: Writer, instruction: Instruction) -> str:
    modifiers = Modifiers(instruction)
    modifiers.one_of("sync")
    function, kinds = ATOMICS[modifiers.one_of("add", "min", "max", "and", "or", "xor")]
    kind = modifiers.one_of(*(kind for kind in kinds if BITS[kind] == 32))
    modifiers.done()
    target, value, mask = operands_of(instruction, 3)
    arguments = f"{writer.value(value, kind)}, {writer.value(mask, 'u32')}, {function}<{kind}>"
    return assign(writer, target, f"redux<{kind}>({arguments})")


# ---- Control flow
@statement("bra")
def bra(_: Writer, instruction: Instruction) -> str:
    (target,) = items_of(operands_of(instruction, 1)[0])
    return f"goto {target.name};"


@statement("brx")
def brx(writer: Writer, instruction: Instruction) -> str:
    index, table = operands_of(instruction, 2)
    targets = writer.function.branch_tables[items_of(table)[0].name].operands
    cases = " ".join(f"case {i}: goto {items_of(target)[0].name};" for i, target in enumerate(targets))
    return f"switch ({writer.value(index, 'u32')}) {{ {cases} default: trap({place(instruction)}); }}"


@statement("ret", "exit")
def ret(writer: Writer, instruction: Instruction) -> str:
    if instruction.opcode == "exit" and not writer.function.is_entry:
        raise unsupported(instruction, "out of a function that isn't inlined")
    operands_of(instruction, 0)
    return "return;"


@statement("trap")
def trap(_: Writer, instruction: Instruction) -> str:
    return f"trap({place(instruction)});"


@statement("nanosleep")
def nanosleep(_: Writer, __: Instruction) -> str:
    return "model::give_way();"


@statement("call")
def call(writer: Writer, instruction: Instruction) -> str:
    return writer.call(instruction)


def labels_of(function: Function, instruction: Instruction) -> list[str]:
    """Return the labels that an instruction may branch to."""
    if instruction.opcode == "bra":
        return [items_of(instruction.operands[0])[0].name]
    if instruction.opcode == "brx":
        table = function.branch_tables[items_of(instruction.operands[1])[0].name]
        return [items_of(target)[0].name for target in table.operands]
    return []


def in_cpp(writer: Writer, instruction: Instruction) -> str:
    """Return the C++ statement of an instruction, without its predicate."""
    return STATEMENTS.get(instruction.opcode, arithmetic)(writer, instruction)
