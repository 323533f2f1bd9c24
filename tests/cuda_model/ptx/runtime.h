// PTX instructions in C++, bit for bit, on the execution model; used by the C++ that translator.py writes.
//
// A register is an unsigned integer of its PTX width, or a bool. as<T>() reads it as the instruction's type, set()
// writes it. Names and meaning follow the PTX ISA, version 9.0. Compile with -ffp-contract=off.
//
// Addresses: global memory, module variables and parameters have host addresses. A shared or local address is an
// offset; as a generic address it lies in a window that contains no host address.
#pragma once

#include "../model/machine.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace ptx {

using b8 = std::uint8_t;
using b16 = std::uint16_t;
using b32 = std::uint32_t;
using b64 = std::uint64_t;
using u8 = b8;
using u16 = b16;
using u32 = b32;
using u64 = b64;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
using f32 = float;
using f64 = double;
using pred = bool;

static_assert(std::numeric_limits<f32>::is_iec559 && std::numeric_limits<f64>::is_iec559);

// ---- Source positions, for messages.
struct Place {
    const char *kernel;
    int line; // in the PTX
};

struct Kernel {
    const char *name;
    constexpr Place operator()(int line) const {
        return {name, line};
    }
};

// ---- Registers.
template <std::size_t Size> struct BitsOf;
template <> struct BitsOf<1> {
    using Type = b8;
};
template <> struct BitsOf<2> {
    using Type = b16;
};
template <> struct BitsOf<4> {
    using Type = b32;
};
template <> struct BitsOf<8> {
    using Type = b64;
};
template <class T> using Bits = typename BitsOf<sizeof(T)>::Type;

template <class T> constexpr bool is_float = std::is_floating_point_v<T>;
template <class T> constexpr bool is_signed_integer = std::is_integral_v<T> && std::is_signed_v<T>;
template <class T> constexpr int width = 8 * static_cast<int>(sizeof(T));

// Initial value of a register.
struct Unset {
    template <class R> constexpr operator R() const {
        return static_cast<R>(0xa5a5a5a5a5a5a5a5u);
    }
};
inline constexpr Unset unset;

struct Ignored {}; // `_` among the results
inline Ignored ignored;

template <class T> constexpr T constant(b64 bits) {
    return std::bit_cast<T>(static_cast<Bits<T>>(bits));
}

template <class T, class R> constexpr T as(R reg) {
    static_assert(sizeof(T) == sizeof(R) && std::is_same_v<T, bool> == std::is_same_v<R, bool>);
    return std::bit_cast<T>(reg);
}

// For cvt and st, which may take the low bits of a wider register.
template <class T, class R> constexpr T low(R reg) {
    static_assert(sizeof(T) <= sizeof(R) && !std::is_same_v<R, bool>);
    return std::bit_cast<T>(static_cast<Bits<T>>(reg));
}

// A narrower result is sign- or zero-extended to the register, as by cvt and ld.
template <class R, class T> constexpr void set(R &reg, T value) {
    if constexpr (std::is_same_v<R, bool> || std::is_same_v<T, bool>) {
        static_assert(std::is_same_v<R, T>);
        reg = value;
    } else if constexpr (is_float<T>) {
        reg = as<R>(value);
    } else {
        static_assert(sizeof(R) >= sizeof(T));
        reg = static_cast<R>(value);
    }
}

template <class T> constexpr void set(Ignored &, T) {}

template <class R, class... Part> constexpr R pack(Part... parts) {
    R whole = 0;
    int shift = 0;
    ((whole |= static_cast<R>(parts) << shift, shift += width<Part>), ...);
    return whole;
}

template <class R, class... Part> constexpr void unpack(R whole, Part &...parts) {
    constexpr int each = width<R> / static_cast<int>(sizeof...(Part));
    int shift = 0;
    ((set(parts, static_cast<typename BitsOf<each / 8>::Type>(whole >> shift)), shift += each), ...);
}

// ---- Integers. Arithmetic wraps around, in an unsigned type that C++ doesn't promote to int.
template <class T> using Modular = std::conditional_t<sizeof(T) == 8, u64, u32>;
template <class T>
using Wide = std::conditional_t<std::is_signed_v<T>, std::conditional_t<sizeof(T) == 2, s32, s64>,
                                std::conditional_t<sizeof(T) == 2, u32, u64>>; // of 16 and 32 bits

