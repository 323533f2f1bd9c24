#include "pruning_record.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "instruction_sets.h"
#include "kernels.h"

namespace rrm::cpu {
namespace {

namespace baseline {
#include "pruning_record-inl.h"
}

#ifdef RRM_X86

RRM_TARGET_PUSH("avx2,bmi,bmi2,f16c,popcnt")
namespace v3 {
#include "pruning_record-inl.h" // NOLINT(readability-duplicate-include)
}
RRM_TARGET_POP

RRM_TARGET_PUSH("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,bmi,bmi2,f16c,popcnt")
namespace v4 {
#include "pruning_record-inl.h" // NOLINT(readability-duplicate-include)
}
RRM_TARGET_POP

#endif

} // namespace

template <class V>
RecordTotals add_to_record(const RecordedSamples<V> &samples, const RecordScales &scales, std::int64_t *key_counts,
                           std::uint8_t *bits, std::uint8_t *ever) {
    switch (chosen_instruction_set()) {
#ifdef RRM_X86
    case InstructionSet::v4:
        return v4::add_to_record(samples, scales, key_counts, bits, ever);
    case InstructionSet::v3:
        return v3::add_to_record(samples, scales, key_counts, bits, ever);
#endif
    default:
        return baseline::add_to_record(samples, scales, key_counts, bits, ever);
    }
}

template <class V>
void add_ranks(const V *losses, std::int64_t n, const std::uint8_t *members, const float *ranks, const float *nan_rank,
               const float *old_sums, float *sums) {
    switch (chosen_instruction_set()) {
#ifdef RRM_X86
    case InstructionSet::v4:
        return v4::add_ranks(losses, n, members, ranks, nan_rank, old_sums, sums);
    case InstructionSet::v3:
        return v3::add_ranks(losses, n, members, ranks, nan_rank, old_sums, sums);
#endif
    default:
        return baseline::add_ranks(losses, n, members, ranks, nan_rank, old_sums, sums);
    }
}

template RecordTotals add_to_record<float>(const RecordedSamples<float> &, const RecordScales &, std::int64_t *,
                                           std::uint8_t *, std::uint8_t *);
template RecordTotals add_to_record<double>(const RecordedSamples<double> &, const RecordScales &, std::int64_t *,
                                            std::uint8_t *, std::uint8_t *);
template void add_ranks<float>(const float *, std::int64_t, const std::uint8_t *, const float *, const float *,
                               const float *, float *);
template void add_ranks<double>(const double *, std::int64_t, const std::uint8_t *, const float *, const float *,
                                const float *, float *);

} // namespace rrm::cpu
