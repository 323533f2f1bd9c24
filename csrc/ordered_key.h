// Floating-point formats and their order-preserving unsigned keys.
//
// Read as unsigned integers, the bits of non-negative floats are in the order of the numbers, and those of negative
// floats in reverse order. Setting the sign bit of the former and inverting the latter gives keys in the order of all
// numbers. -0 has the key of +0, and every NaN has the largest key. Exact order statistics of floats thereby become
// order statistics of integers. RRM_HD marks functions for host and device.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#ifdef __CUDACC__
#define RRM_HD __host__ __device__
#else
#define RRM_HD
#endif

namespace rrm {

// A floating-point format of losses. Value is the type in which the processor compares them: the format itself, or an
// exact widening. Sample weights have that type too.
template <class B, class V, int Precision, int MaxExponent> struct Format {
    using Bits = B;   // unsigned integer with the bits of one loss
    using Value = V;  // float or double
    using Weight = V; // type of the sample weights for losses of this format

    static constexpr int width = 8 * static_cast<int>(sizeof(Bits));
    static constexpr int mantissa = Precision - 1; // explicit bits of the significand
    static constexpr int bias = MaxExponent;
    static constexpr Bits sign = static_cast<Bits>(Bits{1} << (width - 1));
    static constexpr Bits infinity = static_cast<Bits>(static_cast<Bits>(~sign) & ~((Bits{1} << mantissa) - 1));
    static constexpr Bits key_nan = std::numeric_limits<Bits>::max();
    static constexpr Bits key_inf = static_cast<Bits>(infinity | sign);
    static constexpr Bits key_neg_inf = static_cast<Bits>(~key_inf);

    RRM_HD static constexpr Bits key(Bits bits) {
        // Masks rather than conditions: every compiler vectorises them.
        const Bits magnitude = static_cast<Bits>(bits & static_cast<Bits>(~sign));
        const Bits negative = static_cast<Bits>(-static_cast<Bits>(bits > sign));
        const Bits nan = static_cast<Bits>(-static_cast<Bits>(magnitude > infinity));
        return static_cast<Bits>((bits ^ negative) | (sign & static_cast<Bits>(~negative)) | nan);
    }

    RRM_HD static constexpr Bits bits(Bits key) {
        return static_cast<Bits>((key & sign) != 0 ? key ^ sign : ~key);
    }

    // The number, exactly. -0 compares equal to 0, and NaN stays unordered.
    RRM_HD static constexpr Value value(Bits bits) {
        if constexpr (sizeof(Value) == sizeof(Bits)) {
            return std::bit_cast<Value>(bits);
        } else if constexpr (mantissa == 7) { // a bfloat16 is the upper half of a float
            return std::bit_cast<Value>(std::uint32_t{bits} << 16);
        } else {
            // float16: widen the significand and shift the exponent; twice as far for infinity and NaN, which have the
            // largest exponent. Below the smallest normal number the bits are a multiple of 2^-24.
            constexpr std::uint32_t shift = (127U - bias) << 23;
            const std::uint32_t magnitude = std::uint32_t{bits} & 0x7fffU;
            const std::uint32_t wide = (magnitude << 13) + shift + (magnitude >= infinity ? shift : 0U);
            const auto subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F;
            const std::uint32_t unsigned_bits = magnitude < 0x400U ? std::bit_cast<std::uint32_t>(subnormal) : wide;
            return std::bit_cast<Value>(unsigned_bits | ((std::uint32_t{bits} & 0x8000U) << 16));
        }
    }

    // The number with this key, exactly: no format is wider than double. Not for NaN. Computed from integers, because
    // a conversion would lose subnormal numbers where the processor flushes them to zero.
    RRM_HD static constexpr double decode(Bits key) {
        const Bits b = bits(key);
        if constexpr (sizeof(Bits) == sizeof(double)) {
            return std::bit_cast<double>(b);
        } else {
            const std::uint64_t magnitude = static_cast<Bits>(b & static_cast<Bits>(~sign));
            const auto exponent = static_cast<int>(magnitude >> mantissa);
            const std::uint64_t fraction = magnitude & ((std::uint64_t{1} << mantissa) - 1);
            double value = exponent == 0 ? static_cast<double>(fraction) * power_of_two(1 - bias - mantissa)
                                         : static_cast<double>(fraction | std::uint64_t{1} << mantissa) *
                                               power_of_two(exponent - bias - mantissa);
            if (magnitude == infinity) {
                value = std::numeric_limits<double>::infinity();
            }
            return (b & sign) != 0 ? -value : value;
        }
    }

    // The key of the largest number of this format that is not above x; that of -infinity if every number is above.
    // Bisection over the keys: 64 steps at most, once per call.
    RRM_HD static constexpr Bits key_not_above(double x) {
        Bits low = key_neg_inf;
        Bits high = key_inf;
        while (low < high) {
            const Bits middle = static_cast<Bits>(high - (high - low) / 2);
            if (decode(middle) <= x) {
                low = middle;
            } else {
                high = static_cast<Bits>(middle - 1);
            }
        }
        return low;
    }

  private:
    RRM_HD static constexpr double power_of_two(int exponent) { // of a normal double
        return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
    }
};

using Float16 = Format<std::uint16_t, float, 11, 15>;
using BFloat16 = Format<std::uint16_t, float, 8, 127>;
using Float32 = Format<std::uint32_t, float, 24, 127>;
using Float64 = Format<std::uint64_t, double, 53, 1023>;

// The format of values of type V: buffers of values hold its bits.
template <class V> using Wide = std::conditional_t<sizeof(V) == sizeof(float), Float32, Float64>;

} // namespace rrm
