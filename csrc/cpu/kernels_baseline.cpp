// The kernels for every processor: vectors of 16 bytes, which GCC and Clang compile to SSE2 or NEON.
#include "instruction_sets.h"
#include "kernels.h"

#ifdef RRM_X86
#include <immintrin.h>
#endif

namespace rrm::cpu::baseline {
namespace {

template <class V> struct Lanes {
    using Integer = std::conditional_t<sizeof(V) == 4, std::int32_t, std::int64_t>;
    using Part [[gnu::vector_size(16)]] = V;
    using PartMask [[gnu::vector_size(16)]] = Integer;
    static constexpr int chains = 1; // of dependent operations; the parts are independent already
    static constexpr int parts = 4, part_width = 16 / sizeof(V), width = parts * part_width;
    static constexpr bool has_look_up = false;

    struct Vector {
        Part part[parts];
    };
    struct Mask {
        PartMask part[parts];
    };

    template <class Result, class Function> RRM_INLINE static Result for_each_part(Function f) {
        Result result;
        for (int i = 0; i < parts; ++i) {
            result.part[i] = f(i);
        }
        return result;
    }

    RRM_INLINE static Vector splat(V x) {
        return for_each_part<Vector>([=](int) { return Part{} + x; });
    }
    RRM_INLINE static Vector load(const V *from) {
        Vector x;
        __builtin_memcpy(&x, from, sizeof x);
        return x;
    }
    RRM_INLINE static void store(V *to, Vector x) {
        __builtin_memcpy(to, &x, sizeof x);
    }
    RRM_INLINE static void stream(V *to, Vector x) {
#ifdef RRM_X86
        for (int i = 0; i < parts; ++i) {
            _mm_stream_si128(reinterpret_cast<__m128i *>(to) + i, reinterpret_cast<__m128i>(x.part[i]));
        }
#else
        store(to, x);
#endif
    }
    RRM_INLINE static Vector multiply(Vector x, Vector y) {
        return for_each_part<Vector>([&](int i) { return x.part[i] * y.part[i]; });
    }
    RRM_INLINE static Vector add(Vector x, Vector y) {
        return for_each_part<Vector>([&](int i) { return x.part[i] + y.part[i]; });
    }
    RRM_INLINE static Vector min(Vector x, Vector other) { // `other` where x is NaN
        return for_each_part<Vector>([&](int i) { return x.part[i] < other.part[i] ? x.part[i] : other.part[i]; });
    }
    RRM_INLINE static V reduce_min(Vector x) {
        V least = x.part[0][0];
        for (int i = 0; i < parts; ++i) {
            for (int j = 0; j < part_width; ++j) {
                least = x.part[i][j] < least ? x.part[i][j] : least;
            }
        }
        return least;
    }
    RRM_INLINE static Vector max(Vector x, Vector other) {
        return for_each_part<Vector>([&](int i) { return x.part[i] > other.part[i] ? x.part[i] : other.part[i]; });
    }
    RRM_INLINE static V reduce_max(Vector x) {
        V most = x.part[0][0];
        for (int i = 0; i < parts; ++i) {
            for (int j = 0; j < part_width; ++j) {
                most = x.part[i][j] > most ? x.part[i][j] : most;
            }
        }
        return most;
    }
    RRM_INLINE static Mask above(Vector x, Vector y) {
        return for_each_part<Mask>([&](int i) { return x.part[i] > y.part[i]; });
    }
    RRM_INLINE static Mask at_most(Vector x, Vector y) {
        return for_each_part<Mask>([&](int i) { return x.part[i] <= y.part[i]; });
    }
    RRM_INLINE static Mask not_at_most(Vector x, Vector y) {
        return for_each_part<Mask>([&](int i) { return ~(x.part[i] <= y.part[i]); });
    }
    RRM_INLINE static Mask and_below(Mask mask, Vector x, Vector y) {
        return for_each_part<Mask>([&](int i) { return mask.part[i] & (x.part[i] < y.part[i]); });
    }
    RRM_INLINE static Mask equal(Vector x, Vector y) {
        return for_each_part<Mask>([&](int i) { return x.part[i] == y.part[i]; });
    }
    RRM_INLINE static Mask unordered(Vector x, Vector y) {
        return for_each_part<Mask>([&](int i) { return (x.part[i] != x.part[i]) | (y.part[i] != y.part[i]); });
    }
    RRM_INLINE static bool finite(Vector x) {
        const Vector zeros = multiply(x, splat(0)); // NaN unless x is finite
        return bits(unordered(zeros, zeros)) == 0;
    }
    // Whether one of n weights, in full parts, is NaN or infinite, or has a sign.
    RRM_INLINE static bool any_suspect(const V *weights, std::int64_t n) {
#ifdef RRM_X86
        // The upper 16 bits of such a weight exceed those of the largest number.
        const auto largest = reinterpret_cast<__m128i>(Part{} + std::numeric_limits<V>::max());
        __m128i excess = _mm_setzero_si128();
        for (std::int64_t i = 0; i < n; i += part_width) {
            const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i *>(weights + i));
            excess = _mm_or_si128(excess, _mm_subs_epu16(words, largest));
        }
        return _mm_movemask_epi8(_mm_cmpeq_epi8(excess, _mm_setzero_si128())) != 0xffff;
#else
        // Such a weight sets a sign bit.
        using Word = std::make_unsigned_t<Integer>;
        using Words [[gnu::vector_size(16)]] = Word;
        const Words largest = Words{} + std::bit_cast<Word>(std::numeric_limits<V>::max());
        Words signs{};
        for (std::int64_t i = 0; i < n; i += part_width) {
            Words words;
            __builtin_memcpy(&words, weights + i, sizeof words);
            signs |= words | (largest - words);
        }
        Word all = 0;
        for (int j = 0; j < part_width; ++j) {
            all |= signs[j];
        }
        return static_cast<Integer>(all) < 0;
#endif
    }
    RRM_INLINE static PartMask bits_of_part(int i) {
        PartMask bit;
        for (int j = 0; j < part_width; ++j) {
            bit[j] = Integer{1} << (i * part_width + j);
        }
        return bit;
    }
    RRM_INLINE static std::uint64_t bits(Mask mask) {
#ifdef RRM_X86
        const auto part = [&](int i) { return reinterpret_cast<__m128i>(mask.part[i]); };
        // Narrow the lanes to 32 bits, then to 16, then to 8.
        __m128i low = part(0);
        __m128i high = part(2);
        if constexpr (sizeof(V) == 4) {
            low = _mm_packs_epi32(low, part(1));
            high = _mm_packs_epi32(high, part(3));
        } else {
            low = _mm_packs_epi32(even(low, part(1)), even(high, part(3)));
            high = low;
        }
        const int all = _mm_movemask_epi8(_mm_packs_epi16(low, high));
        return static_cast<std::uint32_t>(all) & ((1U << width) - 1);
#else
        PartMask sum{};
        for (int i = 0; i < parts; ++i) {
            sum |= mask.part[i] & bits_of_part(i);
        }
        Integer all = 0;
        for (int j = 0; j < part_width; ++j) {
            all |= sum[j];
        }
        return static_cast<std::uint64_t>(all);
#endif
    }
#ifdef RRM_X86
    RRM_INLINE static __m128i even(__m128i x, __m128i y) {
        const __m128 lanes = _mm_shuffle_ps(_mm_castsi128_ps(x), _mm_castsi128_ps(y), _MM_SHUFFLE(2, 0, 2, 0));
        return _mm_castps_si128(lanes);
    }
#endif
    // The number of set masks, counted in each lane.
    using Counts = Mask;
    RRM_INLINE static Counts count(Counts counts, Mask mask) {
        return for_each_part<Counts>([&](int i) { return counts.part[i] - mask.part[i]; });
    }
    RRM_INLINE static Counts add_counts(Counts x, Counts y) {
        return for_each_part<Counts>([&](int i) { return x.part[i] + y.part[i]; });
    }
    RRM_INLINE static std::int64_t sum(Counts counts) {
        const PartMask all = counts.part[0] + counts.part[1] + counts.part[2] + counts.part[3];
        std::int64_t total = 0;
        for (int j = 0; j < part_width; ++j) {
            total += all[j];
        }
        return total;
    }
    RRM_INLINE static Mask mask(std::uint64_t bits, int first) { // of the bits from the first one on
        const PartMask all = PartMask{} + static_cast<Integer>(bits >> first);
        return for_each_part<Mask>([&](int i) { return (all & bits_of_part(i)) == bits_of_part(i); });
    }
    RRM_INLINE static Vector select(Mask mask, Vector yes, Vector no) {
        return for_each_part<Vector>([&](int i) { return mask.part[i] ? yes.part[i] : no.part[i]; });
    }
};

template <class F> RRM_INLINE auto load(const typename F::Bits *losses) {
    using L = Lanes<typename F::Value>;
    typename L::Vector x;
    if constexpr (sizeof(typename F::Bits) == sizeof(typename F::Value)) {
        __builtin_memcpy(&x, losses, sizeof x);
    } else {
        for (int i = 0; i < L::width; ++i) {
            x.part[i / L::part_width][i % L::part_width] = F::value(losses[i]);
        }
    }
    return x;
}

template <class F, class Mask, class Word>
RRM_INLINE void compress(const typename F::Bits *group, const Mask * /*masks*/, std::uint64_t selected, Word *to) {
    for (; selected != 0; selected &= selected - 1) {
        const auto value = F::value(group[__builtin_ctzll(selected)]);
        __builtin_memcpy(to++, &value, sizeof value);
    }
}

RRM_INLINE void stream_fence() {
#ifdef RRM_X86
    _mm_sfence();
#endif
}

RRM_INLINE std::uint64_t deposit(std::uint64_t bits, std::uint64_t mask) {
    std::uint64_t result = 0;
    for (; mask != 0 && bits != 0; mask &= mask - 1, bits >>= 1) {
        result |= (bits & 1) != 0 ? mask & (~mask + 1) : 0;
    }
    return result;
}

#include "kernels-inl.h"

} // namespace

RRM_DEFINE_KERNELS

} // namespace rrm::cpu::baseline
