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

void add(std::int64_t *to, const std::vector<std::int64_t> &from) {
    for (std::size_t i = 0; i < from.size(); ++i) {
        to[i] += from[i];
    }
}

} // namespace

template <class F>
void tally_all(const typename F::Bits *losses, std::int64_t n, std::int64_t first, int threads, Tally &tally) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team can't
    Team team(members(n, threads));
    const auto others = static_cast<std::size_t>(team.size() - 1);
    std::vector<std::vector<std::int64_t>> counts(others, std::vector<std::int64_t>(bins));
    std::vector<Tally> own(others + 1);
    own[0] = tally;
    for (std::size_t other = 0; other < others; ++other) {
        own[other + 1].counts = counts[other].data();
    }
    for_each_piece(team, n, [&](int member, std::int64_t begin, std::int64_t size) {
        loops<F>().tally_all(losses + begin, size, first + begin, own[static_cast<std::size_t>(member)]);
    });
    tally = own[0];
    for (std::size_t other = 0; other < others; ++other) {
        const Tally &more = own[other + 1];
        add(tally.counts, counts[other]);
        tally.lowest = std::min(tally.lowest, more.lowest);
        tally.first_nan = first_of(tally.first_nan, more.first_nan);
        tally.first_low = first_of(tally.first_low, more.first_low);
        tally.checksum += more.checksum;
    }
}

template <class F> void tally_some(const typename F::Bits *losses, std::int64_t n, int threads, Round &round) {
    const ExactSubnormals exact;
    chosen_instruction_set();
    // Keys are kept by one thread, in their order of memory; there are few of them, and it is fast.
    const bool keeps = round.partials[0].keys != nullptr || round.partials[1].keys != nullptr;
    Team team(keeps ? 1 : members(n, threads));
    const auto others = static_cast<std::size_t>(team.size() - 1);
    std::vector<std::array<std::vector<std::int64_t>, 2>> counts(others);
    std::vector<Round> own(others + 1, round);
    for (std::size_t other = 0; other < others; ++other) {
        Round &more = own[other + 1];
        more.checksum = 0;
        more.censuses = {};
        for (std::size_t which = 0; which < 2; ++which) {
            more.partials[which] = {};
            if (round.partials[which].counts != nullptr) {
                counts[other][which].resize(bins);
                more.partials[which].counts = counts[other][which].data();
            }
        }
    }
    for_each_piece(team, n, [&](int member, std::int64_t begin, std::int64_t size) {
        Round &mine = own[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
        loops<F>().tally_some(losses + begin, size, mine.intervals.data(), mine.partials.data(), mine.points.data(),
                              mine.censuses.data(), mine.checksum);
    });
    round = own[0];
    for (std::size_t other = 0; other < others; ++other) {
        const Round &more = own[other + 1];
        round.checksum += more.checksum;
        for (std::size_t which = 0; which < 2; ++which) {
            add(round.partials[which].counts, counts[other][which]);
            round.partials[which].inside += more.partials[which].inside;
            round.censuses[which].n_below += more.censuses[which].n_below;
            round.censuses[which].n_equal += more.censuses[which].n_equal;
        }
    }
}

template <class F> std::uint32_t checksum(const typename F::Bits *losses, std::int64_t n) {
    chosen_instruction_set();
    return loops<F>().checksum(losses, n);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template void tally_all<F>(const F::Bits *, std::int64_t, std::int64_t, int, Tally &);                             \
    template std::uint32_t checksum<F>(const F::Bits *, std::int64_t);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE
template void tally_some<Float32>(const Float32::Bits *, std::int64_t, int, Round &);
template void tally_some<Float64>(const Float64::Bits *, std::int64_t, int, Round &);

} // namespace rrm::cpu
