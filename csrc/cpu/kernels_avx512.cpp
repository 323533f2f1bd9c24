// The kernels for x86-64-v4: AVX-512, 16 floats at a time. A comparison gives one bit per number, and the compress
// instruction packs the selected ones in a register: its form that writes to memory is 10 times slower on some
// processors.
#include "instruction_sets.h"
#include "kernels.h"

#ifdef RRM_X86

#include <immintrin.h>

#ifndef __clang__
// False positives in GCC's own header: gcc.gnu.org/PR105593.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

RRM_TARGET_PUSH("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,bmi,bmi2,f16c,popcnt")

namespace rrm::cpu::v4 {
namespace {

template <class V> struct Lanes;

template <> struct Lanes<float> {
    using Vector = __m512;
    using Mask = __mmask16;
    static constexpr int chains = 2; // of dependent operations
    static constexpr int width = 16;

    RRM_INLINE static Vector splat(float x) {
        return _mm512_set1_ps(x);
    }
    RRM_INLINE static Vector load(const float *from) {
        return _mm512_loadu_ps(from);
    }
    RRM_INLINE static void store(float *to, Vector x) {
        _mm512_storeu_ps(to, x);
    }
    RRM_INLINE static void stream(float *to, Vector x) { // in parts: arrays are rarely aligned to 64 bytes
        _mm_stream_ps(to, _mm512_castps512_ps128(x));
        _mm_stream_ps(to + 4, _mm512_extractf32x4_ps(x, 1));
        _mm_stream_ps(to + 8, _mm512_extractf32x4_ps(x, 2));
        _mm_stream_ps(to + 12, _mm512_extractf32x4_ps(x, 3));
    }
    RRM_INLINE static Vector multiply(Vector x, Vector y) {
        return _mm512_mul_ps(x, y);
    }
    RRM_INLINE static Vector add(Vector x, Vector y) {
        return _mm512_add_ps(x, y);
    }
    RRM_INLINE static Vector min(Vector x, Vector other) { // `other` where x is NaN
        return _mm512_min_ps(x, other);
    }
    RRM_INLINE static float reduce_min(Vector x) {
        return _mm512_reduce_min_ps(x);
    }
    RRM_INLINE static Vector max(Vector x, Vector other) {
        return _mm512_max_ps(x, other);
    }
    RRM_INLINE static float reduce_max(Vector x) {
        return _mm512_reduce_max_ps(x);
    }
    RRM_INLINE static Mask above(Vector x, Vector y) {
        return _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
    }
    RRM_INLINE static Mask at_most(Vector x, Vector y) {
        return _mm512_cmp_ps_mask(x, y, _CMP_LE_OQ);
    }
    RRM_INLINE static Mask not_at_most(Vector x, Vector y) {
        return _mm512_cmp_ps_mask(x, y, _CMP_NLE_UQ);
    }
    RRM_INLINE static Mask and_below(Mask mask, Vector x, Vector y) {
        return _mm512_mask_cmp_ps_mask(mask, x, y, _CMP_LT_OQ);
    }
    RRM_INLINE static Mask equal(Vector x, Vector y) {
        return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ);
    }
    RRM_INLINE static Mask unordered(Vector x, Vector y) {
        return _mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q);
    }
    RRM_INLINE static bool finite(Vector x) {
        return _mm512_fpclass_ps_mask(x, 0x99) == 0; // no NaN of either kind, no infinity of either sign
    }
    // Whether one of n weights, in full vectors, is NaN or infinite, or has a sign: as a word it is at least infinity.
    RRM_INLINE static bool any_suspect(const float *weights, std::int64_t n) {
        __m512i largest = _mm512_setzero_si512();
        for (std::int64_t i = 0; i < n; i += width) {
            largest = _mm512_max_epu32(largest, _mm512_loadu_si512(weights + i));
        }
        return _mm512_cmpge_epu32_mask(largest, _mm512_set1_epi32(0x7f800000)) != 0;
    }
    RRM_INLINE static std::uint64_t bits(Mask mask) {
        return mask;
    }
    // The number of set masks, counted in each lane.
    using Counts = __m512i;
    RRM_INLINE static Counts count(Counts counts, Mask mask) {
        return _mm512_mask_add_epi32(counts, mask, counts, _mm512_set1_epi32(1));
    }
    RRM_INLINE static Counts add_counts(Counts x, Counts y) {
        return _mm512_add_epi32(x, y);
    }
    RRM_INLINE static std::int64_t sum(Counts counts) {
        return _mm512_reduce_add_epi32(counts);
    }
    RRM_INLINE static Mask mask(std::uint64_t bits, int first) { // of the bits from the first one on
        return static_cast<Mask>(bits >> first);
    }
    RRM_INLINE static Vector select(Mask mask, Vector yes, Vector no) {
        return _mm512_mask_blend_ps(mask, no, yes);
    }

    // Numbers of few_groups groups, looked up by the groups of as many samples as a vector has.
    static constexpr bool has_look_up = true;
    using Table = __m512;
    using Groups = __m512i;
    RRM_INLINE static Table table(const float *numbers) {
        return _mm512_loadu_ps(numbers);
    }
    RRM_INLINE static Groups load_groups(const std::uint8_t *from) {
        return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
    }
    RRM_INLINE static Vector look_up(const Table &table, const Groups &groups) {
        return _mm512_permutexvar_ps(groups, table);
    }
    // One bit for each of 64 samples: whether it is of this group.
    RRM_INLINE static std::uint64_t members(const std::uint8_t *from, int group) {
        return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(from), _mm512_set1_epi8(static_cast<char>(group)));
    }
};

