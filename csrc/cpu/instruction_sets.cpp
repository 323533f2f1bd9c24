#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "instruction_sets.h"
#include "kernels.h"

namespace rrm::cpu {

namespace baseline {
extern const AllLoops all_loops;
}
namespace v3 {
extern const AllLoops all_loops;
}
namespace v4 {
extern const AllLoops all_loops;
}

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
    if (v4) {
        return InstructionSet::v4;
    }
    return v3 ? InstructionSet::v3 : InstructionSet::baseline;
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
    switch (chosen_instruction_set()) {
#ifdef RRM_X86
    case InstructionSet::v4:
        return std::get<Loops<F>>(v4::all_loops);
    case InstructionSet::v3:
        return std::get<Loops<F>>(v3::all_loops);
#endif
    default:
        return std::get<Loops<F>>(baseline::all_loops);
    }
}

template const Loops<Float16> &loops<Float16>();
template const Loops<BFloat16> &loops<BFloat16>();
template const Loops<Float32> &loops<Float32>();
template const Loops<Float64> &loops<Float64>();

} // namespace rrm::cpu
