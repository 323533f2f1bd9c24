"""Expected results of the instructions of cases.cu, by the PTX ISA's definitions, in Python integers and fractions.

They have not been compared with a GPU.
"""

from __future__ import annotations

import functools
import math
import operator
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

SOURCE = (Path(__file__).parent / "cases.cu").read_text()


# ---- Operands
INTEGERS = [
    0, 1, 2, 3, 7, 8, 31, 32, 33, 40, 63, 64, 65, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x3210, 0x7654,
    0xFEDC98BA, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 2**32, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
    0x8000000000000001, 0xFFFFFFFFFFFFFFFF, 0xDEADBEEFCAFEF00D, 0x0123456789ABCDEF, 2**53 + 1, 0xFFFFFF7FFFFFFFFF,
]  # fmt: skip
NUMBERS = [
    0.0, -0.0, 0.25, 0.5, -0.5, 0.75, 1.0, -1.0, 1.5, 2.5, -2.5, 3.0, 1 / 3, -0.1, 1e10, -3e9, 127.5, 128.0, 255.5,
    -128.5, 32767.5, 65536.0, 2147483647.5, 2147483648.0, -2147483648.5, 4294967295.5, 8388607.5, 9.3e18, -9.3e18,
    1.9e19, 16777217.0, 1e-40, 1.5e-45, -1e-45, 1e-38, 1e38, 3.4028235e38, -3.4028236e38, 3.5e38, math.inf,
    -math.inf, math.nan,
]  # fmt: skip
DOUBLES = [5e-324, -5e-324, 1e-310, 2.2250738585072014e-308, 1.7976931348623157e308, 1 + 2**-52, 1 + 2**-24, 1 + 2**-23]
ODD_BITS = [0x7F800001, 0xFFC12345, 0x3F800001, 0x00800000, 0x7FF0000000000001, 0xFFF8000000012345]


@functools.cache
def rows():
    with np.errstate(all="ignore"):
        singles = [int(x) for x in np.array(NUMBERS, np.float32).view(np.uint32)]
    doubles = [int(x) for x in np.array(NUMBERS + DOUBLES).view(np.uint64)]
    found = []
    for values in (INTEGERS, singles + ODD_BITS[:4], doubles + ODD_BITS[4:]):
        pairs = [(a, b) for a in values for b in values]
        found += [(a, b, values[(5 * i + 3) % len(values)]) for i, (a, b) in enumerate(pairs)]
    # Start and length of bit fields, independent of a and b.
    found += [(a, INTEGERS[i], INTEGERS[j]) for a in INTEGERS[-8:] for i in range(18) for j in range(18)]
    return found[: len(found) // 2 * 2]  # cases.cu reads pairs of rows


# ---- Floating point by the definition
PRECISION = {"f32": (24, -126, 127), "f64": (53, -1022, 1023)}
TO_WHOLE = {"n": round, "z": math.trunc, "m": math.floor, "p": math.ceil}


def is_special(*values):
    return not all(map(math.isfinite, values))


def rounded(exact, kind, mode="n"):
    """Round a Fraction that isn't 0 to f32 or f64."""
    digits, lowest, highest = PRECISION[kind]
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, lowest) - digits + 1)
    count = TO_WHOLE[mode](exact / unit)
    largest = (2**digits - 1) * Fraction(2) ** (highest - digits + 1)
    sign = -1 if exact < 0 else 1
    if abs(count * unit) > largest:
        towards_zero = mode == "z" or mode == ("m" if exact > 0 else "p")
        return sign * (float(largest) if towards_zero else math.inf)
    return math.copysign(float(count * unit), sign)


def rounded_or_zero(exact, kind, zero):
    return rounded(exact, kind) if exact else zero


def float_sum(kind, sign):
    def add(a, b):
        b *= sign
        if is_special(a, b):
            return a + b
        return rounded_or_zero(Fraction(a) + Fraction(b), kind, a + b)

    return add


def float_product(kind):
    def multiply(a, b):
        return a * b if is_special(a, b) else rounded_or_zero(Fraction(a) * Fraction(b), kind, a * b)

    return multiply


