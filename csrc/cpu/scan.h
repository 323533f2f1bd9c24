// A scan of all losses by a thread team: its scratch memory, its result, and how the samples are divided into pieces.
#pragma once

#include <algorithm>
#include <atomic>
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

// The number of samples in a piece. Long pieces suit the memory system; short ones spread the work evenly.
inline std::int64_t piece_size(std::int64_t n) {
    return std::clamp(n / 1024 / block_size * block_size, tuning.min_piece, 64 * block_size);
}

// The smaller of two indices, where -1 means that there is none.
inline std::int64_t first_index(std::int64_t a, std::int64_t b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

// The number of threads that pay off for n samples, at most `threads`.
inline int team_size(std::int64_t n, int threads) {
    const std::int64_t size = std::min(n / tuning.samples_per_thread, (n + piece_size(n) - 1) / piece_size(n));
    return static_cast<int>(std::clamp<std::int64_t>(size, 1, threads));
}

// Calls task(member, begin, size) for all pieces, in ascending order for each member. A member that has finished a
// piece takes the next one.
template <class Task> void for_each_piece(ThreadTeam &team, std::int64_t n, const Task &task) {
    const std::int64_t piece = piece_size(n);
    std::atomic<std::int64_t> next = 0;
    team.run([&](int member) {
        for (std::int64_t begin = next.fetch_add(piece); begin < n; begin = next.fetch_add(piece)) {
            task(member, begin, std::min(piece, n - begin));
        }
    });
}

template <class F>
PivotCounts count_pivot(ThreadTeam &team, const typename F::Bits *losses, std::int64_t n, typename F::Value pivot) {
    std::atomic<std::int64_t> n_below = 0, n_equal = 0, n_nan = 0;
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        const PivotCounts counts = kernels<F>().count_pivot(losses + begin, size, pivot);
        n_below += counts.n_below;
        n_equal += counts.n_equal;
        n_nan += counts.n_nan;
    });
    return {n_below, n_equal, n_nan};
}

// Memory to which the members of a team append. Appended values stay together; their order is that of the calls.
template <class T> class SharedList {
  public:
    void reset(T *memory, std::int64_t capacity) {
        memory_ = memory;
        capacity_ = capacity;
        size_ = 0;
    }
    // Returns the index of the first of the values, which are lost if there is no room.
    std::int64_t append(const T *values, std::int64_t n) {
        const std::int64_t first = size_.fetch_add(n);
        if (n > 0 && first + n <= capacity_) {
            std::memcpy(memory_ + first, values, static_cast<std::size_t>(n) * sizeof(T));
        }
        return first;
    }
    // Once the members have finished: the number of values, and whether none was lost.
    [[nodiscard]] std::int64_t size() const {
        return size_;
    }
    [[nodiscard]] bool is_complete() const {
        return size_ <= capacity_;
    }
    T *data() const {
        return memory_;
    }

  private:
    T *memory_ = nullptr;
    std::int64_t capacity_ = 0;
    std::atomic<std::int64_t> size_ = 0;
};

