"""Translate PTX, as nvcc emits it, into C++ that runs on the execution model of model/machine.h.

    cd tests; python -m cuda_model.ptx.translator kernels.ptx kernels.cpp

For each kernel the C++ has `extern "C" void ptx_<mangled name>(void **parameters)`; parameters[i] points to the i-th
argument. model::run calls it in every thread. Compile with -std=c++20 -ffp-contract=off.

Instructions whose results are not specified to the bit are rejected, with exit code 2: approximations, flushed
subnormals, floating-point atomics, directed rounding in arithmetic. So are features that the model lacks: dynamic
shared memory, barriers other than 0, indirect calls, printf.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from cuda_model.ptx.arithmetic import unsupported
from cuda_model.ptx.instructions import in_cpp, labels_of
from cuda_model.ptx.parser import (
    BITS,
    Address,
    Function,
    Group,
    Instruction,
    Module,
    Operand,
    UnsupportedError,
    Value,
    Variable,
    float_bits_of,
    integer_of,
    parse,
)

GUARD = 64  # guard bytes between variables; also keeps offset 0 unused
INDICES = {"tid": "thread", "ntid": "block_size", "ctaid": "block", "nctaid": "grid_size"}
SPECIAL = {
    f"%{register}.{axis}": f"model::here.{index}.{axis}" for register, index in INDICES.items() for axis in "xyz"
}
SPECIAL |= {
    "%laneid": "model::lane()",
    "%lanemask_eq": "1u << model::lane()",
    "%lanemask_lt": "(1u << model::lane()) - 1",
    "%lanemask_le": "(2u << model::lane()) - 1",
    "%lanemask_gt": "~((2u << model::lane()) - 1)",
    "%lanemask_ge": "~((1u << model::lane()) - 1)",
    "WARP_SZ": "32u",
}


def identifier(name: str) -> str:
    return name.replace("$", "_")


@dataclass
class Layout:
    """Offsets of the variables of one state space in its memory."""

    offsets: dict[str, int]
    variables: list[Variable]
    size: int

    @classmethod
    def of(cls, variables: list[Variable]) -> Layout:
        offsets = {}
        end = 0
        for variable in variables:
            start = end + GUARD
            start += -start % max(variable.align, 1)
            offsets[variable.name] = start
            end = start + variable.size
        return cls(offsets, variables, end + GUARD if variables else 0)

    def table(self, name: str) -> str:
        """Return the C++ table of the variables for Segment."""
        rows = ", ".join(f"{{{self.offsets[v.name]}, {v.size}}}" for v in self.variables)
        return f"static constexpr Variable {name}[] = {{{rows or '{0, 0}'}}};"

    def data(self) -> bytes:
        memory = bytearray(self.size)
        for variable in self.variables:
            start = self.offsets[variable.name]
            memory[start : start + len(variable.data)] = variable.data
        return bytes(memory)


class FunctionWriter:
    """Translates one kernel or function; provides the operands to the instructions."""

    def __init__(self, function: Function, module: ModuleWriter):
        self.function = function
        self.module = module
        variables = {
            space: [v for v in function.variables if v.space == space] for space in ("shared", "local", "param")
        }
        self.shared = Layout.of(module.shared + (variables["shared"] if function.is_entry else []))
        self.local = Layout.of(variables["local"])
        self.call_parameters = variables["param"]
        self.parameters = {v.name: v.size for v in (*function.parameters, *function.results, *variables["param"])}

    # ---- Operands
    def value(self, operand: Operand, kind: str, part: bool = False) -> str:
        assert isinstance(operand, Value)
        name = operand.name
        if name in self.function.registers:
            if kind == "pred":
                return f"!{name}" if operand.negated else name
            return f"{'low' if part else 'as'}<{kind}>({name})"
        if name in SPECIAL:
            return f"constant<{kind}>({SPECIAL[name]})"
        bits = float_bits_of(name) if name[:2].lower() in ("0f", "0d") else integer_of(name)
        if kind == "pred" and bits is not None:
            return str(bool(bits) != operand.negated).lower()
        return f"constant<{kind}>({self.symbol(operand) if bits is None else literal(bits, kind)})"

    def symbol(self, operand: Value) -> str:
        """Return the address of a variable in its state space, as b64."""
        name, offset = operand.name, operand.offset
        if name in self.parameters:
            return f"reinterpret_cast<b64>({identifier(name)} + {offset})"
        if name in self.shared.offsets:
            return f"{self.shared.offsets[name] + offset}"
        if name in self.local.offsets:
            return f"frame.at({self.local.offsets[name] + offset})"
        for space, layout in self.module.layouts.items():
            if name in layout.offsets:
                return f"reinterpret_cast<b64>({space}_bytes + {layout.offsets[name] + offset})"
        raise UnsupportedError(self.function.line, f"operand {name} in {self.function.name}")

    def address(self, operand: Operand) -> str:
        assert isinstance(operand, Address)
        if operand.base in self.function.registers:
            return f"address({operand.base}, {operand.offset})" if operand.offset else operand.base
        absolute = integer_of(operand.base)
        return literal(absolute, "u64") if absolute is not None else self.symbol(Value(operand.base, operand.offset))

    def parameter(self, operand: Operand, size: int) -> str | None:
        assert isinstance(operand, Address)
        parameter_size = self.parameters.get(operand.base)
        if parameter_size is None:
            return None
        if operand.offset < 0 or operand.offset + size > parameter_size:
            raise UnsupportedError(self.function.line, f"access beyond parameter {operand.base}")
        return f"{identifier(operand.base)} + {operand.offset}"

    def target(self, operand: Operand) -> str:
        assert isinstance(operand, Value)
        return "ignored" if operand.name == "_" else operand.name

    def call(self, instruction: Instruction) -> str:
        """Return the C++ call; parameters are passed as pointers to their bytes."""
        groups = [operand.items for operand in instruction.operands if isinstance(operand, Group)]
        (name,) = (operand.name for operand in instruction.operands if isinstance(operand, Value))
        passed = [item.name for items in groups for item in items]
        if name == "__assertfail":
            kinds = ("b64", "b64", "b32", "b64")
            values = [f"fetch<{kind}>({argument})" for kind, argument in zip(kinds, passed, strict=False)]
            return f"assertion_failed({', '.join(values)});"
        if name not in self.module.functions:
            raise unsupported(instruction, f"of {name}")
        return f"{identifier(name)}({', '.join(('thread', *passed))});"

    # ---- The function
    def signature(self) -> str:
        if self.function.is_entry:
            return f'extern "C" void ptx_{self.function.name}([[maybe_unused]] void **parameters)'
        pointers = (*self.function.results, *self.function.parameters)
        names = [f"[[maybe_unused]] unsigned char *{identifier(v.name)}" for v in pointers]
        return f"static void {identifier(self.function.name)}({', '.join(('[[maybe_unused]] Thread &thread', *names))})"

    def lines(self) -> list[str]:
        declared = [*self.prologue(), *self.register_declarations()]
        return [f"{self.signature()} {{", *(f"    {line}" for line in declared), "", *self.body(), "}", ""]

    def prologue(self) -> list[str]:
        lines = [f'[[maybe_unused]] static constexpr Kernel at{{"{self.function.name}"}};']
        if self.function.is_entry:
            lines += self.thread()
            for i, parameter in enumerate(self.function.parameters):
                name = identifier(parameter.name)
                lines.append(f"[[maybe_unused]] auto *{name} = static_cast<unsigned char *>(parameters[{i}]);")
        if self.local.variables:
            lines.append(f"const LocalFrame frame(thread, {self.local.size + -self.local.size % 16});")
        for parameter in self.call_parameters:
            lines.append(f"alignas(16) unsigned char {parameter.name}[{max(parameter.size, 1)}];")
        return lines

    def thread(self) -> list[str]:
        """Return the C++ that sets up the memory of a kernel's thread."""
        lines = [self.shared.table("shared_variables")]
        memory = "nullptr, nullptr"
        if self.shared.variables:
            lines.append("static char shared_key;")
            lines.append(f"const model::Shared shared = model::shared(&shared_key, {self.shared.size});")
            memory = "shared.bytes, shared.written"
        segment = f'{{"shared", {memory}, {self.shared.size}, shared_variables, {len(self.shared.variables)}}}'
        return [*lines, f"[[maybe_unused]] Thread thread{{{segment}, globals, constants}};"]

    def register_declarations(self) -> list[str]:
        """Return a declaration for each register."""
        lines = []
        for name, kind in self.function.registers.items():
            bits = "pred" if kind == "pred" else f"b{BITS[kind]}"
            lines.append(f"[[maybe_unused]] {bits} {name} = unset;")
        return lines

    def body(self) -> list[str]:
        instructions = [item for item in self.function.body if isinstance(item, Instruction)]
        reached = {label for instruction in instructions for label in labels_of(self.function, instruction)}
        lines = []
        for item in self.function.body:
            if isinstance(item, Instruction):
                lines.append(f"    {self.statement(item)} // {item.line}: {item.mnemonic}")
            elif item.name in reached:
                lines.append(f"{item.name}:;")
        return lines

    def statement(self, instruction: Instruction) -> str:
        done = in_cpp(self, instruction)
        if instruction.predicate is None:
            return done
        return f"if ({self.value(instruction.predicate, 'pred')}) {{ {done} }}"


