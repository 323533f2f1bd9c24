// The kernels for x86-64-v3: AVX2, 8 floats at a time. A comparison sets a lane of bits for each number, and movemask
// reduces it to one bit. There is no compress instruction; a permutation is looked up by those bits instead.
#include "instruction_sets.h"
#include "kernels.h"

#ifdef RRM_X86

#include <immintrin.h>

RRM_TARGET_PUSH("avx2,bmi,bmi2,f16c,popcnt")

namespace rrm::cpu::v3 {
namespace {

template <class V> struct Lanes;

template <> struct Lanes<float> {
    using Vector = __m256;
    using Mask = __m256;
    static constexpr int chains = 2; // of dependent operations
    static constexpr int width = 8;

    RRM_INLINE static Vector splat(float x) {
        return _mm256_set1_ps(x);
    }
    RRM_INLINE static Vector load(const float *from) {
        return _mm256_loadu_ps(from);
    }
    RRM_INLINE static void store(float *to, Vector x) {
        _mm256_storeu_ps(to, x);
    }
    RRM_INLINE static void stream(float *to, Vector x) { // in halves: arrays are rarely aligned to 32 bytes
        _mm_stream_ps(to, _mm256_castps256_ps128(x));
        _mm_stream_ps(to + 4, _mm256_extractf128_ps(x, 1));
    }
    RRM_INLINE static Vector multiply(Vector x, Vector y) {
        return _mm256_mul_ps(x, y);
    }
    RRM_INLINE static Vector add(Vector x, Vector y) {
        return _mm256_add_ps(x, y);
    }
    RRM_INLINE static Vector min(Vector x, Vector other) { // `other` where x is NaN
        return _mm256_min_ps(x, other);
    }
    RRM_INLINE static float reduce_min(Vector x) {
        __m128 low = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        low = _mm_min_ps(low, _mm_movehl_ps(low, low));
        return _mm_cvtss_f32(_mm_min_ss(low, _mm_movehdup_ps(low)));
    }
    RRM_INLINE static Vector max(Vector x, Vector other) {
        return _mm256_max_ps(x, other);
    }
    RRM_INLINE static float reduce_max(Vector x) {
        __m128 high = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        high = _mm_max_ps(high, _mm_movehl_ps(high, high));
        return _mm_cvtss_f32(_mm_max_ss(high, _mm_movehdup_ps(high)));
    }
    RRM_INLINE static Mask above(Vector x, Vector y) {
        return _mm256_cmp_ps(x, y, _CMP_GT_OQ);
    }
    RRM_INLINE static Mask at_most(Vector x, Vector y) {
        return _mm256_cmp_ps(x, y, _CMP_LE_OQ);
    }
    RRM_INLINE static Mask not_at_most(Vector x, Vector y) {
        return _mm256_cmp_ps(x, y, _CMP_NLE_UQ);
    }
    RRM_INLINE static Mask and_below(Mask mask, Vector x, Vector y) {
        return _mm256_and_ps(mask, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
    }
    RRM_INLINE static Mask equal(Vector x, Vector y) {
        return _mm256_cmp_ps(x, y, _CMP_EQ_OQ);
    }
    RRM_INLINE static Mask unordered(Vector x, Vector y) {
        return _mm256_cmp_ps(x, y, _CMP_UNORD_Q);
    }
    RRM_INLINE static bool finite(Vector x) {
        const Vector zero = _mm256_setzero_ps(); // x * 0 is NaN unless x is finite
        return _mm256_movemask_ps(unordered(_mm256_mul_ps(x, zero), zero)) == 0;
    }
    // Whether one of n weights, in full vectors, is NaN or infinite, or has a sign: as a word it is at least infinity.
    RRM_INLINE static bool any_suspect(const float *weights, std::int64_t n) {
        __m256i largest = _mm256_set1_epi32(0x7f7fffff);
        for (std::int64_t i = 0; i < n; i += width) {
            largest = _mm256_max_epu32(largest, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(weights + i)));
        }
        const __m256i valid = _mm256_cmpeq_epi32(largest, _mm256_set1_epi32(0x7f7fffff));
        return _mm256_movemask_epi8(valid) != -1;
    }
    RRM_INLINE static std::uint64_t bits(Mask mask) {
        return static_cast<std::uint32_t>(_mm256_movemask_ps(mask));
    }
    // The bits of four masks: packed into one byte each, in the order of the registers' halves.
    RRM_INLINE static std::uint64_t packed_bits(const Mask *masks) {
        const auto pack = [&](int i) {
            return _mm256_packs_epi32(_mm256_castps_si256(masks[i]), _mm256_castps_si256(masks[i + 1]));
        };
        const __m256i halves = _mm256_packs_epi16(pack(0), pack(2));
        const __m256i bytes = _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));
    }
    // The number of set masks, counted in each lane.
    using Counts = __m256i;
    RRM_INLINE static Counts count(Counts counts, Mask mask) {
        return _mm256_sub_epi32(counts, _mm256_castps_si256(mask));
    }
    RRM_INLINE static Counts add_counts(Counts x, Counts y) {
        return _mm256_add_epi32(x, y);
    }
    RRM_INLINE static std::int64_t sum(Counts counts) {
        __m128i x = _mm_add_epi32(_mm256_castsi256_si128(counts), _mm256_extracti128_si256(counts, 1));
        x = _mm_add_epi32(x, _mm_unpackhi_epi64(x, x));
        return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 1)));
    }
    // Of the bits from the first one on. Only the sign of a lane, which is where its bit is shifted to, matters to
    // `select`.
    RRM_INLINE static Mask mask(std::uint64_t bits, int first) {
        const int to_sign = 31 - first % 32;
        const __m256i shifts =
            _mm256_add_epi32(_mm256_set1_epi32(to_sign), _mm256_setr_epi32(0, -1, -2, -3, -4, -5, -6, -7));
        const __m256i all = _mm256_set1_epi32(static_cast<int>(bits >> (first / 32 * 32)));
        return _mm256_castsi256_ps(_mm256_sllv_epi32(all, shifts));
    }
    RRM_INLINE static Vector select(Mask mask, Vector yes, Vector no) { // by the signs of the mask
        return _mm256_blendv_ps(no, yes, mask);
    }

    // Numbers of few_groups groups, looked up by the groups of as many samples as a vector has.
    static constexpr bool has_look_up = true;
    struct Table {
        __m256 first, second; // of the groups below 8, and of the others
    };
    struct Groups {
        __m256i numbers;
        __m256 is_second;
    };
    RRM_INLINE static Table table(const float *numbers) {
        return {_mm256_loadu_ps(numbers), _mm256_loadu_ps(numbers + 8)};
    }
    RRM_INLINE static Groups load_groups(const std::uint8_t *from) {
        const __m256i numbers = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from)));
        return {numbers, _mm256_castsi256_ps(_mm256_slli_epi32(numbers, 28))};
    }
    RRM_INLINE static Vector look_up(const Table &table, const Groups &groups) {
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.first, groups.numbers),
                                _mm256_permutevar8x32_ps(table.second, groups.numbers), groups.is_second);
    }
    // One bit for each of 64 samples: whether it is of this group.
    RRM_INLINE static std::uint64_t members(const std::uint8_t *from, int group) {
        const __m256i number = _mm256_set1_epi8(static_cast<char>(group));
        const auto half = [&](int i) {
            const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + i));
            return std::uint64_t{static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, number)))};
        };
        return half(0) | half(32) << 32;
    }
};

