// Floating-point formats and their order-preserving unsigned keys.
//
// The bits of a non-negative float, read as an unsigned integer, already stand in the order of the numbers; those of a
// negative one stand in reverse. Setting the sign bit of the first and inverting the second gives keys whose order is
// the order of the numbers. Here -0 has the key of +0, and every NaN has the highest key of all. Exact order statistics
// of floats thereby become order statistics of integers. RRM_HD marks what is for host and device.
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

// Value: the type in which the processor compares such numbers: the number itself, or exactly widened. Sample weights
// have that type too.
template <class B, class V, int Precision, int MaxExponent> struct Format {
    using Bits = B;   // unsigned integer that holds one loss
    using Value = V;  // float or double
    using Weight = V; // type of the sample weights that belong to such losses

    static constexpr int width = 8 * static_cast<int>(sizeof(Bits));
    static constexpr int mantissa = Precision - 1; // explicit bits of the significand
    static constexpr int bias = MaxExponent;
    static constexpr Bits sign = static_cast<Bits>(Bits{1} << (width - 1));
    static constexpr Bits infinity = static_cast<Bits>(static_cast<Bits>(~sign) & ~((Bits{1} << mantissa) - 1));
    static constexpr Bits key_nan = std::numeric_limits<Bits>::max();
    static constexpr Bits key_inf = static_cast<Bits>(infinity | sign);
    static constexpr Bits key_low = static_cast<Bits>(~key_inf); // of -infinity

    RRM_HD static constexpr Bits key(Bits bits) {
        // Masks rather than conditions: compilers vectorise them everywhere.
        const Bits magnitude = static_cast<Bits>(bits & static_cast<Bits>(~sign));
        const Bits negative = static_cast<Bits>(-static_cast<Bits>(bits > sign));
        const Bits nan = static_cast<Bits>(-static_cast<Bits>(magnitude > infinity));
        return static_cast<Bits>((bits ^ negative) | (sign & static_cast<Bits>(~negative)) | nan);
    }

    RRM_HD static constexpr Bits bits(Bits key) {
        return static_cast<Bits>((key & sign) != 0 ? key ^ sign : ~key);
    }

    // The number itself, exactly. -0 equals 0, and a NaN stays one, in no relation to anything.
    RRM_HD static constexpr Value value(Bits bits) {
        if constexpr (sizeof(Value) == sizeof(Bits)) {
            return std::bit_cast<Value>(bits);
        } else if constexpr (mantissa == 7) { // a bfloat16 is the upper half of a float
            return std::bit_cast<Value>(std::uint32_t{bits} << 16);
        } else {
            // float16: widen the significand and move the exponent; infinity and NaN, whose exponent is the highest,
            // move twice as far. Below the smallest normal number the bits count multiples of 2^-24.
            constexpr std::uint32_t move = (127U - bias) << 23;
            const std::uint32_t magnitude = std::uint32_t{bits} & 0x7fffU;
            const std::uint32_t wide = (magnitude << 13) + move + (magnitude >= infinity ? move : 0U);
            const auto tiny = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F;
            const std::uint32_t unsigned_bits = magnitude < 0x400U ? std::bit_cast<std::uint32_t>(tiny) : wide;
            return std::bit_cast<Value>(unsigned_bits | ((std::uint32_t{bits} & 0x8000U) << 16));
        }
    }

    // The number with this key, exactly: no format is wider than double. Not for NaN. Made of integers, since where
    // subnormal numbers are flushed to zero a conversion would lose them.
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

    // The key of the largest number of this format that is not above x; of -infinity if there is none.
    // Bisection over the keys: 64 steps at most, once a call.
    RRM_HD static constexpr Bits key_not_above(double x) {
        Bits low = key_low, high = key_inf;
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

// The format of a number that compares as a V: where values are kept, they are kept as its bits.
template <class V> using Wide = std::conditional_t<sizeof(V) == sizeof(float), Float32, Float64>;

} // namespace rrm