template <class F> class Scan {
  public:
    using Bits = typename F::Bits;
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    Scan(const Bits *losses, std::int64_t n, ThreadTeam &team)
        : losses_(losses), n_(n), team_(team), results_(static_cast<std::size_t>(team.size())),
          scratch_(scratch_bytes(n)) {}

    // Scans all losses with `count` brackets, one or two. If `mark` is set and there is memory for marks, marks the
    // samples that are not below the first bracket.
    void run(const Bracket<V> *brackets, int count, bool mark);

    // The result of the last run, merged over all members.
    const Candidates<V> &candidates(int bracket) const {
        return results_[0].candidates[bracket];
    }
    V minimum() const {
        return results_[0].minimum;
    }
    std::int64_t n_minimum() const {
        return results_[0].n_minimum;
    }
    // A hash of all counts; never 0.
    std::uint32_t fingerprint() const {
        std::uint64_t hash = 0;
        for (const Candidates<V> &c : results_[0].candidates) {
            for (const std::int64_t count : {c.n_high, c.n_inside, c.n_stored}) {
                hash = (hash ^ static_cast<std::uint64_t>(count)) * 0x9e3779b97f4a7c15;
                hash ^= hash >> 29;
            }
        }
        return static_cast<std::uint32_t>(hash) | 1;
    }
    // +infinity is counted only if it is the minimum, since only then it makes the losses invalid.
    NonFiniteCounts non_finite() const {
        NonFiniteCounts counts = results_[0].non_finite;
        counts.n_pos_inf = minimum() == std::numeric_limits<V>::infinity() ? n_minimum() : 0;
        return counts;
    }

    // Whether the last run made marks. The marks are those of the losses above the threshold if the threshold is the
    // only value between the pivots; otherwise the marks of the candidates have to be added.
    [[nodiscard]] bool has_marks() const {
        return marks_ != nullptr;
    }
    // Whether the marks of the candidates can be added, because all candidates are stored.
    [[nodiscard]] bool can_mark_candidates() const {
        return has_marks() && candidates(0).n_stored == candidates(0).n_inside;
    }
    // A cursor at the first candidate of the piece that begins at an index.
    CandidateCursor<V> cursor(std::int64_t begin, std::int64_t *tied_indices) const {
        const PieceCandidates &piece = pieces_[static_cast<std::size_t>(begin / piece_size(n_))];
        const CandidateMask &mask = results_[0].mask;
        return {candidates(0).values + piece.first_value, mask.halves + piece.first_half, mask.occupied, tied_indices};
    }
    std::uint64_t *marks() {
        return marks_;
    }

    // Whether a marking run has recorded the indices of all losses equal to the minimum.
    [[nodiscard]] bool has_minimum_indices() const {
        return n_minimum() <= results_[0].minimum_capacity;
    }
    const std::uint32_t *minimum_indices() const {
        return results_[0].minimum_indices;
    }

    // Scratch memory until the next run: what the result of the last run leaves free, and all of it.
    Buffer<Word> free_scratch() {
        return free_scratch_;
    }
    Buffer<Word> whole_scratch() {
        scratch_.reset();
        return {scratch_.template allocate<Word>(scratch_bytes(n_) / word_bytes), scratch_bytes(n_) / word_bytes};
    }

  private:
    static constexpr std::int64_t word_bytes = sizeof(Word);
    static constexpr std::int64_t minimum_capacity = 1024; // indices of samples at the minimum, for each member
    static constexpr std::int64_t padding = 1024; // bytes per member, since allocations are rounded up to cache lines

    // The indices of the first candidate of a piece and of its word in the mask.
    struct PieceCandidates {
        std::int64_t first_value = 0, first_half = 0;
    };

    // A twentieth of the size of the losses, or a constant if that is more.
    static std::int64_t scratch_bytes(std::int64_t n) {
        return std::max(tuning.min_scratch_bytes, n * static_cast<std::int64_t>(sizeof(Bits)) / 20);
    }
    // Allocates the memory of a marking run; false if `available` bytes are too few.
    bool allocate_marks(double expected_fraction, std::int64_t available);
    void allocate_candidates(const Bracket<V> *brackets, int count);
    void scan_piece(int member, std::int64_t begin, std::int64_t size, int count);
    // Moves the candidates of a piece from a member's memory to that of all members.
    void share_candidates(ScanResult<V> &result, PieceCandidates &piece);
    std::int64_t share_candidates(ScanResult<V> &result, int bracket);
    void merge(const ScanResult<V> &part);
    // Takes the shared candidates as those of the merged result.
    void take_shared_candidates();

    const Bits *losses_;
    std::int64_t n_;
    ThreadTeam &team_;
    std::vector<ScanResult<V>> results_;  // one per member; the first becomes the merged result
    std::vector<PieceCandidates> pieces_; // of a marking run
    // The candidates of all members, unless there is only one, and how many there are between the pivots. Those of a
    // member are the ones of its current piece.
    SharedList<Word> shared_values_[2];
    SharedList<std::uint32_t> shared_halves_;
    std::atomic<std::int64_t> shared_inside_[2]{};
    Scratch scratch_;
    Buffer<Word> free_scratch_{};
    std::uint64_t *marks_ = nullptr;
};