template <> struct Lanes<double> {
    using Vector = __m512d;
    using Mask = __mmask8;
    static constexpr int chains = 2; // of dependent operations
    static constexpr int width = 8;
    static constexpr bool has_look_up = false;

    RRM_INLINE static Vector splat(double x) {
        return _mm512_set1_pd(x);
    }
    RRM_INLINE static Vector load(const double *from) {
        return _mm512_loadu_pd(from);
    }
    RRM_INLINE static void store(double *to, Vector x) {
        _mm512_storeu_pd(to, x);
    }
    RRM_INLINE static void stream(double *to, Vector x) {
        _mm_stream_pd(to, _mm512_castpd512_pd128(x));
        _mm_stream_pd(to + 2, _mm512_extractf64x2_pd(x, 1));
        _mm_stream_pd(to + 4, _mm512_extractf64x2_pd(x, 2));
        _mm_stream_pd(to + 6, _mm512_extractf64x2_pd(x, 3));
    }
    RRM_INLINE static Vector multiply(Vector x, Vector y) {
        return _mm512_mul_pd(x, y);
    }
    RRM_INLINE static Vector add(Vector x, Vector y) {
        return _mm512_add_pd(x, y);
    }
    RRM_INLINE static Vector min(Vector x, Vector other) {
        return _mm512_min_pd(x, other);
    }
    RRM_INLINE static double reduce_min(Vector x) {
        return _mm512_reduce_min_pd(x);
    }
    RRM_INLINE static Vector max(Vector x, Vector other) {
        return _mm512_max_pd(x, other);
    }
    RRM_INLINE static double reduce_max(Vector x) {
        return _mm512_reduce_max_pd(x);
    }
    RRM_INLINE static Mask above(Vector x, Vector y) {
        return _mm512_cmp_pd_mask(x, y, _CMP_GT_OQ);
    }
    RRM_INLINE static Mask at_most(Vector x, Vector y) {
        return _mm512_cmp_pd_mask(x, y, _CMP_LE_OQ);
    }
    RRM_INLINE static Mask not_at_most(Vector x, Vector y) {
        return _mm512_cmp_pd_mask(x, y, _CMP_NLE_UQ);
    }
    RRM_INLINE static Mask and_below(Mask mask, Vector x, Vector y) {
        return _mm512_mask_cmp_pd_mask(mask, x, y, _CMP_LT_OQ);
    }
    RRM_INLINE static Mask equal(Vector x, Vector y) {
        return _mm512_cmp_pd_mask(x, y, _CMP_EQ_OQ);
    }
    RRM_INLINE static Mask unordered(Vector x, Vector y) {
        return _mm512_cmp_pd_mask(x, y, _CMP_UNORD_Q);
    }
    RRM_INLINE static bool finite(Vector x) {
        return _mm512_fpclass_pd_mask(x, 0x99) == 0; // no NaN of either kind, no infinity of either sign
    }
    // As for float, by the upper words.
    RRM_INLINE static bool any_suspect(const double *weights, std::int64_t n) {
        __m512i largest = _mm512_setzero_si512();
        for (std::int64_t i = 0; i < n; i += width) {
            largest = _mm512_max_epu32(largest, _mm512_loadu_si512(weights + i));
        }
        return _mm512_mask_cmpge_epu32_mask(0xaaaa, largest, _mm512_set1_epi32(0x7ff00000)) != 0;
    }
    RRM_INLINE static std::uint64_t bits(Mask mask) {
        return mask;
    }
    // The number of set masks, counted in each lane.
    using Counts = __m512i;
    RRM_INLINE static Counts count(Counts counts, Mask mask) {
        return _mm512_mask_add_epi64(counts, mask, counts, _mm512_set1_epi64(1));
    }
    RRM_INLINE static Counts add_counts(Counts x, Counts y) {
        return _mm512_add_epi64(x, y);
    }
    RRM_INLINE static std::int64_t sum(Counts counts) {
        return _mm512_reduce_add_epi64(counts);
    }
    RRM_INLINE static Mask mask(std::uint64_t bits, int first) { // of the bits from the first one on
        return static_cast<Mask>(bits >> first);
    }
    RRM_INLINE static Vector select(Mask mask, Vector yes, Vector no) {
        return _mm512_mask_blend_pd(mask, no, yes);
    }
};

template <class F> RRM_INLINE auto load(const typename F::Bits *losses) {
    if constexpr (F::width == 64) {
        return _mm512_castsi512_pd(_mm512_loadu_si512(losses));
    } else if constexpr (F::width == 32) {
        return _mm512_castsi512_ps(_mm512_loadu_si512(losses));
    } else {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(losses));
        if constexpr (F::mantissa == 7) {
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
        } else {
            return _mm512_cvtph_ps(half);
        }
    }
}

template <class F, class Mask, class Word>
RRM_INLINE void compress(const typename F::Bits *group, const Mask *masks, std::uint64_t /*selected*/, Word *to) {
    constexpr int width = Lanes<typename F::Value>::width;
    for (int i = 0; i < group_size / width; ++i) {
        if constexpr (width == 16) {
            const __m512 moved = _mm512_maskz_compress_ps(masks[i], load<F>(group + i * width));
            _mm512_storeu_si512(to, _mm512_castps_si512(moved));
        } else {
            const __m512d moved = _mm512_maskz_compress_pd(masks[i], load<F>(group + i * width));
            _mm512_storeu_si512(to, _mm512_castpd_si512(moved));
        }
        to += __builtin_popcount(masks[i]);
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

} // namespace rrm::cpu::v4

RRM_TARGET_POP

#endif