template <> struct Lanes<double> {
    using Vector = __m256d;
    using Mask = __m256d;
    static constexpr int chains = 2; // of dependent operations
    static constexpr int width = 4;
    static constexpr bool has_look_up = false;

    RRM_INLINE static Vector splat(double x) {
        return _mm256_set1_pd(x);
    }
    RRM_INLINE static Vector load(const double *from) {
        return _mm256_loadu_pd(from);
    }
    RRM_INLINE static void store(double *to, Vector x) {
        _mm256_storeu_pd(to, x);
    }
    RRM_INLINE static void stream(double *to, Vector x) {
        _mm_stream_pd(to, _mm256_castpd256_pd128(x));
        _mm_stream_pd(to + 2, _mm256_extractf128_pd(x, 1));
    }
    RRM_INLINE static Vector multiply(Vector x, Vector y) {
        return _mm256_mul_pd(x, y);
    }
    RRM_INLINE static Vector add(Vector x, Vector y) {
        return _mm256_add_pd(x, y);
    }
    RRM_INLINE static Vector min(Vector x, Vector other) {
        return _mm256_min_pd(x, other);
    }
    RRM_INLINE static double reduce_min(Vector x) {
        const __m128d low = _mm_min_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
        return _mm_cvtsd_f64(_mm_min_sd(low, _mm_unpackhi_pd(low, low)));
    }
    RRM_INLINE static Vector max(Vector x, Vector other) {
        return _mm256_max_pd(x, other);
    }
    RRM_INLINE static double reduce_max(Vector x) {
        const __m128d high = _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
        return _mm_cvtsd_f64(_mm_max_sd(high, _mm_unpackhi_pd(high, high)));
    }
    RRM_INLINE static Mask above(Vector x, Vector y) {
        return _mm256_cmp_pd(x, y, _CMP_GT_OQ);
    }
    RRM_INLINE static Mask at_most(Vector x, Vector y) {
        return _mm256_cmp_pd(x, y, _CMP_LE_OQ);
    }
    RRM_INLINE static Mask not_at_most(Vector x, Vector y) {
        return _mm256_cmp_pd(x, y, _CMP_NLE_UQ);
    }
    RRM_INLINE static Mask and_below(Mask mask, Vector x, Vector y) {
        return _mm256_and_pd(mask, _mm256_cmp_pd(x, y, _CMP_LT_OQ));
    }
    RRM_INLINE static Mask equal(Vector x, Vector y) {
        return _mm256_cmp_pd(x, y, _CMP_EQ_OQ);
    }
    RRM_INLINE static Mask unordered(Vector x, Vector y) {
        return _mm256_cmp_pd(x, y, _CMP_UNORD_Q);
    }
    RRM_INLINE static bool finite(Vector x) {
        const Vector zero = _mm256_setzero_pd(); // x * 0 is NaN unless x is finite
        return _mm256_movemask_pd(unordered(_mm256_mul_pd(x, zero), zero)) == 0;
    }
    // As for float, by the upper words.
    RRM_INLINE static bool any_suspect(const double *weights, std::int64_t n) {
        __m256i largest = _mm256_set1_epi32(0x7fefffff);
        for (std::int64_t i = 0; i < n; i += width) {
            largest = _mm256_max_epu32(largest, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(weights + i)));
        }
        const __m256i valid = _mm256_cmpeq_epi32(largest, _mm256_set1_epi32(0x7fefffff));
        return _mm256_movemask_pd(_mm256_castsi256_pd(valid)) != 0xf;
    }
    RRM_INLINE static std::uint64_t bits(Mask mask) {
        return static_cast<std::uint32_t>(_mm256_movemask_pd(mask));
    }
    // The number of set masks, counted in each lane.
    using Counts = __m256i;
    RRM_INLINE static Counts count(Counts counts, Mask mask) {
        return _mm256_sub_epi64(counts, _mm256_castpd_si256(mask));
    }
    RRM_INLINE static Counts add_counts(Counts x, Counts y) {
        return _mm256_add_epi64(x, y);
    }
    RRM_INLINE static std::int64_t sum(Counts counts) {
        __m128i x = _mm_add_epi64(_mm256_castsi256_si128(counts), _mm256_extracti128_si256(counts, 1));
        x = _mm_add_epi64(x, _mm_unpackhi_epi64(x, x));
        return _mm_cvtsi128_si64(x);
    }
    RRM_INLINE static Mask mask(std::uint64_t bits, int first) { // of the bits from the first one on
        const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
        const __m256i all = _mm256_set1_epi64x(static_cast<long long>(bits >> first));
        return _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(all, bit), bit));
    }
    RRM_INLINE static Vector select(Mask mask, Vector yes, Vector no) {
        return _mm256_blendv_pd(no, yes, mask);
    }
};