// Single precision has one canonical NaN; see "Floating-Point Instructions". Double precision keeps the CPU's NaN.
inline f32 canonical(f32 x) {
    return x != x ? constant<f32>(0x7fffffff) : x;
}
inline f64 canonical(f64 x) {
    return x;
}

template <class T> T add(T a, T b) {
    if constexpr (is_float<T>)
        return canonical(a + b);
    else
        return static_cast<T>(static_cast<Modular<T>>(a) + static_cast<Modular<T>>(b));
}

template <class T> T sub(T a, T b) {
    if constexpr (is_float<T>)
        return canonical(a - b);
    else
        return static_cast<T>(static_cast<Modular<T>>(a) - static_cast<Modular<T>>(b));
}

template <class T> T mul(T a, T b) {
    return canonical(a * b);
}

template <class T> T mul_lo(T a, T b) {
    return static_cast<T>(static_cast<Modular<T>>(a) * static_cast<Modular<T>>(b));
}

template <class T> T mul_hi(T a, T b) {
    using Product = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((static_cast<Product>(a) * static_cast<Product>(b)) >> width<T>);
}

template <class T> Wide<T> mul_wide(T a, T b) {
    return mul_lo<Wide<T>>(a, b);
}

template <class T> T mad_lo(T a, T b, T c) {
    return add<T>(mul_lo(a, b), c);
}

template <class T> T mad_hi(T a, T b, T c) {
    return add<T>(mul_hi(a, b), c);
}

template <class T> Wide<T> mad_wide(T a, T b, Wide<T> c) {
    return add<Wide<T>>(mul_wide(a, b), c);
}