template <class F> bool Scan<F>::allocate_marks(double expected_fraction, std::int64_t available) {
    const auto n = static_cast<double>(n_);
    // The probability that a half group has candidates.
    const double occupied_fraction = 1.0 - std::exp(-expected_fraction * static_cast<double>(half_size));
    const auto values = static_cast<std::int64_t>(1.1 * expected_fraction * n) + 4 * slack;
    const auto halves = static_cast<std::int64_t>(1.1 * occupied_fraction * n / half_size) + 4 * slack;
    const std::int64_t words = (n_ + group_size - 1) / group_size;
    const std::int64_t blocks = (n_ + block_size - 1) / block_size;
    const std::int64_t halves_of_piece = team_.size() > 1 ? piece_size(n_) / half_size + slack : 0;
    const std::int64_t values_of_piece = team_.size() > 1 ? piece_size(n_) + 2 * slack : 0;
    const std::int64_t bytes_per_member = minimum_capacity * 4 + halves_of_piece * 4 + values_of_piece * word_bytes;
    if (words * 8 + blocks * 8 + halves * 4 + values * word_bytes + team_.size() * bytes_per_member > available) {
        return false;
    }
    marks_ = scratch_.template allocate<std::uint64_t>(words);
    auto *const occupied = scratch_.template allocate<std::uint64_t>(blocks);
    shared_halves_.reset(scratch_.template allocate<std::uint32_t>(halves), halves);
    for (ScanResult<V> &result : results_) {
        result.mask = {occupied, shared_halves_.data(), halves, 0};
        if (team_.size() > 1) {
            result.mask = {occupied, scratch_.template allocate<std::uint32_t>(halves_of_piece), halves_of_piece, 0};
        }
        result.minimum_indices = scratch_.template allocate<std::uint32_t>(minimum_capacity);
        result.minimum_capacity = minimum_capacity;
    }
    pieces_.assign(static_cast<std::size_t>(n_ / piece_size(n_) + 1), {});
    return true;
}

template <class F> void Scan<F>::allocate_candidates(const Bracket<V> *brackets, int count) {
    const std::int64_t words = (scratch_bytes(n_) - scratch_.bytes_used() - padding) / word_bytes / count;
    // A member needs memory for the candidates of a piece, which are few unless the losses are sorted.
    const std::int64_t words_of_piece =
        team_.size() > 1 ? std::min(piece_size(n_) + 2 * slack, words / 2 / team_.size() / slack * slack) : 0;
    const std::int64_t shared_words = (words - team_.size() * words_of_piece) / slack * slack;
    for (int bracket = 0; bracket < count; ++bracket) {
        shared_values_[bracket].reset(scratch_.template allocate<Word>(shared_words), shared_words - 2 * slack);
        for (ScanResult<V> &result : results_) {
            auto &c = result.candidates[bracket];
            c.low = brackets[bracket].low;
            c.high = brackets[bracket].high;
            c.values = shared_values_[bracket].data();
            c.capacity = shared_words - 2 * slack;
            if (team_.size() > 1) {
                c.values = scratch_.template allocate<Word>(words_of_piece);
                c.capacity = words_of_piece - 2 * slack;
            }
            if (has_single_value(c)) {
                c.capacity = 0;
            }
        }
    }
}