template <class F> RRM_INLINE auto load(const typename F::Bits *losses) {
    if constexpr (F::width == 64) {
        return _mm256_castsi256_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(losses)));
    } else if constexpr (F::width == 32) {
        return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(losses)));
    } else {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i *>(losses));
        if constexpr (F::mantissa == 7) {
            return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
        } else {
            return _mm256_cvtph_ps(half);
        }
    }
}

// For each byte: the positions of its set bits, in ascending order.
struct SetBits {
    std::uint8_t positions[256][8];
};

constexpr SetBits find_set_bits() {
    SetBits table{};
    for (int byte = 0; byte < 256; ++byte) {
        int count = 0;
        for (int bit = 0; bit < 8; ++bit) {
            if ((byte >> bit & 1) != 0) {
                table.positions[byte][count++] = static_cast<std::uint8_t>(bit);
            }
        }
    }
    return table;
}

constexpr SetBits set_bits = find_set_bits();

RRM_INLINE __m256i positions_of(std::uint32_t byte) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(set_bits.positions[byte])));
}

// A loss, widened.
template <class F> RRM_INLINE std::uint32_t load_one(const typename F::Bits *loss) {
    if constexpr (F::width == 32) {
        return *loss;
    } else if constexpr (F::mantissa == 7) {
        return std::uint32_t{*loss} << 16;
    } else {
        return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_castps_si128(_mm_cvtph_ps(_mm_cvtsi32_si128(*loss)))));
    }
}

template <class F, class Mask, class Word>
RRM_INLINE void compress(const typename F::Bits *group, const Mask * /*masks*/, std::uint64_t selected, Word *to) {
    if constexpr (sizeof(Word) == 4) {
        constexpr int few = 4; // as most groups of large arrays have: their number itself would be hard to predict
        if (_mm_popcnt_u64(selected) <= few) {
            for (int i = 0; i < few; ++i) {
                to[i] = load_one<F>(group + _tzcnt_u64(selected) % group_size);
                selected &= selected - 1;
            }
            return;
        }
        for (int i = 0; i < group_size; i += 8) {
            const auto byte = static_cast<std::uint8_t>(selected >> i);
            const __m256i moved =
                _mm256_permutevar8x32_epi32(_mm256_castps_si256(load<F>(group + i)), positions_of(byte));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), moved);
            to += __builtin_popcount(byte);
        }
    } else {
        for (; selected != 0; selected &= selected - 1) {
            *to++ = group[__builtin_ctzll(selected)];
        }
    }
}

RRM_INLINE void stream_fence() {
    _mm_sfence();
}

RRM_INLINE std::uint64_t deposit(std::uint64_t bits, std::uint64_t mask) {
    return _pdep_u64(bits, mask);
}

#include "kernels-inl.h"

} // namespace

RRM_DEFINE_KERNELS

} // namespace rrm::cpu::v3

RRM_TARGET_POP

#endif