template <class T> T saturated(__int128 x) {
    return static_cast<T>(std::clamp<__int128>(x, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

template <class T> T add_sat(T a, T b) {
    return saturated<T>(static_cast<__int128>(a) + b);
}

template <class T> T sub_sat(T a, T b) {
    return saturated<T>(static_cast<__int128>(a) - b);
}

template <class T> T sad(T a, T b, T c) {
    return add(c, a < b ? sub(b, a) : sub(a, b));
}

// Division by zero is undefined in CUDA C++.
template <class T> T div(T a, T b, Place place) {
    if constexpr (is_float<T>) {
        return canonical(a / b);
    } else {
        if (b == 0)
            model::fail("%s: division by zero in line %d of the PTX", place.kernel, place.line);
        if (is_signed_integer<T> && b == static_cast<T>(-1))
            return sub<T>(0, a);
        return static_cast<T>(a / b);
    }
}

template <class T> T rem(T a, T b, Place place) {
    return sub(a, mul_lo(div(a, b, place), b));
}

template <class T> T neg(T a) {
    if constexpr (is_float<T>)
        return constant<T>(as<Bits<T>>(a) ^ (Bits<T>{1} << (width<T> - 1)));
    else
        return sub<T>(0, a);
}

template <class T> T abs(T a) {
    if constexpr (is_float<T>)
        return constant<T>(as<Bits<T>>(a) & (static_cast<Bits<T>>(-1) >> 1));
    else
        return a < 0 ? neg(a) : a;
}

template <class T> T min(T a, T b) {
    if constexpr (is_float<T>) {
        if (a != a || b != b)
            return a == a ? a : b == b ? b : canonical(a + b);
        if (a == b) // -0 is less than +0
            return std::signbit(a) ? a : b;
    }
    return a < b ? a : b;
}

template <class T> T max(T a, T b) {
    if constexpr (is_float<T>) {
        if (a != a || b != b)
            return a == a ? a : b == b ? b : canonical(a + b);
        if (a == b)
            return std::signbit(a) ? b : a;
    }
    return a < b ? b : a;
}

template <class T> T min_nan(T a, T b) {
    return a != a || b != b ? canonical(a + b) : min(a, b);
}

template <class T> T max_nan(T a, T b) {
    return a != a || b != b ? canonical(a + b) : max(a, b);
}

// ---- Bits.
template <class T> T bit_and(T a, T b) {
    return a & b;
}
template <class T> T bit_or(T a, T b) {
    return a | b;
}
template <class T> T bit_xor(T a, T b) {
    return a ^ b;
}
template <class T> T bit_not(T a) {
    if constexpr (std::is_same_v<T, bool>)
        return !a;
    else
        return static_cast<T>(~a);
}
template <class T> T cnot(T a) {
    return a == 0;
}

template <class T> T shl(T a, u32 n) {
    return n >= width<T> ? T{0} : static_cast<T>(static_cast<Modular<T>>(a) << n);
}

template <class T> T shr(T a, u32 n) {
    return static_cast<T>(a >> std::min<u32>(n, width<T> - 1) >> (n >= width<T> ? 1 : 0));
}

template <class T> u32 popc(T a) {
    return static_cast<u32>(std::popcount(a));
}

template <class T> u32 clz(T a) {
    return static_cast<u32>(std::countl_zero(a));
}

template <class T> T brev(T a) {
    T reversed = 0;
    for (int i = 0; i < width<T>; ++i)
        reversed = static_cast<T>(reversed << 1 | (a >> i & 1));
    return reversed;
}

// The highest bit that differs from the sign, or all ones.
template <class T> u32 bfind(T a) {
    const Bits<T> bits = static_cast<Bits<T>>(a < 0 ? ~a : a);
    return bits ? static_cast<u32>(width<T> - 1 - std::countl_zero(bits)) : ~0u;
}

template <class T> u32 bfind_shiftamt(T a) {
    const u32 position = bfind(a);
    return position == ~0u ? position : width<T> - 1 - position;
}

template <class T> T bfe(T a, u32 from, u32 length) {
    constexpr u32 last = width<T> - 1;
    from &= 255;
    length &= 255;
    if (length == 0)
        return 0;
    const u32 sign_position = std::min<u32>(from + length - 1, last);
    const bool sign = is_signed_integer<T> && (a >> sign_position & 1);
    const Bits<T> mask = length > last ? static_cast<Bits<T>>(-1) : static_cast<Bits<T>>((Bits<T>{1} << length) - 1);
    // Above the top bit the field is extended by its sign, not by zeros.
    const Bits<T> field = static_cast<Bits<T>>(is_signed_integer<T> ? shr<T>(a, from) : shr<Bits<T>>(a, from)) & mask;
    return static_cast<T>(sign ? field | ~mask : field);
}

template <class T> T bfi(T a, T into, u32 from, u32 length) {
    from &= 255;
    length &= 255;
    const T ones = length >= width<T> ? static_cast<T>(-1) : static_cast<T>((T{1} << length) - 1);
    const T mask = shl<T>(ones, from);
    return (shl<T>(a, from) & mask) | (into & ~mask);
}

inline b32 prmt(b32 a, b32 b, b32 selectors) {
    const b64 bytes = static_cast<b64>(b) << 32 | a;
    b32 result = 0;
    for (int i = 0; i < 4; ++i) {
        const b32 selector = selectors >> 4 * i & 15;
        b32 byte = static_cast<b32>(bytes >> 8 * (selector & 7)) & 255;
        if (selector & 8) // its sign, in all eight bits
            byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}

inline b32 lop3(b32 a, b32 b, b32 c, u32 table) {
    b32 result = 0;
    for (u32 row = 0; row < 8; ++row)
        if (table >> row & 1)
            result |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
    return result;
}

inline b32 shf_l(b32 a, b32 b, u32 n) { // n <= 32
    return static_cast<b32>(pack<b64>(a, b) << n >> 32);
}
inline b32 shf_r(b32 a, b32 b, u32 n) {
    return static_cast<b32>(pack<b64>(a, b) >> n);
}
inline b32 shf_l_clamp(b32 a, b32 b, u32 n) {
    return shf_l(a, b, std::min(n, 32u));
}
inline b32 shf_l_wrap(b32 a, b32 b, u32 n) {
    return shf_l(a, b, n & 31);
}
inline b32 shf_r_clamp(b32 a, b32 b, u32 n) {
    return shf_r(a, b, std::min(n, 32u));
}
inline b32 shf_r_wrap(b32 a, b32 b, u32 n) {
    return shf_r(a, b, n & 31);
}

// ---- Floating point.
template <class T> T fma(T a, T b, T c) {
    return canonical(std::fma(a, b, c));
}
template <class T> T sqrt(T a) {
    return canonical(std::sqrt(a));
}
template <class T> T rcp(T a) {
    return canonical(T{1} / a);
}

// .sat of a floating-point result; NaN becomes 0.
template <class T> T unit(T x) {
    return x > T{0} ? std::min(x, T{1}) : T{0};
}

template <class T> T copysign(T sign, T magnitude) {
    constexpr Bits<T> top = Bits<T>{1} << (width<T> - 1);
    return constant<T>((as<Bits<T>>(sign) & top) | (as<Bits<T>>(magnitude) & static_cast<Bits<T>>(~top)));
}

// ---- Comparisons. The plain ones are false where an operand is NaN, those with u are true.
template <class T> bool unordered(T a, T b) {
    return a != a || b != b;
}
template <class T> bool eq(T a, T b) {
    return a == b;
}
template <class T> bool ne(T a, T b) {
    return a != b && !unordered(a, b);
}
template <class T> bool lt(T a, T b) {
    return a < b;
}
template <class T> bool le(T a, T b) {
    return a <= b;
}
template <class T> bool gt(T a, T b) {
    return a > b;
}
template <class T> bool ge(T a, T b) {
    return a >= b;
}
template <class T> bool equ(T a, T b) {
    return a == b || unordered(a, b);
}
template <class T> bool neu(T a, T b) {
    return a != b;
}
template <class T> bool ltu(T a, T b) {
    return !(a >= b);
}
template <class T> bool leu(T a, T b) {
    return !(a > b);
}
template <class T> bool gtu(T a, T b) {
    return !(a <= b);
}
template <class T> bool geu(T a, T b) {
    return !(a < b);
}
template <class T> bool num(T a, T b) {
    return !unordered(a, b);
}
template <class T> bool nan(T a, T b) {
    return unordered(a, b);
}

// ---- Conversions.
enum class Round { none, rni, rzi, rmi, rpi, rn, rz, rm, rp };

template <Round round, class F> F to_whole(F x) {
    switch (round) {
    case Round::rni:
        return std::nearbyint(x); // to even: nothing here changes the rounding mode
    case Round::rzi:
        return std::trunc(x);
    case Round::rmi:
        return std::floor(x);
    case Round::rpi:
        return std::ceil(x);
    default:
        return x;
    }
}

// The neighbour of the exact value in the direction `round`. `nearest` is the rounded value: greater than the exact
// value (excess 1), less (-1) or equal (0).
template <Round round, class F> F directed(F nearest, int excess, bool negative) {
    constexpr F infinity = std::numeric_limits<F>::infinity();
    const bool down = round == Round::rm || (round == Round::rz && !negative);
    const bool up = round == Round::rp || (round == Round::rz && negative);
    if (excess > 0 && down)
        return std::nextafter(nearest, -infinity);
    if (excess < 0 && up)
        return std::nextafter(nearest, infinity);
    return nearest;
}

template <class I, Round round, class F> I float_to_integer(F x) {
    constexpr bool zero_for_nan = sizeof(F) < 8 && sizeof(I) < 8;
    if (x != x)
        return zero_for_nan ? I{0} : static_cast<I>(Bits<I>{1} << (width<I> - 1));
    const F end = std::ldexp(F{1}, std::numeric_limits<I>::digits);
    const F whole = to_whole<round>(x);
    if (whole >= end)
        return std::numeric_limits<I>::max();
    if (whole < (is_signed_integer<I> ? -end : F{0}))
        return std::numeric_limits<I>::min();
    return static_cast<I>(whole);
}

template <class F, Round round, class I> F integer_to_float(I x) {
    const F nearest = static_cast<F>(x);
    const auto exact = static_cast<__int128>(x), found = static_cast<__int128>(nearest);
    return directed<round>(nearest, (found > exact) - (found < exact), x < 0);
}

template <class To, Round round, class From> To float_to_float(From x) {
    if constexpr (sizeof(To) < sizeof(From)) {
        const To nearest = static_cast<To>(x);
        const From found = nearest;
        return canonical(directed<round>(nearest, (found > x) - (found < x), std::signbit(x)));
    } else {
        return canonical(static_cast<To>(to_whole<round>(x)));
    }
}

template <class To, Round round, bool sat, class From> To convert(From x) {
    if constexpr (is_float<To> && is_float<From>) {
        const To converted = float_to_float<To, round>(x);
        return sat ? unit(converted) : converted;
    } else if constexpr (is_float<To>) {
        const To converted = integer_to_float<To, round>(x);
        return sat ? unit(converted) : converted;
    } else if constexpr (is_float<From>) {
        return float_to_integer<To, round>(x);
    } else {
        return sat ? saturated<To>(x) : static_cast<To>(x);
    }
}

// ---- Memory of the variables of a module.

// The shadow of a variable is hidden from the race detector. Volatile: GCC could turn the loops into library calls,
// which ThreadSanitizer intercepts.
#ifdef __SANITIZE_THREAD__
#define PTX_UNWATCHED __attribute__((noinline, no_sanitize("thread")))
#else
#define PTX_UNWATCHED inline
#endif

PTX_UNWATCHED static bool all_written(const volatile unsigned char *written, std::size_t length) {
    bool all = true;
    for (std::size_t i = 0; i < length; ++i)
        all &= written[i] != 0;
    return all;
}

PTX_UNWATCHED static void set_written(volatile unsigned char *written, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i)
        written[i] = 1;
}

struct Variable {
    b32 offset, size;
};

enum class Access { read, write, update };

// Variables are separated by guards, so that an overrun of one is detected before it reaches the next.
struct Segment {
    const char *what;
    unsigned char *bytes;
    unsigned char *written; // shadow; null if the memory is initialised
    b64 size;
    const Variable *variables;
    std::size_t count;

    bool holds(b64 address) const {
        return address - reinterpret_cast<b64>(bytes) < size;
    }

    unsigned char *reach(b64 offset, std::size_t length, Access access, Place place) const {
        const bool inside = std::any_of(variables, variables + count, [&](Variable v) {
            return offset >= v.offset && offset - v.offset < v.size && v.size - (offset - v.offset) >= length;
        });
        if (!inside)
            fail("out of bounds", offset, length, access, place);
        if (offset % length != 0)
            fail("misaligned", offset, length, access, place);
        if (written && access != Access::write && !all_written(written + offset, length))
            fail("of bytes that nobody has written", offset, length, access, place);
        if (written && access != Access::read)
            set_written(written + offset, length);
        return bytes + offset;
    }

  private:
    [[noreturn]] void fail(const char *why, b64 offset, std::size_t length, Access access, Place place) const {
        const char *how = access == Access::read ? "read" : access == Access::write ? "write" : "atomic operation";
        model::fail("%s: %s %s in line %d of the PTX: %zu bytes at offset %lld of %s memory", place.kernel, how, why,
                    place.line, length, static_cast<long long>(offset), what);
    }
};

// ---- State of a thread besides its registers.
struct Thread {
    Segment shared, globals, constants;
    std::vector<unsigned char> local = {};
};

// The local memory of one call, filled with a poison value.
class LocalFrame {
  public:
    LocalFrame(Thread &thread, std::size_t size) : thread(thread), base(thread.local.size()) {
        thread.local.resize(base + size, 0xa5);
    }
    ~LocalFrame() {
        thread.local.resize(base);
    }
    LocalFrame(const LocalFrame &) = delete;
    LocalFrame &operator=(const LocalFrame &) = delete;
    b64 at(b64 offset) const {
        return base + offset;
    }

  private:
    Thread &thread;
    b64 base; // a multiple of 16, as every frame's size is
};

enum class Space { shared, local, global, constant, generic };

constexpr b64 shared_window = 0x5ade'8000'0000'0000;
constexpr b64 local_window = 0x10ca'8000'0000'0000;

constexpr bool in_window(b64 address, b64 window) {
    return address >> 48 == window >> 48;
}

template <class R> constexpr R address(R base, s64 offset) {
    return static_cast<R>(base + static_cast<R>(offset));
}

inline unsigned char *reach_local(Thread &thread, b64 offset, std::size_t length, Access access, Place place) {
    if (access == Access::update)
        model::fail("%s: line %d of the PTX: an atomic operation on local memory", place.kernel, place.line);
    if (offset >= thread.local.size() || thread.local.size() - offset < length || offset % length != 0)
        model::fail("%s: line %d of the PTX: %zu bytes at offset %lld of local memory: out of bounds or misaligned",
                    place.kernel, place.line, length, static_cast<long long>(offset));
    return thread.local.data() + offset;
}

inline void count(Access access, std::size_t length) {
#ifdef __SANITIZE_THREAD__
    if (access != Access::write)
        model::count_read(length);
    if (access != Access::read)
        model::count_written(length);
#else
    model::traffic.read += access != Access::write ? length : 0;
    model::traffic.written += access != Access::read ? length : 0;
#endif
}

inline unsigned char *reach_global(Thread &thread, b64 address, std::size_t length, Access access, Place place) {
    auto *bytes = reinterpret_cast<unsigned char *>(address);
    if (thread.globals.holds(address)) {
        thread.globals.reach(address - reinterpret_cast<b64>(thread.globals.bytes), length, access, place);
    } else {
        if (address % length != 0)
            model::fail("%s: misaligned access in line %d of the PTX: %zu bytes at %p", place.kernel, place.line,
                        length, static_cast<void *>(bytes));
        if (model::memory_registered)
            model::check_memory(bytes, length, access != Access::read);
    }
    count(access, length);
    return bytes;
}

inline unsigned char *reach_constant(Thread &thread, b64 address, std::size_t length, Place place) {
    return thread.constants.reach(address - reinterpret_cast<b64>(thread.constants.bytes), length, Access::read, place);
}

template <Space space>
unsigned char *reach(Thread &thread, b64 address, std::size_t length, Access access, Place place) {
    if constexpr (space == Space::shared)
        return thread.shared.reach(address, length, access, place);
    else if constexpr (space == Space::local)
        return reach_local(thread, address, length, access, place);
    else if constexpr (space == Space::global)
        return reach_global(thread, address, length, access, place);
    else if constexpr (space == Space::constant)
        return reach_constant(thread, address, length, place);
    else if (in_window(address, shared_window))
        return thread.shared.reach(address - shared_window, length, access, place);
    else if (in_window(address, local_window))
        return reach_local(thread, address - local_window, length, access, place);
    else if (thread.constants.holds(address) && access == Access::read)
        return reach_constant(thread, address, length, place);
    else
        return reach_global(thread, address, length, access, place);
}

template <class T> T fetch(const unsigned char *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class T> void put(unsigned char *to, T value) {
    std::memcpy(to, &value, sizeof value);
}

template <class T> T fetch_strong(const unsigned char *from) {
    const T value = std::bit_cast<T>(__atomic_load_n(reinterpret_cast<const Bits<T> *>(from), __ATOMIC_RELAXED));
    model::atomic_read(from);
    return value;
}

template <class T> void put_strong(unsigned char *to, T value) {
    __atomic_store_n(reinterpret_cast<Bits<T> *>(to), std::bit_cast<Bits<T>>(value), __ATOMIC_RELAXED);
    model::atomic_written(to);
}

// One access for all registers of a vector, which is aligned to its whole size.
template <Space space, class T, class... R> void load(Thread &thread, b64 address, Place place, R &...registers) {
    const unsigned char *from = reach<space>(thread, address, sizeof(T) * sizeof...(R), Access::read, place);
    ((set(registers, fetch<T>(from)), from += sizeof(T)), ...);
}

template <Space space, class T, class... V> void store(Thread &thread, b64 address, Place place, V... values) {
    unsigned char *to = reach<space>(thread, address, sizeof(T) * sizeof...(V), Access::write, place);
    ((put<T>(to, values), to += sizeof(T)), ...);
}

// Volatile, relaxed and stronger accesses: another thread may run first.
template <Space space, class T, class... R>
void load_strong(Thread &thread, b64 address, Place place, R &...registers) {
    model::maybe_yield();
    const unsigned char *from = reach<space>(thread, address, sizeof(T) * sizeof...(R), Access::read, place);
    ((set(registers, fetch_strong<T>(from)), from += sizeof(T)), ...);
}

template <Space space, class T, class... V> void store_strong(Thread &thread, b64 address, Place place, V... values) {
    unsigned char *to = reach<space>(thread, address, sizeof(T) * sizeof...(V), Access::write, place);
    ((put_strong<T>(to, values), to += sizeof(T)), ...);
    model::maybe_yield();
}

template <class T, class... R> void load_parameter(const unsigned char *from, R &...registers) {
    ((set(registers, fetch<T>(from)), from += sizeof(T)), ...);
}

template <class T, class... V> void store_parameter(unsigned char *to, V... values) {
    ((put<T>(to, values), to += sizeof(T)), ...);
}

// ---- Atomics.
template <Space space, class T, class Change> T atomic(Thread &thread, b64 address, Place place, Change change) {
    model::maybe_yield();
    auto *at = reinterpret_cast<Bits<T> *>(reach<space>(thread, address, sizeof(T), Access::update, place));
    Bits<T> old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(at, &old, std::bit_cast<Bits<T>>(change(std::bit_cast<T>(old))), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    model::atomic_read(at);
    model::atomic_written(at);
    model::maybe_yield();
    return std::bit_cast<T>(old);
}

template <class T> T exch(T, T value) {
    return value;
}
template <class T> T cas(T old, T expected, T value) {
    return old == expected ? value : old;
}
template <class T> T inc(T old, T last) {
    return old >= last ? T{0} : old + 1;
}
template <class T> T dec(T old, T last) {
    return old == 0 || old > last ? last : old - 1;
}

// ---- Warps.
enum class Shuffle { up, down, bfly, idx };

// `limits`: bits 0 to 4 the last (for up: the first) lane, bits 8 to 12 the lane bits that name a segment of the warp.
template <Shuffle mode> b32 shfl(b32 value, u32 by, u32 limits, b32 mask, bool &inside) {
    const int self = static_cast<int>(model::lane());
    const int segment = static_cast<int>(limits >> 8 & 31), distance = static_cast<int>(by & 31);
    const int last = (self & segment) | (static_cast<int>(limits & 31) & ~segment);
    int source = 0;
    if constexpr (mode == Shuffle::up)
        source = self - distance;
    else if constexpr (mode == Shuffle::down)
        source = self + distance;
    else if constexpr (mode == Shuffle::bfly)
        source = self ^ distance;
    else
        source = (self & segment) | (distance & ~segment);
    inside = mode == Shuffle::up ? source >= last : source <= last;
    return static_cast<b32>(model::shuffle(mask, value, static_cast<unsigned>(inside ? source : self)));
}

template <Shuffle mode> b32 shfl(b32 value, u32 by, u32 limits, b32 mask) {
    bool inside;
    return shfl<mode>(value, by, limits, mask, inside);
}

inline b32 vote_ballot(bool vote, b32 mask) {
    return model::ballot(mask, vote);
}
inline bool vote_any(bool vote, b32 mask) {
    return model::ballot(mask, vote) != 0;
}
inline bool vote_all(bool vote, b32 mask) {
    return model::ballot(mask, vote) == mask;
}
inline bool vote_uni(bool vote, b32 mask) {
    const b32 votes = model::ballot(mask, vote);
    return votes == 0 || votes == mask;
}

template <class T> b32 match_any(T value, b32 mask) {
    b32 same = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1 && model::shuffle(mask, value, lane) == value)
            same |= 1u << lane;
    return same;
}

template <class T> b32 match_all(T value, b32 mask, bool &all) {
    all = match_any(value, mask) == mask;
    return all ? mask : 0;
}

// Over all lanes of the mask.
template <class T, class Combine> T redux(T value, b32 mask, Combine combine) {
    T result = value;
    bool first = true;
    for (unsigned lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) {
            const T each = static_cast<T>(model::shuffle(mask, static_cast<b32>(value), lane));
            result = first ? each : combine(result, each);
            first = false;
        }
    return result;
}

// CUDA promises no more than that the calling lane is in it.
inline b32 activemask() {
    return 1u << model::lane();
}

// ---- Device assertions.
[[noreturn]] inline void trap(Place place) {
    model::fail("%s: trap in line %d of the PTX", place.kernel, place.line);
}

[[noreturn]] inline void assertion_failed(b64 message, b64 file, b32 line, b64 function) {
    model::fail("%s:%u: %s: assertion `%s' failed", reinterpret_cast<const char *>(file), line,
                reinterpret_cast<const char *>(function), reinterpret_cast<const char *>(message));
}

} // namespace ptx
