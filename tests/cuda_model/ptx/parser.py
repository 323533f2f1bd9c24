"""Parser of the PTX that nvcc emits. Names are made unique: each has one meaning in a function."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

BITS = {"pred": 1} | {f"{kind}{width}": width for kind in "bus" for width in (8, 16, 32, 64)} | {"f32": 32, "f64": 64}
SPACES = ("global", "const", "shared", "local", "param")
LINKING = (".visible", ".extern", ".weak", ".common")
TOKEN = re.compile(
    r"""(?P<blank> \s+ | //[^\n]* | /\*.*?\*/ )
      | (?P<string> "(?:\\.|[^"\\])*" )
      | (?P<word> (?:[.%$\w] | ::(?=\w))+ )
      | (?P<mark> [][(){};:,@!|+\-=<>] )""",
    re.VERBOSE | re.DOTALL,
)


class UnsupportedError(Exception):
    """PTX that the translator does not support, or rejects on purpose."""

    def __init__(self, line: int, what: str):
        super().__init__(what)
        self.line = line


@dataclass(frozen=True)
class Token:
    text: str
    line: int


@dataclass(frozen=True)
class Value:
    """A register, a literal, a symbol with an offset, or the target of a branch or call."""

    name: str
    offset: int = 0
    negated: bool = False


@dataclass(frozen=True)
class Address:
    base: str
    offset: int


@dataclass(frozen=True)
class Group:
    """{a, b} of a vector, (a, b) of a call, or a|b of two results."""

    items: tuple[Value, ...]


Operand = Value | Address | Group


@dataclass
class Instruction:
    line: int
    opcode: str
    modifiers: tuple[str, ...]
    operands: list[Operand]
    predicate: Value | None

    @property
    def mnemonic(self) -> str:
        return ".".join((self.opcode, *self.modifiers))


@dataclass(frozen=True)
class Label:
    name: str


@dataclass(frozen=True)
class Variable:
    space: str
    name: str
    align: int
    size: int  # in bytes; 0 if set by the launch
    data: bytes = b""


@dataclass
class Function:
    name: str
    line: int
    is_entry: bool
    results: list[Variable]
    parameters: list[Variable]
    registers: dict[str, str] = field(default_factory=dict)  # type by name, of the used registers
    variables: list[Variable] = field(default_factory=list)
    body: list[Instruction | Label] = field(default_factory=list)
    branch_tables: dict[str, Instruction] = field(default_factory=dict)  # .branchtargets with their labels


@dataclass
class Module:
    variables: list[Variable]
    functions: list[Function]


def tokens_of(text: str) -> Iterator[Token]:
    line, position = 1, 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise UnsupportedError(line, f"character {text[position]!r}")
        if match.lastgroup != "blank":
            yield Token(match[0], line)
        line += match[0].count("\n")
        position = match.end()


def integer_of(text: str) -> int | None:
    """Return the value of an integer literal in any of PTX's bases, or None."""
    match = re.fullmatch(r"(-?)(?:0[xX]([\da-fA-F]+)|0[bB]([01]+)|(0[0-7]*)|([1-9]\d*))U?", text)
    if match is None:
        return None
    for digits, base in zip(match.groups()[1:], (16, 2, 8, 10), strict=True):
        if digits:
            return int(match[1] + digits, base)
    return None


def float_bits_of(text: str) -> int | None:
    """Return the bits of a literal like 0f3F800000 or 0d3FF0000000000000, or None."""
    match = re.fullmatch(r"0[fF]([\da-fA-F]{8})|0[dD]([\da-fA-F]{16})", text)
    return int(match[1] or match[2], 16) if match else None


class Scope:
    """The names of a {...} block. nvcc reuses names in nested blocks, so each block makes its own unique."""

    def __init__(self, number: int, parent: Scope | None):
        self.number, self.parent = number, parent
        self.names: dict[str, str] = {}

    def declare(self, name: str, line: int) -> str:
        identifier = name.replace("%", "r_").replace("$", "_")  # %f32 must not look like the type f32
        if self.number:
            identifier += f"_{self.number}"
        if name in self.names or identifier in self.names.values():
            raise UnsupportedError(line, f"{name} declared twice")
        self.names[name] = identifier
        return identifier

    def find(self, name: str) -> str:
        if name in self.names:
            return self.names[name]
        return self.parent.find(name) if self.parent else name


