// A selection in rounds, over losses that come in parts: what each part adds to a round. All of it are counts, which
// add up, or minima: in which order the parts come, on how many machines, can't matter.
#pragma once

#include <array>
#include <cstdint>

#include "kernels.h"

namespace rrm::cpu {

// The first round: adds the losses, whose indices start at `first`, to the counts of all bins.
template <class F>
void tally_all(const typename F::Bits *losses, std::int64_t n, std::int64_t first, int threads, Tally &tally);

struct Round {
    std::array<Interval, 2> intervals;
    std::array<Partial, 2> partials;
    std::array<std::uint64_t, 2> points{};
    std::array<Census, 2> censuses;
    std::uint32_t checksum = 0;
};

// A later one: counts, or keeps, the losses inside the intervals, and counts how all of them stand to the points.
template <class F> void tally_some(const typename F::Bits *losses, std::int64_t n, int threads, Round &round);

// Of losses that are only looked at to know whether they are still the same.
template <class F> std::uint32_t checksum(const typename F::Bits *losses, std::int64_t n);

} // namespace rrm::cpu