def float_quotient(kind):
    def divide(a, b):
        if b == 0 or is_special(a, b):
            with np.errstate(all="ignore"):
                return float(np.float64(a) / np.float64(b))
        return rounded_or_zero(Fraction(a) / Fraction(b), kind, a / b)

    return divide


def float_fma(kind):
    def fma(a, b, c):
        if is_special(a, b):
            return a * b + c
        if is_special(c):
            return c
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        return rounded_or_zero(exact, kind, a * b + c if 0 in (a, b) else 0.0)

    return fma


def float_root(a):
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.float64(a)))


def single_root(a):
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.float32(a)))


def smaller(a, b):
    """PTX min: prefers a number to NaN, and -0 to +0."""
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    return min((a, math.copysign(1, a)), (b, math.copysign(1, b)))[0]


def larger(a, b):
    return -smaller(-a, -b)


def unit(x):
    return 0.0 if math.isnan(x) else min(max(x, 0.0), 1.0) + 0.0


def whole(mode):
    def to_whole(x):
        return x if is_special(x) else math.copysign(float(TO_WHOLE[mode](x)), x)

    return to_whole


# ---- Integers by the definition
def truncated_quotient(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def clamp(bits, signed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return lambda x: min(max(x, low), high)


def integer_from(kind, source, mode):
    """Return cvt from a float: NaN gives 0, or the lowest signed number if either type has 64 bits."""
    bits = int(kind[1:])
    for_nan = 0 if source == "f32" and bits < 64 else 2 ** (bits - 1)

    def convert(x):
        if math.isnan(x):
            return for_nan
        exact = TO_WHOLE[mode](x) if math.isfinite(x) else int(math.copysign(2**70, x))
        return clamp(bits, kind[0] == "s")(exact)

    return convert


def float_from(kind, mode):
    def convert(x):
        return x if x == 0 or (isinstance(x, float) and is_special(x)) else rounded(Fraction(x), kind, mode)

    return convert


def bit_field(bits, signed):
    def extract(a, start, length):
        start, length = start & 255, length & 255
        sign = a >> min(start + length - 1, bits - 1) & 1 if signed and length else 0
        taken = [a >> start + i & 1 if i < length and start + i < bits else sign for i in range(bits)]
        return sum(bit << i for i, bit in enumerate(taken))

    return extract


def insert(bits, into):
    def insert_field(a, start, length):
        start, length, result = start & 255, length & 255, into
        for i in range(min(length, max(bits - start, 0))):
            result = result & ~(1 << start + i) | (a >> i & 1) << start + i
        return result

    return insert_field


def highest(bits, shift_amount=False):
    """Return bfind: the highest bit that differs from the sign."""

    def find(a):
        position = (a if a >= 0 else ~a).bit_length() - 1
        return -1 if position < 0 else bits - 1 - position if shift_amount else position

    return find


def permute(a, b, selectors):
    data, result = b << 32 | a, 0
    for i in range(4):
        selector = selectors >> 4 * i & 15
        byte = data >> 8 * (selector & 7) & 255
        result |= (255 * (byte >> 7) if selector & 8 else byte) << 8 * i
    return result


def lop3(table):
    def combine(a, b, c):
        row = [(a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1 for i in range(32)]
        return sum((table >> entry & 1) << i for i, entry in enumerate(row))

    return combine


def shifted(bits, left=False):
    if left:
        return lambda a, n: a << n if n < bits else 0
    return lambda a, n: a >> min(n, bits)


def funnel(left, clamp_at):
    def shift(a, b, n):
        n = min(n, 32) if clamp_at else n % 32
        return (b << 32 | a) << n >> 32 if left else (b << 32 | a) >> n

    return shift


# ---- Instructions: type of the result, types of the operands, function
def identity(a):
    return a


CASES = {
    "add_u16": ("u16 u16 u16", operator.add),
    "add_s32": ("s32 s32 s32", operator.add),
    "add_sat_s32": ("s32 s32 s32", lambda a, b: clamp(32, True)(a + b)),
    "add_s64": ("s64 s64 s64", operator.add),
    "sub_s16": ("s16 s16 s16", operator.sub),
    "sub_s32": ("s32 s32 s32", operator.sub),
    "sub_sat_s32": ("s32 s32 s32", lambda a, b: clamp(32, True)(a - b)),
    "sub_u64": ("u64 u64 u64", operator.sub),
    "mul_lo_u16": ("u16 u16 u16", operator.mul),
    "mul_hi_s16": ("s16 s16 s16", lambda a, b: a * b >> 16),
    "mul_wide_s16": ("s32 s16 s16", operator.mul),
    "mul_wide_u16": ("u32 u16 u16", operator.mul),
    "mul_lo_s32": ("s32 s32 s32", operator.mul),
    "mul_hi_s32": ("s32 s32 s32", lambda a, b: a * b >> 32),
    "mul_hi_u32": ("u32 u32 u32", lambda a, b: a * b >> 32),
    "mul_wide_s32": ("s64 s32 s32", operator.mul),
    "mul_wide_u32": ("u64 u32 u32", operator.mul),
    "mul_lo_s64": ("s64 s64 s64", operator.mul),
    "mul_hi_s64": ("s64 s64 s64", lambda a, b: a * b >> 64),
    "mul_hi_u64": ("u64 u64 u64", lambda a, b: a * b >> 64),
    "mad_lo_s32": ("s32 s32 s32 s32", lambda a, b, c: a * b + c),
    "mad_hi_u32": ("u32 u32 u32 u32", lambda a, b, c: (a * b >> 32) + c),
    "mad_wide_s32": ("s64 s32 s32 s64", lambda a, b, c: a * b + c),
    "mad_wide_u32": ("u64 u32 u32 u64", lambda a, b, c: a * b + c),
    "mad_lo_u64": ("u64 u64 u64 u64", lambda a, b, c: a * b + c),
    "sad_s32": ("s32 s32 s32 s32", lambda a, b, c: c + abs(a - b)),
    "sad_u64": ("u64 u64 u64 u64", lambda a, b, c: c + abs(a - b)),
    "div_s32": ("s32 s32 s32", lambda a, b: truncated_quotient(a, b | 1)),
    "div_u32": ("u32 u32 u32", lambda a, b: a // (b | 1)),
    "div_s64": ("s64 s64 s64", lambda a, b: truncated_quotient(a, b | 1)),
    "rem_s32": ("s32 s32 s32", lambda a, b: a - truncated_quotient(a, b | 1) * (b | 1)),
    "rem_u64": ("u64 u64 u64", lambda a, b: a % (b | 1)),
    "abs_s32": ("s32 s32", abs),
    "abs_s64": ("s64 s64", abs),
    "neg_s16": ("s16 s16", operator.neg),
    "neg_s32": ("s32 s32", operator.neg),
    "min_s16": ("s16 s16 s16", min),
    "min_s32": ("s32 s32 s32", min),
    "min_u32": ("u32 u32 u32", min),
    "max_s64": ("s64 s64 s64", max),
    "max_u64": ("u64 u64 u64", max),
    "and_b32": ("u32 u32 u32", operator.and_),
    "or_b16": ("u16 u16 u16", operator.or_),
    "xor_b64": ("u64 u64 u64", operator.xor),
    "not_b16": ("u16 u16", operator.invert),
    "not_b64": ("u64 u64", operator.invert),
    "cnot_b32": ("u32 u32", operator.not_),
    "shl_b16": ("u16 u16 u32", shifted(16, left=True)),
    "shl_b32": ("u32 u32 u32", shifted(32, left=True)),
    "shl_b64": ("u64 u64 u32", shifted(64, left=True)),
    "shr_u16": ("u16 u16 u32", shifted(16)),
    "shr_s16": ("s16 s16 u32", shifted(16)),
    "shr_u32": ("u32 u32 u32", shifted(32)),
    "shr_s32": ("s32 s32 u32", shifted(32)),
    "shr_b64": ("u64 u64 u32", shifted(64)),
    "shr_s64": ("s64 s64 u32", shifted(64)),
    "shf_l_wrap": ("u32 u32 u32 u32", funnel(left=True, clamp_at=False)),
    "shf_l_clamp": ("u32 u32 u32 u32", funnel(left=True, clamp_at=True)),
    "shf_r_wrap": ("u32 u32 u32 u32", funnel(left=False, clamp_at=False)),
    "shf_r_clamp": ("u32 u32 u32 u32", funnel(left=False, clamp_at=True)),
    "popc_b32": ("u32 u32", lambda a: bin(a).count("1")),
    "popc_b64": ("u32 u64", lambda a: bin(a).count("1")),
    "clz_b32": ("u32 u32", lambda a: 32 - a.bit_length()),
    "clz_b64": ("u32 u64", lambda a: 64 - a.bit_length()),
    "brev_b32": ("u32 u32", lambda a: int(f"{a:032b}"[::-1], 2)),
    "brev_b64": ("u64 u64", lambda a: int(f"{a:064b}"[::-1], 2)),
    "bfind_u32": ("u32 u32", highest(32)),
    "bfind_s32": ("u32 s32", highest(32)),
    "bfind_s64": ("u32 s64", highest(64)),
    "bfind_shiftamt_u64": ("u32 u64", highest(64, shift_amount=True)),
    "bfe_u32": ("u32 u32 u32 u32", bit_field(32, signed=False)),
    "bfe_s32": ("u32 u32 u32 u32", bit_field(32, signed=True)),
    "bfe_u64": ("u64 u64 u32 u32", bit_field(64, signed=False)),
    "bfe_s64": ("u64 u64 u32 u32", bit_field(64, signed=True)),
    "bfi_b32": ("u32 u32 u32 u32", insert(32, 0x12345678)),
    "bfi_b64": ("u64 u64 u32 u32", insert(64, 0x123456789ABCDEF0)),
    "prmt_b32": ("u32 u32 u32 u32", permute),
    "lop3_96": ("u32 u32 u32 u32", lop3(0x96)),
    "lop3_1b": ("u32 u32 u32 u32", lop3(0x1B)),
    "add_sat_f32": ("f32 f32 f32", lambda a, b: unit(float_sum("f32", 1)(a, b))),
    "min_nan_f32": ("f32 f32 f32", lambda a, b: math.nan if a != a or b != b else smaller(a, b)),
    "max_nan_f32": ("f32 f32 f32", lambda a, b: math.nan if a != a or b != b else larger(a, b)),
    "sqrt_f32": ("f32 f32", single_root),
    "sqrt_f64": ("f64 f64", float_root),
    "setp_lo_u32": ("pred u32 u32", operator.lt),
    "setp_ls_u32": ("pred u32 u32", operator.le),
    "setp_hi_u64": ("pred u64 u64", operator.gt),
    "setp_hs_u64": ("pred u64 u64", operator.ge),
    "setp_eq_b64": ("pred u64 u64", operator.eq),
    "setp_and": ("pred s32 s32 s32", lambda a, b, c: a < b and b < c),
    "setp_or_not": ("pred s32 s32 s32", lambda a, b, c: a < b or not b < c),
    "setp_xor": ("pred s32 s32 s32", lambda a, b, c: (a < b) != (b < c)),
    "setp_opposite": ("pred s32 s32 s32", lambda a, b, c: not a < b and b < c),
    "and_pred": ("pred s32 s32 s32", lambda a, b, c: ((a < b) != (not b < c)) and not b < c),
    "set_u32": ("u32 f32 f32", lambda a, b: 0 if a <= b else -1),
    "set_f32": ("f32 u32 u32", lambda a, b: float(a >= b)),
    "slct_s32": ("u32 u32 u32 s32", lambda a, b, c: a if c >= 0 else b),
    "slct_f32": ("u64 u64 u64 f32", lambda a, b, c: a if c >= 0 else b),
    "predicated": ("u32 u32 u32", lambda a, b: 2 if a > b else 5),
    "scoped_labels": ("u32 u32 u32", lambda a, b: 3 if a > b else 42),
    "branch_by_index": ("u32 u32", lambda a: (1, 2, 1, 7)[a & 3]),
    "mov_pack": ("u64 u32 u32", lambda a, b: b << 32 | a),
    "mov_unpack": ("u32 u64", lambda a: a >> 32),
    "mov_unpack_sink": ("u32 u64", identity),
    "mov_pack_four": ("u64 u16 u16 u16", lambda a, b, c: a << 48 | c << 32 | b << 16 | a),
    "mov_literals": ("f32", lambda: 0.75),
    # Atomics: twice the old value plus the new value.
    "atom_add_u32": ("u64 u32 u32", lambda a, b: 2 * a + (a + b) % 2**32),
    "atom_add_u64": ("u64 u64 u64", lambda a, b: 3 * a + b),
    "atom_min_s32": ("u64 s32 s32", lambda a, b: 2 * (a % 2**32) + min(a, b) % 2**32),
    "atom_max_s64": ("u64 s64 s64", lambda a, b: 2 * a + max(a, b)),
    "atom_min_u64": ("u64 u64 u64", lambda a, b: 2 * a + min(a, b)),
    "atom_max_u32": ("u64 u32 u32", lambda a, b: 2 * a + max(a, b)),
    "atom_and_b32": ("u64 u32 u32", lambda a, b: 2 * a + (a & b)),
    "atom_or_b64": ("u64 u64 u64", lambda a, b: 2 * a + (a | b)),
    "atom_xor_b32": ("u64 u32 u32", lambda a, b: 2 * a + (a ^ b)),
    "atom_exch_b64": ("u64 u64 u64", lambda a, b: 2 * a + b),
    "atom_cas_b32": ("u64 u32 u32 u32", lambda a, b, c: 2 * a + (c if a == b else a)),
    "atom_cas_same_b64": ("u64 u64 u64 u64", lambda a, _, c: 2 * a + c),
    "atom_inc_u32": ("u64 u32 u32", lambda a, b: 2 * a + (0 if a >= b else a + 1)),
    "atom_dec_u32": ("u64 u32 u32", lambda a, b: 2 * a + (b if a == 0 or a > b else a - 1)),
    "red_add_u64": ("u64 u64 u64", operator.add),
    "red_xor_b32": ("u64 u32 u32", operator.xor),
}

for kind in ("f32", "f64"):
    as_bits, sign = f"u{kind[1:]}", 2 ** (int(kind[1:]) - 1)
    CASES |= {
        f"add_{kind}": (f"{kind} {kind} {kind}", float_sum(kind, 1)),
        f"sub_{kind}": (f"{kind} {kind} {kind}", float_sum(kind, -1)),
        f"mul_{kind}": (f"{kind} {kind} {kind}", float_product(kind)),
        f"div_{kind}": (f"{kind} {kind} {kind}", float_quotient(kind)),
        f"rcp_{kind}": (f"{kind} {kind}", functools.partial(float_quotient(kind), 1.0)),
        f"fma_{kind}": (f"{kind} {kind} {kind} {kind}", float_fma(kind)),
        f"min_{kind}": (f"{kind} {kind} {kind}", smaller),
        f"max_{kind}": (f"{kind} {kind} {kind}", larger),
        f"abs_{kind}": (f"{as_bits} {as_bits}", lambda a, sign=sign: a & ~sign),
        f"neg_{kind}": (f"{as_bits} {as_bits}", lambda a, sign=sign: a ^ sign),
        f"copysign_{kind}": (f"{as_bits} {as_bits} {as_bits}", lambda a, b, sign=sign: a & sign | b & ~sign),
    }

ORDERED = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
for name, compare in ORDERED.items():
    for kind in ("s16", "s32", "u32", "s64", "u64"):
        CASES[f"setp_{name}_{kind}"] = (f"pred {kind} {kind}", compare)
    for kind in ("f32", "f64"):
        for suffix, for_nan in (("", False), ("u", True)):
            CASES[f"setp_{name}{suffix}_{kind}"] = (
                f"pred {kind} {kind}",
                lambda a, b, compare=compare, for_nan=for_nan: for_nan if a != a or b != b else compare(a, b),
            )
for kind in ("f32", "f64"):
    CASES[f"setp_num_{kind}"] = (f"pred {kind} {kind}", lambda a, b: a == a and b == b)
    CASES[f"setp_nan_{kind}"] = (f"pred {kind} {kind}", lambda a, b: a != a or b != b)

for name in re.findall(r"^WIDENING\((\w+), \w+, (\w+), \w+\)", SOURCE, re.MULTILINE):
    CASES["cvt_{}_{}".format(*name)] = (" ".join(name), identity)


def conversions():
    """Return mode, result type and source type of the conversions of cases.cu, several modes a group."""
    pattern = r"^(CONVERSION|ROUNDINGS|ROUNDINGS_TO_WHOLE)\((?:(\w+), )??(\w+), \w+, (\w+), \w+\)$"
    for group, mode, to, source in re.findall(pattern, SOURCE, re.MULTILINE):
        modes = {"ROUNDINGS": ROUNDINGS, "ROUNDINGS_TO_WHOLE": [f"{mode}i" for mode in ROUNDINGS]}
        for each in modes.get(group, [mode]):
            yield each, to, source


ROUNDINGS = ["rn", "rz", "rm", "rp"]
for mode, to, source in conversions():
    if mode == "sat":
        function = unit if to == "f32" else clamp(int(to[1:]), to[0] == "s")
    elif to[0] != "f":
        function = integer_from(to, source, mode[1])
    elif mode.endswith("i"):
        function = whole(mode[1])
    else:
        function = float_from(to, mode[1])
    CASES[f"cvt_{mode}_{to}_{source}"] = (f"{to} {source}", function)


# ---- Warp operations; the value of a thread is its index in the block
def shuffle(inside, source):
    return lambda t, _, b: source(t, b[t]) if inside(t % 32, b[t]) else 0xFFFF


WARP_CASES = {
    "shfl_up": shuffle(lambda lane, _: lane >= 3, lambda t, _: t - 3),
    "shfl_up_8": shuffle(lambda lane, _: lane % 8 >= 3, lambda t, _: t - 3),
    "shfl_down": shuffle(lambda lane, _: lane < 24, lambda t, _: t + 8),  # by 40, of which five bits count
    "shfl_down_8": shuffle(lambda lane, _: lane % 8 < 3, lambda t, _: t + 5),
    "shfl_bfly": shuffle(lambda *_: True, lambda t, _: t ^ 17),
    "shfl_bfly_8": shuffle(lambda lane, _: lane ^ 12 <= lane | 7, lambda t, _: t ^ 12),  # only up is out of bounds
    "shfl_idx": shuffle(lambda *_: True, lambda t, index: t - t % 32 + index % 32),
    "shfl_idx_8": shuffle(lambda *_: True, lambda t, index: t - t % 8 + index % 8),
    "match_any": lambda t, a, _: sum((a[t - t % 32 + i] ^ a[t]) % 4 == 0 and 1 << i for i in range(32)),
    "match_all": lambda *_: 0xFFFFFFFF,
    "redux_add": lambda t, *_: sum(range(t - t % 32, t - t % 32 + 32)),
    "redux_min": lambda t, a, _: min(decoded("s32", x) for x in a[t - t % 32 :][:32]) % 2**32,
    "vote_uni": lambda t, *_: t < 32,
    "vote_ballot": lambda t, *_: 0 if t < 32 else 0xFFFFFF00,
    "lane_masks": lambda t, *_: (0xFFFFFFFF + t % 32) % 2**32,
    "own_lane_active": lambda *_: 1,
}


# ---- Values as bits
def decoded(kind, bits):
    if kind[0] == "f":
        return struct.unpack("<f", struct.pack("<I", bits % 2**32))[0] if kind == "f32" else (
            struct.unpack("<d", struct.pack("<Q", bits))[0])  # fmt: skip
    width = int(kind[1:])
    value = bits % 2**width
    return value - 2**width if kind[0] == "s" and value >> width - 1 else value


def encoded(kind, value):
    """Return a result as cases.cu stores it; a register has at least 16 bits, nvcc gives bytes 32."""
    if kind == "pred":
        return int(value)
    if kind == "f32":
        return 0x7FFFFFFF if math.isnan(value) else struct.unpack("<I", struct.pack("<f", value))[0]
    if kind == "f64":
        return ANY_NAN if math.isnan(value) else struct.unpack("<Q", struct.pack("<d", value))[0]
    width = int(kind[1:])
    return decoded(kind, int(value)) % 2 ** (32 if width == 8 else width)


ANY_NAN = 0x7FF8000000000000  # the ISA does not specify the NaN of double precision


@functools.cache
def expected(name):
    """Return the expected results of an instruction for all rows."""
    (result, *kinds), function = CASES[name][0].split(), CASES[name][1]

    @functools.cache
    def one(*bits):
        return encoded(result, function(*map(decoded, kinds, bits)))

    return np.array([one(*row[: len(kinds)]) for row in rows()], np.uint64)
