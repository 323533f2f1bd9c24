// Sizes from which an optimization pays off. Tests lower them, so that few samples take the paths of many.
#pragma once

#include <cstdint>
#include <fstream>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include "kernels.h"

namespace rrm::cpu {

// Half the size of the last-level cache. Larger weights are evicted before they are read again.
inline std::int64_t half_of_cache() {
    std::int64_t cache = 0;
    // Where groups of cores have caches of their own, as on AMD's processors, the C library returns the sum of all.
    if (std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size"); file >> cache) {
        cache *= 1024; // such as "32768K"
    }
#ifdef _SC_LEVEL3_CACHE_SIZE
    cache = cache > 0 ? cache : sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return (cache > 0 ? cache : std::int64_t{32} << 20) / 2;
}

struct Tuning {
    std::int64_t samples_per_thread = 1'000'000;    // that make another thread worth starting
    std::int64_t mark_from = std::int64_t{1} << 17; // samples; fewer losses are still cached when weights are written
    std::int64_t sample_runs_from = std::int64_t{1} << 15;  // samples; of fewer losses, single ones are sampled
    std::int64_t min_scratch_bytes = std::int64_t{1} << 20; // that any call may use, however few the losses
    std::int64_t stream_bytes = half_of_cache();            // size from which weights are written past the caches
    std::int64_t max_attempts = 3;                          // at finding a bracket, before falling back to radix_select
    std::int64_t min_piece = 4 * block_size;                // samples per piece of a thread; a multiple of block_size
    std::int64_t wait_for_threads = 0; // if not 0, a call waits until its threads have begun: for tests
};

// Not to be changed during a call.
inline Tuning tuning; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

} // namespace rrm::cpu