class Parser:
    def __init__(self, text: str):
        self.tokens = list(tokens_of(text))
        self.position = 0

    # ---- Tokens
    def peek(self, ahead: int = 0) -> str:
        position = self.position + ahead
        return self.tokens[position].text if position < len(self.tokens) else ""

    @property
    def line(self) -> int:
        return self.tokens[min(self.position, len(self.tokens) - 1)].line if self.tokens else 1

    def take(self) -> str:
        self.position += 1
        return self.peek(-1)

    def accept(self, text: str) -> bool:
        if self.peek() != text:
            return False
        self.position += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise UnsupportedError(self.line, f"{self.peek()!r} where {text!r} should be")

    def skip_line(self) -> None:
        line = self.line
        while self.position < len(self.tokens) and self.line == line:
            self.position += 1

    def skip_braces(self) -> None:
        while not self.accept("}"):
            self.position += 1

    def integer(self) -> int:
        text = ("-" if self.accept("-") else "") + self.take()
        value = integer_of(text)
        if value is None:
            raise UnsupportedError(self.line, f"{text!r} where an integer should be")
        return value

    def comma_separated(self, end: str) -> Iterator[None]:
        """Yield once per item of a list, consuming commas and the end token; the caller consumes the items."""
        while not self.accept(end):
            yield
            if self.peek() != end:
                self.expect(",")

    # ---- The module
    def module(self) -> Module:
        module = Module([], [])
        while self.position < len(self.tokens):
            self.top_level(module)
        return module

    def top_level(self, module: Module) -> None:
        word = self.take()
        if word in (".version", ".target", ".address_size", ".file"):
            self.position -= 1
            self.skip_line()
        elif word == ".section":
            self.skip_braces()
        elif word in (".entry", ".func"):
            function = FunctionParser(self, word == ".entry").function()
            if function:
                module.functions.append(function)
        elif word[1:] in SPACES:
            module.variables.append(self.variable(word[1:]))
            self.expect(";")
        elif word not in LINKING:
            raise UnsupportedError(self.tokens[self.position - 1].line, f"{word} outside functions")

    # ---- Declarations
    def variable(self, space: str) -> Variable:
        """Parse the declaration after .shared, .param etc., up to the semicolon."""
        align, kind = 0, ""
        while self.peek().startswith("."):
            word = self.take()
            if word == ".align":
                align = self.integer()
            elif word[1:] in BITS:
                kind = word[1:]
            elif word not in (".ptr", *(f".{space}" for space in SPACES)):
                raise UnsupportedError(self.line, f"{word} in a declaration")
        if not kind:
            raise UnsupportedError(self.line, "a declaration without a type")
        name, width = self.take(), BITS[kind] // 8
        count = 1
        while self.accept("["):
            count *= 0 if self.peek() == "]" else self.integer()
            self.expect("]")
        data = self.initial_data(kind) if self.accept("=") else b""
        return Variable(space, name, align or width, count * width, data)

    def initial_data(self, kind: str) -> bytes:
        if not self.accept("{"):
            return self.initial_item(kind)
        return b"".join(self.initial_data(kind) for _ in self.comma_separated("}"))

    def initial_item(self, kind: str) -> bytes:
        text = ("-" if self.accept("-") else "") + self.take()
        bits = float_bits_of(text) if kind.startswith("f") else integer_of(text)
        if bits is None:
            raise UnsupportedError(self.line, f"initial value {text}")
        return struct.pack("<Q", bits % 2**64)[: BITS[kind] // 8]


class FunctionParser:
    def __init__(self, parser: Parser, is_entry: bool):
        self.parser = parser
        self.is_entry = is_entry
        self.scopes = 0
        self.register_types: dict[str, str] = {}
        self.unresolved: list[tuple[Instruction, Scope]] = []  # labels may follow the branches to them

    def function(self) -> Function | None:
        """Parse from after .entry or .func; None for a declaration without a body."""
        parser = self.parser
        results = self.parameters() if parser.peek() == "(" else []
        line, name = parser.line, parser.take()
        parameters = self.parameters() if parser.peek() == "(" else []
        while parser.peek() not in ("{", ";"):  # .maxntid etc.
            parser.take()
        if parser.take() == ";":
            return None
        function = Function(name, line, self.is_entry, results, parameters)
        self.block(function, self.new_scope(None))
        for instruction, scope in self.unresolved:
            self.resolve(function, instruction, scope)
        return function

    def new_scope(self, parent: Scope | None) -> Scope:
        self.scopes += 1
        return Scope(self.scopes - 1, parent)

    def parameters(self) -> list[Variable]:
        self.parser.expect("(")
        found = []
        for _ in self.parser.comma_separated(")"):
            self.parser.expect(".param")
            found.append(self.parser.variable("param"))
        return found

    # ---- Statements
    def block(self, function: Function, scope: Scope) -> None:
        """Parse up to and including the closing brace."""
        while not self.parser.accept("}"):
            self.statement(function, scope)

    def statement(self, function: Function, scope: Scope) -> None:
        parser = self.parser
        if parser.accept("{"):
            self.block(function, self.new_scope(scope))
        elif parser.accept(";"):
            pass
        elif parser.peek(1) == ":":
            self.label(function, scope)
        elif parser.peek().startswith("."):
            self.directive(function, scope)
        else:
            instruction = self.instruction()
            function.body.append(instruction)
            self.unresolved.append((instruction, scope))

    def label(self, function: Function, scope: Scope) -> None:
        parser = self.parser
        name = scope.declare(parser.take(), parser.line)
        parser.expect(":")
        if not parser.accept(".branchtargets"):
            function.body.append(Label(name))
            return
        targets = Instruction(parser.line, "branchtargets", (), [], None)
        targets.operands = [self.operand() for _ in parser.comma_separated(";")]
        self.unresolved.append((targets, scope))
        function.branch_tables[name] = targets

    def directive(self, function: Function, scope: Scope) -> None:
        parser = self.parser
        line, word = parser.line, parser.take()
        if word == ".loc":
            parser.position -= 1
            parser.skip_line()
        elif word == ".pragma":
            parser.take()
        elif word == ".reg":
            self.register_declaration(scope)
        elif word[1:] in SPACES:
            variable = parser.variable(word[1:])
            name = scope.declare(variable.name, line)
            function.variables.append(
                Variable(variable.space, name, variable.align, variable.size, variable.data),
            )
        else:
            raise UnsupportedError(line, word)

    def register_declaration(self, scope: Scope) -> None:
        parser = self.parser
        line, kind = parser.line, parser.take()[1:]
        if kind not in BITS:
            raise UnsupportedError(line, f"registers of type .{kind}")
        for _ in parser.comma_separated(";"):
            name = parser.take()
            names = [name]
            if parser.accept("<"):
                names = [f"{name}{i}" for i in range(parser.integer())]
                parser.expect(">")
            for each in names:
                self.register_types[scope.declare(each, line)] = kind

    def instruction(self) -> Instruction:
        parser = self.parser
        predicate = None
        if parser.accept("@"):
            negated = parser.accept("!")
            predicate = Value(parser.take(), negated=negated)
        line = parser.line
        opcode, *modifiers = parser.take().split(".")
        operands = [self.operand() for _ in parser.comma_separated(";")]
        return Instruction(line, opcode, tuple(modifiers), operands, predicate)

    # ---- Operands
    def operand(self) -> Operand:
        parser = self.parser
        if parser.accept("["):
            base = self.simple()
            parser.expect("]")
            return Address(base.name, base.offset)
        for start, end in (("{", "}"), ("(", ")")):
            if parser.accept(start):
                return Group(tuple(self.simple() for _ in parser.comma_separated(end)))
        first = self.simple()
        return Group((first, self.simple())) if parser.accept("|") else first

    def simple(self) -> Value:
        parser = self.parser
        negated = parser.accept("!")
        name = ("-" if parser.accept("-") else "") + parser.take()
        offset = 0
        if parser.peek() in ("+", "-"):
            sign = -1 if parser.take() == "-" else 1
            offset = sign * parser.integer()
        return Value(name, offset, negated)

    # ---- Names
    def resolve(self, function: Function, instruction: Instruction, scope: Scope) -> None:
        def name_of(name: str) -> str:
            found = scope.find(name)
            if found in self.register_types:
                function.registers[found] = self.register_types[found]
            return found

        def resolved(operand: Operand) -> Operand:
            if isinstance(operand, Group):
                return Group(tuple(Value(name_of(v.name), v.offset, v.negated) for v in operand.items))
            if isinstance(operand, Address):
                return Address(name_of(operand.base), operand.offset)
            return Value(name_of(operand.name), operand.offset, operand.negated)

        instruction.operands = [resolved(operand) for operand in instruction.operands]
        if instruction.predicate:
            instruction.predicate = Value(name_of(instruction.predicate.name), 0, instruction.predicate.negated)


def parse(text: str) -> Module:
    return Parser(text).module()
