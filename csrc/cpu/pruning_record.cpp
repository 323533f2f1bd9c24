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
RecordTotals add_to_record(const RecordedSamples<V> &samples, const RecordScales &scales, const RecordOutput &output) {
    switch (chosen_instruction_set()) {
#ifdef RRM_X86
    case InstructionSet::v4:
        return v4::add_to_record(samples, scales, output);
    case InstructionSet::v3:
        return v3::add_to_record(samples, scales, output);
#endif
    default:
        return baseline::add_to_record(samples, scales, output);
    }
}

template RecordTotals add_to_record<float>(const RecordedSamples<float> &, const RecordScales &, const RecordOutput &);
template RecordTotals add_to_record<double>(const RecordedSamples<double> &, const RecordScales &,
                                            const RecordOutput &);

} // namespace rrm::cpu