def literal(bits: int, kind: str) -> str:
    """Return the C++ literal of an integer's bits in a type."""
    value = bits % 2 ** BITS[kind]
    return str(value) if value < 10 else f"{value:#x}"


class ModuleWriter:
    def __init__(self, module: Module):
        self.functions = {function.name: function for function in module.functions if not function.is_entry}
        self.entries = [function for function in module.functions if function.is_entry]
        everywhere = [*module.variables, *(v for f in self.functions.values() for v in f.variables)]
        self.shared = [variable for variable in everywhere if variable.space == "shared"]
        if any(variable.size == 0 for variable in self.shared):
            raise UnsupportedError(1, "dynamic shared memory: its size is unknown here")
        self.layouts = {
            "globals": Layout.of([v for v in module.variables if v.space == "global"]),
            "constants": Layout.of([v for v in module.variables if v.space == "const"]),
        }

    def lines(self) -> list[str]:
        functions = [FunctionWriter(function, self) for function in self.functions.values()]
        entries = [FunctionWriter(function, self) for function in self.entries]
        lines = ["namespace ptx {", ""]
        for name, layout in self.layouts.items():
            lines += self.memory(name, layout)
        lines += [*(f"{writer.signature()};" for writer in functions), ""]
        for writer in (*functions, *entries):
            lines += writer.lines()
        return [*lines, "} // namespace ptx"]

    @staticmethod
    def memory(name: str, layout: Layout) -> list[str]:
        """Return the definition of all module variables of a state space."""
        what = {"globals": "module", "constants": "constant"}[name]
        if not layout.variables:
            return [f'[[maybe_unused]] static const Segment {name}{{"{what}", nullptr, nullptr, 0, nullptr, 0}};', ""]
        numbers = ", ".join(map(str, layout.data()))
        segment = f'{{"{what}", {name}_bytes, nullptr, {layout.size}, {name}_variables, {len(layout.variables)}}}'
        return [
            f"alignas(256) static unsigned char {name}_bytes[] = {{{numbers}}};",
            layout.table(f"{name}_variables"),
            f"[[maybe_unused]] static const Segment {name}{segment};",
            "",
        ]


def translate(ptx: str, source: str) -> str:
    heading = [
        f"// {source}, translated by ptx/translator.py",
        '#include "model/machine.h"',
        '#include "ptx/runtime.h"',
        "",
    ]
    return "\n".join([*heading, *ModuleWriter(parse(ptx)).lines(), ""])


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: python -m cuda_model.ptx.translator kernels.ptx kernels.cpp", file=sys.stderr)
        return 1
    source, result = map(Path, arguments)
    try:
        result.write_text(translate(source.read_text(), source.name))
    except UnsupportedError as error:
        print(f"translator: {source}:{error.line}: unsupported: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
