#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "instruction_sets.h"
#include "kernels.h"

namespace rrm::cpu {

namespace baseline {
extern const AllKernels all_kernels;
}
namespace v3 {
extern const AllKernels all_kernels;
}
namespace v4 {
extern const AllKernels all_kernels;
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
    // F16C is implied by AVX2, and not every compiler accepts its name here.
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

InstructionSet parse_instruction_set(std::string_view text) {
    for (const auto set : {InstructionSet::baseline, InstructionSet::v3, InstructionSet::v4}) {
        if (text == name(set)) {
            if (set > best_instruction_set()) {
                throw std::invalid_argument(std::string(text) + " is beyond this processor, which has " +
                                            name(best_instruction_set()) + "; unset RRM_CPU to use that");
            }
            return set;
        }
    }
    throw std::invalid_argument("RRM_CPU must be baseline, v3 or v4, got " + std::string(text));
}

namespace {

std::atomic<InstructionSet> &chosen() {
    static std::atomic<InstructionSet> set = [] {
        const char *const variable = std::getenv("RRM_CPU");
        return variable == nullptr || *variable == '\0' ? best_instruction_set() : parse_instruction_set(variable);
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

template <class F> const Kernels<F> &kernels() {
    switch (chosen_instruction_set()) {
#ifdef RRM_X86
    case InstructionSet::v4:
        return std::get<Kernels<F>>(v4::all_kernels);
    case InstructionSet::v3:
        return std::get<Kernels<F>>(v3::all_kernels);
#endif
    default:
        return std::get<Kernels<F>>(baseline::all_kernels);
    }
}

template const Kernels<Float16> &kernels<Float16>();
template const Kernels<BFloat16> &kernels<BFloat16>();
template const Kernels<Float32> &kernels<Float32>();
template const Kernels<Float64> &kernels<Float64>();

} // namespace rrm::cpu
