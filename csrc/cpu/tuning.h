// From which sizes on something pays. Tests lower them, to try with few samples what happens with many.
#pragma once

#include <cstdint>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

#include "kernels.h"

namespace rrm::cpu {

// Half of the last-level cache: weights that are larger have left it before anybody reads them.
inline std::int64_t half_of_cache() {
    std::int64_t cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return (cache > 0 ? cache : std::int64_t{32} << 20) / 2;
}

struct Tuning {
    std::int64_t samples_per_thread = 500'000;           // for which another thread is worth starting
    std::int64_t mark_from = std::int64_t{1} << 17;      // below, losses are still near when weights are written
    std::int64_t draw_runs_from = std::int64_t{1} << 15; // below, single losses are near enough to be drawn
    std::int64_t always_memory = std::int64_t{1} << 20;  // bytes that any call may use, besides a share of the losses'
    std::int64_t stream_bytes = half_of_cache();         // of weights that are written past the caches
    std::int64_t attempts = 3;                           // at a bracket, before the digits are counted
    std::int64_t least_piece = 4 * block_size;           // that a thread takes at a time; a multiple of a block
};

// Not to be changed during a call.
inline Tuning tuning; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

} // namespace rrm::cpu
