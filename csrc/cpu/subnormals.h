// A thread may be set to treat subnormal numbers as zero (torch.set_flush_denormal does so). Comparisons of floats
// would then contradict the exact order of their keys.
#pragma once

#include <cstdint>

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace rrm::cpu {

// During its lifetime this thread does not flush subnormal numbers to zero.
class ExactSubnormals {
  public:
    ExactSubnormals() : saved_(get()) {
        set(saved_ & ~flush);
    }
    ~ExactSubnormals() {
        set(saved_);
    }
    ExactSubnormals(const ExactSubnormals &) = delete;
    ExactSubnormals(ExactSubnormals &&) = delete;
    ExactSubnormals &operator=(const ExactSubnormals &) = delete;
    ExactSubnormals &operator=(ExactSubnormals &&) = delete;

  private:
#if defined(__SSE2__) || defined(_M_X64)
    using Register = unsigned int;
    static constexpr Register flush = 0x8040; // flush-to-zero and denormals-are-zero
    static Register get() {
        return _mm_getcsr();
    }
    static void set(Register value) {
        _mm_setcsr(value);
    }
#elif defined(__aarch64__)
    using Register = std::uint64_t;
    static constexpr Register flush = Register{1} << 24; // FPCR.FZ
    static Register get() {
        Register value;
        __asm__ volatile("mrs %0, fpcr" : "=r"(value));
        return value;
    }
    static void set(Register value) {
        __asm__ volatile("msr fpcr, %0" : : "r"(value));
    }
#else
    using Register = int;
    static constexpr Register flush = 0;
    static Register get() {
        return 0;
    }
    static void set(Register) {}
#endif
    Register saved_;
};

} // namespace rrm::cpu
