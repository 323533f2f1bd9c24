// The rivals in C++ of bench_reweight.py: the memory floors, the best composition of a C++ selection and one fused
// update, and the project's kernel. Every function repeats the call and returns nanoseconds per call.
#include <algorithm>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <limits>
#include <thread>
#include <type_traits>
#include <vector>

#include "selections.h"

namespace {

using Index = std::int64_t;

struct Answer {
    double threshold, lowest;
    Index n_lowest, n_above;
};

// CPU time of a call on one thread, which other processes hardly disturb; elapsed time of a call on several.
template <class Call> double nanoseconds(Index calls, int threads, Call call) {
    const auto now = [clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC] {
        timespec time{};
        clock_gettime(clock, &time);
        return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
    };
    const double start = now();
    for (Index i = 0; i < calls; ++i) {
        call();
    }
    return (now() - start) / static_cast<double>(calls);
}

// Compiles BODY(arguments) for three instruction sets and calls the best that the processor supports.
#if defined(__x86_64__)
#define FOR_INSTRUCTION_SETS(NAME, BODY)                                                                               \
    template <class... A> __attribute__((target("arch=x86-64-v4"), noinline)) void NAME##_v4(A... a) {                 \
        BODY(a...);                                                                                                    \
    }                                                                                                                  \
    template <class... A> __attribute__((target("arch=x86-64-v3"), noinline)) void NAME##_v3(A... a) {                 \
        BODY(a...);                                                                                                    \
    }                                                                                                                  \
    template <class... A> __attribute__((noinline)) void NAME##_baseline(A... a) {                                     \
        BODY(a...);                                                                                                    \
    }                                                                                                                  \
    template <class... A> void NAME(A... a) {                                                                          \
        static const int level = instruction_set();                                                                    \
        level == 4 ? NAME##_v4(a...) : level == 3 ? NAME##_v3(a...) : NAME##_baseline(a...);                           \
    }
int instruction_set() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("x86-64-v4") ? 4 : __builtin_cpu_supports("x86-64-v3") ? 3 : 2;
}
#else
#define FOR_INSTRUCTION_SETS(NAME, BODY)                                                                               \
    template <class... A> __attribute__((noinline)) void NAME(A... a) {                                                \
        BODY(a...);                                                                                                    \
    }
int instruction_set() {
    return 0;
}
#endif
#define BODY inline __attribute__((always_inline)) void

// ---- Memory floors: no selection, only the memory traffic that every reweight needs. Losses are compared as integers,
// which is correct for positive ones and equally fast for all formats. Weights are read even at mu = 1: the processor
// fetches a cache line before overwriting it, and does so faster if the program reads it.

template <class Bits, class W> BODY touch_body(const Bits *c, Index n, Bits t, W a, W b, W *w) {
    for (Index i = 0; i < n; ++i) {
        w[i] = a * w[i] + (c[i] > t ? W{0} : b);
    }
}
template <class Bits> BODY least_body(const Bits *c, Index n, Bits *least) {
    Bits low = std::numeric_limits<Bits>::max();
    for (Index i = 0; i < n; ++i) {
        low = std::min(low, c[i]);
    }
    *least = low;
}
FOR_INSTRUCTION_SETS(touch, touch_body)
FOR_INSTRUCTION_SETS(least, least_body)

template <class Unsigned, class W>
double time_floor(const void *losses, Index n, double mu, void *weights, bool read_twice, int threads, Index calls) {
    using Bits = std::make_signed_t<Unsigned>;
    const auto *c = static_cast<const Bits *>(losses);
    auto *w = static_cast<W *>(weights);
    const auto a = static_cast<W>(1 - mu), b = static_cast<W>(mu);
    const auto part = [=](int thread) {
        const Index begin = n * thread / threads, size = n * (thread + 1) / threads - begin;
        for (Index i = 0; i < calls; ++i) {
            Bits t = std::numeric_limits<Bits>::max() / 2;
            if (read_twice) {
                Bits low;
                least(c + begin, size, &low);
                t = static_cast<Bits>(std::max(low, t)); // keeps the first read from being optimized away
            }
            touch(c + begin, size, t, a, b, w + begin);
        }
    };
    // Each thread repeats its own part: threads wait for each other only at the start and at the end.
    std::barrier meeting(threads);
    const auto work = [&](int thread) {
        meeting.arrive_and_wait();
        part(thread);
        meeting.arrive_and_wait();
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) {
        others.emplace_back(work, thread);
    }
    meeting.arrive_and_wait();
    const double time = nanoseconds(1, threads, [&] {
        part(0);
        meeting.arrive_and_wait();
    });
    for (auto &other : others) {
        other.join();
    }
    return time / static_cast<double>(calls);
}

// ---- The best composition: a copy, a library's selection on it, and loops that vectorise. After the selection the
// minimum is among the first rank values, and the values above the threshold are among the others.

constexpr Index block_size = 2048; // values that fit in the first-level cache between two loops

