#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "instruction_sets.h"
#include "loops.h"

namespace rrm::cpu {

#define RRM_DECLARE(set)                                                                                               \
    namespace set {                                                                                                    \
    extern const Loops<Float16> float16;                                                                               \
    extern const Loops<BFloat16> bfloat16;                                                                             \
    extern const Loops<Float32> float32;                                                                               \
    extern const Loops<Float64> float64;                                                                               \
    }
RRM_DECLARE(baseline)
RRM_DECLARE(v3)
RRM_DECLARE(v4)
#undef RRM_DECLARE

const char *name(InstructionSet set) {
    switch (set) {
    case InstructionSet::v4:
        return "v4";
    case InstructionSet::v3:
        return "v3";
    default:
        return "baseline";
    }
}

InstructionSet best_instruction_set() {
#ifdef RRM_X86
    __builtin_cpu_init();
    // F16C came before AVX2, and not every compiler knows its name here.
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("popcnt");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    return v4 ? InstructionSet::v4 : v3 ? InstructionSet::v3 : InstructionSet::baseline;
#else
    return InstructionSet::baseline;
#endif
}

InstructionSet instruction_set(std::string_view asked) {
    for (const auto set : {InstructionSet::baseline, InstructionSet::v3, InstructionSet::v4}) {
        if (asked == name(set)) {
            if (set > best_instruction_set()) {
                throw std::invalid_argument(std::string(asked) + " is beyond this processor, which has " +
                                            name(best_instruction_set()) + "; unset RRM_CPU to use that");
            }
            return set;
        }
    }
    throw std::invalid_argument("RRM_CPU must be baseline, v3 or v4, got " + std::string(asked));
}

namespace {

std::atomic<InstructionSet> &chosen() {
    static std::atomic<InstructionSet> set = [] {
        const char *const asked = std::getenv("RRM_CPU");
        return asked == nullptr || *asked == '\0' ? best_instruction_set() : instruction_set(asked);
    }();
    return set;
}

} // namespace

InstructionSet chosen_instruction_set() {
    return chosen().load(std::memory_order_relaxed);
}

void choose_instruction_set(InstructionSet set) {
    chosen().store(set, std::memory_order_relaxed);
}

template <class F> const Loops<F> &loops() {
    const auto of = [](const auto &float16, const auto &bfloat16, const auto &float32,
                       const auto &float64) -> const Loops<F> & {
        if constexpr (std::is_same_v<F, Float16>) {
            return float16;
        } else if constexpr (std::is_same_v<F, BFloat16>) {
            return bfloat16;
        } else if constexpr (std::is_same_v<F, Float32>) {
            return float32;
        } else {
            return float64;
        }
    };
    switch (chosen_instruction_set()) {
#ifdef RRM_X86
    case InstructionSet::v4:
        return of(v4::float16, v4::bfloat16, v4::float32, v4::float64);
    case InstructionSet::v3:
        return of(v3::float16, v3::bfloat16, v3::float32, v3::float64);
#endif
    default:
        return of(baseline::float16, baseline::bfloat16, baseline::float32, baseline::float64);
    }
}

template const Loops<Float16> &loops<Float16>();
template const Loops<BFloat16> &loops<BFloat16>();
template const Loops<Float32> &loops<Float32>();
template const Loops<Float64> &loops<Float64>();

} // namespace rrm::cpu
