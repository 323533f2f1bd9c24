#include "bucket_counts.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "../ordered_key.h"
#include "scan.h"
#include "subnormals.h"
#include "thread_team.h"

namespace rrm::cpu {
namespace {

constexpr std::size_t bins = std::size_t{1} << bin_bits;

void add(std::int64_t *to, const std::vector<std::int64_t> &counts) {
    for (std::size_t i = 0; i < counts.size(); ++i) {
        to[i] += counts[i];
    }
}

} // namespace

// In both passes member 0 of the team adds to the caller's counts, and the others to counts of their own.
template <class F>
void count_first_pass(const typename F::Bits *losses, std::int64_t n, std::int64_t first, int threads,
                      FirstPassCounts &result) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team must not
    ThreadTeam team(team_size(n, threads));
    const auto others = static_cast<std::size_t>(team.size() - 1);
    std::vector<std::vector<std::int64_t>> counts(others, std::vector<std::int64_t>(bins));
    std::vector<FirstPassCounts> results(others + 1);
    results[0] = result;
    for (std::size_t other = 0; other < others; ++other) {
        results[other + 1].counts = counts[other].data();
    }
    for_each_piece(team, n, [&](int member, std::int64_t begin, std::int64_t size) {
        kernels<F>().count_first_pass(losses + begin, size, first + begin, results[static_cast<std::size_t>(member)]);
    });
    result = results[0];
    for (std::size_t other = 0; other < others; ++other) {
        const FirstPassCounts &part = results[other + 1];
        add(result.counts, counts[other]);
        result.min_key = std::min(result.min_key, part.min_key);
        result.first_nan = first_index(result.first_nan, part.first_nan);
        result.first_neg_inf = first_index(result.first_neg_inf, part.first_neg_inf);
        result.checksum += part.checksum;
    }
}

template <class F> void count_pass(const typename F::Bits *losses, std::int64_t n, int threads, CountingPass &pass) {
    const ExactSubnormals exact;
    chosen_instruction_set();
    // Keys are stored by one thread, in their order in memory: they are few, and one thread is fast enough.
    const bool stores_keys = pass.range_counts[0].keys != nullptr || pass.range_counts[1].keys != nullptr;
    ThreadTeam team(stores_keys ? 1 : team_size(n, threads));
    const auto others = static_cast<std::size_t>(team.size() - 1);
    std::vector<std::array<std::vector<std::int64_t>, 2>> counts(others);
    std::vector<CountingPass> passes(others + 1, pass);
    for (std::size_t other = 0; other < others; ++other) {
        CountingPass &part = passes[other + 1];
        part.checksum = 0;
        part.pivot_counts = {};
        for (std::size_t i = 0; i < 2; ++i) {
            part.range_counts[i] = {};
            if (pass.range_counts[i].counts != nullptr) {
                counts[other][i].resize(bins);
                part.range_counts[i].counts = counts[other][i].data();
            }
        }
    }
    for_each_piece(team, n, [&](int member, std::int64_t begin, std::int64_t size) {
        CountingPass &part = passes[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
        kernels<F>().count_pass(losses + begin, size, part.ranges.data(), part.range_counts.data(), part.pivots.data(),
                                part.pivot_counts.data(), part.checksum);
    });
    pass = passes[0];
    for (std::size_t other = 0; other < others; ++other) {
        const CountingPass &part = passes[other + 1];
        pass.checksum += part.checksum;
        for (std::size_t i = 0; i < 2; ++i) {
            add(pass.range_counts[i].counts, counts[other][i]);
            pass.range_counts[i].n_in_range += part.range_counts[i].n_in_range;
            pass.pivot_counts[i].n_below += part.pivot_counts[i].n_below;
            pass.pivot_counts[i].n_equal += part.pivot_counts[i].n_equal;
        }
    }
}

template <class F> std::uint32_t checksum(const typename F::Bits *losses, std::int64_t n) {
    chosen_instruction_set();
    return kernels<F>().checksum(losses, n);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template void count_first_pass<F>(const F::Bits *, std::int64_t, std::int64_t, int, FirstPassCounts &);            \
    template std::uint32_t checksum<F>(const F::Bits *, std::int64_t);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE
template void count_pass<Float32>(const Float32::Bits *, std::int64_t, int, CountingPass &);
template void count_pass<Float64>(const Float64::Bits *, std::int64_t, int, CountingPass &);

} // namespace rrm::cpu