template <class F> void Scan<F>::run(const Bracket<V> *brackets, int count, bool mark) {
    std::fill(results_.begin(), results_.end(), ScanResult<V>{});
    scratch_.reset();
    const std::int64_t free_words = 8192 + n_ / 1024;
    free_scratch_ = {scratch_.template allocate<Word>(free_words), free_words};
    marks_ = nullptr;
    shared_halves_.reset(nullptr, 0);
    for (int bracket = 0; bracket < 2; ++bracket) {
        shared_values_[bracket].reset(nullptr, 0);
        shared_inside_[bracket] = 0;
    }
    const std::int64_t available = scratch_bytes(n_) - free_words * word_bytes - padding * (team_.size() + 1);
    if (mark && count == 1 && n_ <= std::int64_t{std::numeric_limits<std::uint32_t>::max()}) {
        mark = allocate_marks(brackets[0].expected_fraction, available);
    }
    allocate_candidates(brackets, count);
    for_each_piece(team_, n_,
                   [&](int member, std::int64_t begin, std::int64_t size) { scan_piece(member, begin, size, count); });
    for (std::size_t member = 1; member < results_.size(); ++member) {
        merge(results_[member]);
    }
    if (team_.size() > 1) {
        take_shared_candidates();
    }
}

template <class F> void Scan<F>::scan_piece(int member, std::int64_t begin, std::int64_t size, int count) {
    ScanResult<V> &result = results_[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
    PieceCandidates piece{result.candidates[0].n_stored, result.mask.n_stored};
    if (marks_ != nullptr) {
        kernels<F>().scan_and_mark(losses_ + begin, size, begin, result, marks_ + begin / group_size);
    } else {
        (count == 2 ? kernels<F>().scan_two_brackets : kernels<F>().scan)(losses_ + begin, size, begin, result);
    }
    if (team_.size() > 1) {
        share_candidates(result, piece);
    }
    if (marks_ != nullptr) {
        pieces_[static_cast<std::size_t>(begin / piece_size(n_))] = piece;
    }
}

template <class F> void Scan<F>::share_candidates(ScanResult<V> &result, PieceCandidates &piece) {
    piece.first_half = shared_halves_.append(result.mask.halves, result.mask.n_stored);
    result.mask.n_stored = 0;
    piece.first_value = share_candidates(result, 0);
    share_candidates(result, 1);
}

template <class F> std::int64_t Scan<F>::share_candidates(ScanResult<V> &result, int bracket) {
    auto &c = result.candidates[bracket];
    const std::int64_t first = shared_values_[bracket].append(c.values, c.n_stored);
    shared_inside_[bracket] += c.n_inside;
    c.n_stored = 0;
    c.n_inside = 0;
    return first;
}

template <class F> void Scan<F>::take_shared_candidates() {
    results_[0].mask.halves = shared_halves_.data();
    const bool has_mask = shared_halves_.is_complete();
    for (int bracket = 0; bracket < 2; ++bracket) {
        auto &c = results_[0].candidates[bracket];
        c.values = shared_values_[bracket].data();
        c.n_inside = shared_inside_[bracket];
        c.n_stored = has_mask && shared_values_[bracket].is_complete() ? shared_values_[bracket].size() : 0;
    }
}

template <class F> void Scan<F>::merge(const ScanResult<V> &part) {
    ScanResult<V> &total = results_[0];
    for (int bracket = 0; bracket < 2; ++bracket) {
        total.candidates[bracket].n_high += part.candidates[bracket].n_high;
    }
    if (part.minimum < total.minimum) {
        total.minimum = part.minimum;
        total.n_minimum = 0;
        total.minimum_indices = part.minimum_indices;
    } else if (part.minimum == total.minimum && part.n_minimum > 0) {
        if (total.n_minimum + part.n_minimum <= total.minimum_capacity) {
            std::copy(part.minimum_indices, part.minimum_indices + part.n_minimum,
                      total.minimum_indices + total.n_minimum);
        }
    }
    total.n_minimum += part.minimum == total.minimum ? part.n_minimum : 0;
    total.non_finite.n_nan += part.non_finite.n_nan;
    total.non_finite.n_neg_inf += part.non_finite.n_neg_inf;
    total.non_finite.first_nan = first_index(total.non_finite.first_nan, part.non_finite.first_nan);
    total.non_finite.first_neg_inf = first_index(total.non_finite.first_neg_inf, part.non_finite.first_neg_inf);
}

} // namespace rrm::cpu