BODY summarize_body(const float *partitioned, Index n, Index rank, Answer *answer) {
    const float t = partitioned[rank - 1];
    float lowest = std::numeric_limits<float>::infinity();
    Index n_lowest = 0;
    for (Index begin = 0; begin < rank; begin += block_size) {
        const auto size = static_cast<int>(std::min(block_size, rank - begin));
        float low = lowest;
        int n_equal = 0;
        for (int i = 0; i < size; ++i) {
            low = partitioned[begin + i] < low ? partitioned[begin + i] : low;
        }
        for (int i = 0; i < size; ++i) {
            n_equal += partitioned[begin + i] == low;
        }
        n_lowest = low < lowest ? n_equal : n_lowest + n_equal;
        lowest = low;
    }
    Index n_above = 0;
    for (Index begin = rank; begin < n; begin += block_size) {
        const auto size = static_cast<int>(std::min(block_size, n - begin));
        int above = 0;
        for (int i = 0; i < size; ++i) {
            above += partitioned[begin + i] > t;
        }
        n_above += above;
    }
    *answer = {t, lowest, n_lowest, n_above};
}
BODY update_body(const float *c, Index n, float t, float lowest, float a, float kept, float top, float *w) {
    for (Index i = 0; i < n; ++i) {
        const float target = c[i] == lowest ? top : kept;
        w[i] = a * w[i] + (c[i] > t ? 0.0F : target);
    }
}
FOR_INSTRUCTION_SETS(summarize, summarize_body)
FOR_INSTRUCTION_SETS(update, update_body)

} // namespace

extern "C" {

int bench_instruction_set() {
    return instruction_set();
}

// width: bytes of a loss.
double bench_floor(int width, const void *c, Index n, double mu, void *w, int read_twice, int threads, Index calls) {
    const auto time = width == 2   ? time_floor<std::uint16_t, float>
                      : width == 4 ? time_floor<std::uint32_t, float>
                                   : time_floor<std::uint64_t, double>;
    return time(c, n, mu, w, read_twice != 0, threads, calls);
}

using Select = void (*)(float *values, std::ptrdiff_t n, std::ptrdiff_t k);

void bench_nth_element(float *values, std::ptrdiff_t n, std::ptrdiff_t k) {
    std::nth_element(values, values + k, values + n);
}

void bench_floyd_rivest(float *values, std::ptrdiff_t n, std::ptrdiff_t k) {
    bench::floyd_rivest::select(values, 0, n - 1, k);
}

void bench_pdqselect(float *values, std::ptrdiff_t n, std::ptrdiff_t k) {
    bench::pdq::select(values, values + n, values + k);
}

double bench_composition(Select select, const float *c, Index n, Index rank, double mu, float *w, float *scratch,
                         Index calls, Answer *answer) {
    return nanoseconds(calls, 1, [=] {
        std::memcpy(scratch, c, static_cast<std::size_t>(n) * sizeof(float));
        select(scratch, n, rank - 1);
        summarize(scratch, n, rank, answer);
        const auto t = static_cast<float>(answer->threshold), lowest = static_cast<float>(answer->lowest);
        const auto a = static_cast<float>(1 - mu), b = static_cast<float>(mu);
        const double level = 1 + static_cast<double>(answer->n_above) / static_cast<double>(answer->n_lowest);
        const float top = b * static_cast<float>(level);
        update(c, n, t, lowest, a, b, top, w);
    });
}

} // extern "C"

// ---- The project's kernel: native.py compiles csrc/cpu/*.cpp with this file.
#include "../../csrc/cpu/reweight.h"

namespace {

template <class F>
double time_kernel(const void *losses, Index n, Index rank, double mu, void *weights, int threads, Index calls,
                   Answer *answer) {
    const rrm::Rule rule{rank, 0.0, 1, 0, rrm::Redistribute::recipients, false};
    const auto *c = static_cast<const typename F::Bits *>(losses);
    auto *w = static_cast<typename F::Weight *>(weights);
    rrm::Plan plan{};
    rrm::InvalidWeights invalid;
    const double time = nanoseconds(calls, threads, [&] {
        rrm::cpu::reweight<F>(c, n, rule, mu, mu < 1 ? w : nullptr, w, threads, plan, invalid);
    });
    *answer = {plan.threshold, plan.loss_min, plan.n_recipients, plan.n_pruned};
    return time;
}

} // namespace

// format: numbered as in rrm_core/definition/formats.py.
extern "C" double bench_kernel(int format, const void *c, Index n, Index rank, double mu, void *w, int threads,
                               Index calls, Answer *answer) {
    const auto time = format == 0   ? time_kernel<rrm::Float16>
                      : format == 1 ? time_kernel<rrm::BFloat16>
                      : format == 2 ? time_kernel<rrm::Float32>
                                    : time_kernel<rrm::Float64>;
    return time(c, n, rank, mu, w, threads, calls, answer);
}
