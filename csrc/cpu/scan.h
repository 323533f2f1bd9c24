// One pass over all losses by a team, its memory, and what it found.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels.h"
#include "scratch.h"
#include "select.h"
#include "thread_team.h"
#include "tuning.h"

namespace rrm::cpu {

// How many of n samples a member takes at a time, in turn with the others, so that each sees all parts of a sorted
// array. Long pieces suit the memory, short ones even out what the members find.
inline std::int64_t piece_size(std::int64_t n) {
    return std::clamp(n / 1024 / block_size * block_size, tuning.least_piece, 64 * block_size);
}

// The lesser of two indices, of which -1 is none.
inline std::int64_t first_of(std::int64_t a, std::int64_t b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

// How many threads n samples are worth, of those that they may have.
inline int members(std::int64_t n, int threads) {
    const std::int64_t worth = std::min(n / tuning.samples_per_thread, (n + piece_size(n) - 1) / piece_size(n));
    return static_cast<int>(std::clamp<std::int64_t>(worth, 1, threads));
}

// Calls task(member, begin, size) for all pieces, each member's in ascending order.
template <class Task> void for_each_piece(Team &team, std::int64_t n, const Task &task) {
    const std::int64_t piece = piece_size(n);
    team.run([&](int member) {
        for (std::int64_t begin = member * piece; begin < n; begin += team.size() * piece) {
            task(member, begin, std::min(piece, n - begin));
        }
    });
}

template <class F> class Survey {
  public:
    using Bits = typename F::Bits;
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    Survey(const Bits *losses, std::int64_t n, Team &team)
        : losses_(losses), n_(n), team_(team), passes_(static_cast<std::size_t>(team.size())), arena_(memory(n)) {}

    // Looks at all losses, for one bracket or two. Marks, if asked to and there is memory, those not below the first.
    void look(const Bracket<V> *brackets, int count, bool mark);

    // The candidates of all members together, and the least loss; these say nothing before the first look.
    const Candidates<V> &candidates(int which) const {
        return passes_[0].candidates[which];
    }
    V lowest() const {
        return passes_[0].lowest;
    }
    std::int64_t n_lowest() const {
        return passes_[0].n_lowest;
    }
    // A number that depends on all that was counted, and isn't 0.
    std::uint32_t fingerprint() const {
        std::uint64_t mixed = 0;
        for (const Candidates<V> &c : passes_[0].candidates) {
            for (const std::int64_t counted : {c.n_high, c.n_inside, c.stored}) {
                mixed = (mixed ^ static_cast<std::uint64_t>(counted)) * 0x9e3779b97f4a7c15;
                mixed ^= mixed >> 29;
            }
        }
        return static_cast<std::uint32_t>(mixed) | 1;
    }
    // Of +infinity only if there is nothing less, for only then it is a fault.
    NonFiniteCounts faults() const {
        NonFiniteCounts faults = passes_[0].faults;
        faults.n_inf = lowest() == std::numeric_limits<V>::infinity() ? n_lowest() : 0;
        return faults;
    }

    // Whether the last look marked. Its marks are those of the losses above the threshold if this is the only value
    // between the pivots, or else once a walk along the candidates has completed them.
    [[nodiscard]] bool marked() const {
        return marks_ != nullptr;
    }
    [[nodiscard]] bool can_walk() const {
        return marked() && candidates(0).stored == candidates(0).n_inside;
    }
    // Where a member's candidates stand; walked along its pieces, in order, they complete the marks.
    Walk<V> walk(int member, std::int64_t *tied) const {
        const auto &occupancy = passes_[static_cast<std::size_t>(member)].occupancy;
        const auto *const values = candidates(0).values + offsets_[static_cast<std::size_t>(member)];
        return {values, occupancy.halves, occupancy.occupied, tied};
    }
    std::uint64_t *marks() {
        return marks_;
    }

    // The places of the losses at the minimum, if a marking look has kept them all.
    [[nodiscard]] bool knows_lowest() const {
        return n_lowest() <= passes_[0].lowest_capacity;
    }
    const std::uint32_t *lowest_places() const {
        return passes_[0].lowest_places;
    }

    // Memory to think in, which the next look overwrites: beside what the last one found, and all of it.
    Words<Word> beside() {
        return beside_;
    }
    Words<Word> all() {
        arena_.reset();
        return {arena_.template take<Word>(memory(n_) / word), memory(n_) / word};
    }

  private:
    static constexpr std::int64_t word = sizeof(Word);
    static constexpr std::int64_t lowest_room = 1024; // places of samples at the minimum, of each member
    static constexpr std::int64_t lines = 1024;       // bytes, for what each part rounds up to lines

    // Bytes: a twentieth of the losses', or a constant if that is more.
    static std::int64_t memory(std::int64_t n) {
        return std::max(tuning.always_memory, n * static_cast<std::int64_t>(sizeof(Bits)) / 20);
    }
    // Lays out the memory of a marking look; false if there isn't enough.
    bool lay_out_marks(double share, std::int64_t free);
    void merge(const Pass<V> &own);

    const Bits *losses_;
    std::int64_t n_;
    Team &team_;
    std::vector<Pass<V>> passes_;       // of each member; the first ends up with all
    std::vector<std::int64_t> offsets_; // of each member's candidates among all
    Arena arena_;
    Words<Word> beside_{};
    std::uint64_t *marks_ = nullptr;
};

template <class F> bool Survey<F>::lay_out_marks(double share, std::int64_t free) {
    // Members differ, and of a sorted array one may find a whole piece of candidates more than another.
    const auto n = static_cast<double>(n_), members = static_cast<double>(team_.size());
    const auto spare = static_cast<double>(members > 1 ? piece_size(n_) : 0);
    const double in_half = 1.0 - std::exp(-share * static_cast<double>(half_size)); // that a half group has candidates
    const auto values = static_cast<std::int64_t>((1.1 * share * n) / members + spare) + 4 * slack;
    const auto halves = static_cast<std::int64_t>((1.1 * in_half * n / members + spare) / half_size) + 4 * slack;
    const std::int64_t words = (n_ + group_size - 1) / group_size, blocks = (n_ + block_size - 1) / block_size;
    const std::int64_t each = lowest_room * 4 + halves * 4;
    if (words * 8 + blocks * 8 + team_.size() * (each + values * word) > free) {
        return false;
    }
    marks_ = arena_.template take<std::uint64_t>(words);
    auto *const occupied = arena_.template take<std::uint64_t>(blocks);
    for (Pass<V> &pass : passes_) {
        pass.occupancy = {occupied, arena_.template take<std::uint32_t>(halves), halves, 0};
        pass.lowest_places = arena_.template take<std::uint32_t>(lowest_room);
        pass.lowest_capacity = lowest_room;
    }
    return true;
}

template <class F> void Survey<F>::look(const Bracket<V> *brackets, int count, bool mark) {
    std::fill(passes_.begin(), passes_.end(), Pass<V>{});
    arena_.reset();
    const std::int64_t thinking = 8192 + n_ / 1024; // words
    beside_ = {arena_.template take<Word>(thinking), thinking};
    marks_ = nullptr;
    const std::int64_t free = memory(n_) - thinking * word - lines * (team_.size() + 1);
    if (mark && count == 1 && n_ <= std::int64_t{std::numeric_limits<std::uint32_t>::max()}) {
        mark = lay_out_marks(brackets[0].share, free);
    }
    const std::int64_t room = (memory(n_) - arena_.taken() - lines) / word / team_.size() / count / slack * slack;
    for (int which = 0; which < count; ++which) { // one member's behind the other's, to become all
        for (Pass<V> &pass : passes_) {
            auto &c = pass.candidates[which];
            c.low = brackets[which].low;
            c.high = brackets[which].high;
            c.values = arena_.template take<Word>(room);
            c.capacity = is_single(c) ? 0 : room - 2 * slack;
        }
    }
    for_each_piece(team_, n_, [&](int member, std::int64_t begin, std::int64_t size) {
        Pass<V> &own = passes_[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
        if (marks_ != nullptr) {
            loops<F>().scan_marking(losses_ + begin, size, begin, own, marks_ + begin / group_size);
        } else {
            (count == 2 ? loops<F>().scan_two : loops<F>().scan)(losses_ + begin, size, begin, own);
        }
    });
    offsets_.assign(1, 0);
    for (std::size_t member = 1; member < passes_.size(); ++member) {
        offsets_.push_back(passes_[0].candidates[0].stored);
        merge(passes_[member]);
    }
}

template <class F> void Survey<F>::merge(const Pass<V> &own) {
    Pass<V> &all = passes_[0];
    for (int which = 0; which < 2; ++which) {
        auto &to = all.candidates[which];
        const auto &from = own.candidates[which];
        if (from.stored > 0) {
            std::memmove(to.values + to.stored, from.values, static_cast<std::size_t>(from.stored * word));
        }
        to.stored += from.stored;
        to.n_inside += from.n_inside;
        to.n_high += from.n_high;
    }
    if (own.lowest < all.lowest) {
        all.lowest = own.lowest;
        all.n_lowest = 0;
        all.lowest_places = own.lowest_places;
    } else if (own.lowest == all.lowest && own.n_lowest > 0) {
        if (all.n_lowest + own.n_lowest <= all.lowest_capacity) {
            std::copy(own.lowest_places, own.lowest_places + own.n_lowest, all.lowest_places + all.n_lowest);
        }
    }
    all.n_lowest += own.lowest == all.lowest ? own.n_lowest : 0;
    all.faults.n_nan += own.faults.n_nan;
    all.faults.n_neg_inf += own.faults.n_neg_inf;
    all.faults.first_nan = first_of(all.faults.first_nan, own.faults.first_nan);
    all.faults.first_neg_inf = first_of(all.faults.first_neg_inf, own.faults.first_neg_inf);
}

} // namespace rrm::cpu
