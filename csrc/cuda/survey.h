// Second launch: one pass over all losses. It finds the minimum, counts what lies where about the brackets and what
// can't be reweighted, and collects the candidates. The last block settles how each cut is to be sought.
#pragma once

#include <type_traits>

#include "gpu.h"
#include "state.h"
#include "together.h"
#include "vectors.h"

namespace rrm::cuda {

// Integers of the width with which the processor counts: keys are compared in these.
template <class Bits> using Word = std::conditional_t<sizeof(Bits) == 2, std::uint32_t, Bits>;

// The key of a loss that isn't NaN, in a third of the instructions: the pass over all losses is as long as these.
template <class F> __device__ __forceinline__ Word<typename F::Bits> key_of_number(typename F::Bits bits) {
    using Bits = typename F::Bits;
    if constexpr (F::width == 32) {
        bits = std::bit_cast<Bits>(std::bit_cast<float>(bits) + 0.0F); // -0 + 0 is 0, at no cost to integer units
    } else {
        bits = bits == F::sign ? Bits{0} : bits;
    }
    const auto negative = static_cast<Bits>(-static_cast<Bits>(bits >> (F::width - 1)));
    return static_cast<Bits>(bits ^ static_cast<Bits>(negative | F::sign));
}

// Two keys, and what lies about them, counted by one thread.
template <class Bits> struct Bracket {
    Word<Bits> low, high, span, room; // high - low; and how many keys could lie between them

    __device__ explicit Bracket(const Cut<Bits> &cut)
        : low(cut.low), high(cut.high), span(high - low), room(span == 0 ? 0 : span - 1) {}

    [[nodiscard]] __device__ bool inside(Word<Bits> key) const {
        return key - low - 1 < room; // in one comparison, as unsigned integers wrap around
    }
};

// Appends keys to a list in global memory that all warps share. A warp takes slots by the chunk, since millions of
// atomic operations on one counter would take longer than the pass.
template <class Bits> class Collector {
  public:
    __device__ Collector(Bits *slots, std::int64_t capacity, Count *reserved, int chunk)
        : slots(slots), capacity(capacity), reserved(reserved), chunk(chunk) {}

    // Appends those of the warp's keys that lie inside, n of them in this lane.
    template <int N>
    __device__ __forceinline__ void append(const Word<Bits> (&keys)[N], unsigned n, const Bracket<Bits> &bracket) {
        if (!__any_sync(all_lanes, n != 0)) {
            return;
        }
        unsigned all = 0;
        const unsigned position = sum_before(n, all);
        if (end - next < static_cast<std::int64_t>(all)) {
            finish(bracket.low);
            const std::int64_t needed = all, size = needed > chunk ? needed : chunk;
            next = reserve(size);
            end = next + size;
        }
        if (next + all <= capacity) {
            Bits *to = slots + next + position;
            GPU_UNROLL for (const Word<Bits> key : keys) {
                if (bracket.inside(key)) {
                    gpu::store(to, static_cast<Bits>(key));
                    ++to;
                }
            }
        }
        next += all;
    }

    // Fills the slots that this warp took and didn't need with a key that is no candidate.
    __device__ void finish(Word<Bits> no_candidate) {
        for (std::int64_t slot = next + lane(); slot < end && slot < capacity; slot += warp) {
            gpu::store(slots + slot, static_cast<Bits>(no_candidate));
        }
    }

  private:
    __device__ std::int64_t reserve(std::int64_t size) {
        Count first = 0;
        if (lane() == 0) {
            first = atomicAdd(reserved, static_cast<Count>(size));
        }
        return static_cast<std::int64_t>(__shfl_sync(all_lanes, first, 0));
    }

    Bits *slots;
    std::int64_t capacity;
    Count *reserved;
    int chunk;
    std::int64_t next = 0, end = 0; // the slots that this warp has yet to fill
};

// What one thread counts; 32 bits are enough for its part of 2^40 losses.
template <class Bits> struct Tally {
    Word<Bits> least = std::numeric_limits<Bits>::max();
    unsigned n_least = 0, n_nan = 0, n_low = 0, n_inf = 0;
    About<unsigned> about[2];

    __device__ Survey<Bits> survey() const {
        Survey<Bits> s;
        s.least = static_cast<Bits>(least);
        s.n_least = n_least;
        s.n_nan = n_nan;
        s.n_low = n_low;
        s.n_inf = n_inf;
        GPU_UNROLL for (int i = 0; i < 2; ++i) {
            s.about[i] = {about[i].below, about[i].at_low, about[i].inside, about[i].at_high};
        }
        return s;
    }
};

// Counts the losses of a vector that are no finite numbers: rare, and worth another look.
template <class F>
__device__ void note_special(const Job<F> &job, const Vectors<typename F::Bits> &vectors, std::int64_t vector,
                             Tally<typename F::Bits> &tally) {
    const std::int64_t begin = vectors.first(vector), end = begin + vectors.width;
    for (std::int64_t i = begin > 0 ? begin : 0; i < (end < job.n ? end : job.n); ++i) {
        const typename F::Bits key = F::key(gpu::load(job.losses + i));
        if (key == F::key_inf) {
            ++tally.n_inf;
        } else if (key == F::key_nan && tally.n_nan++ == 0) { // a thread's first is its lowest
            atomicMin(&job.state->first_nan, static_cast<Count>(i));
        } else if (key == F::key_neg_inf && tally.n_low++ == 0) {
            atomicMin(&job.state->first_low, static_cast<Count>(i));
        }
    }
}

template <class Bits> __device__ int bit_width(Bits x) {
    int width = 0;
    for (; x != 0; x = static_cast<Bits>(x >> 1)) {
        ++width;
    }
    return width;
}

// Begins the search for the `rank`-th smallest key, given what lies where about the bracket.
template <class F>
__device__ void seek_rank(Cut<typename F::Bits> &cut, const About<std::int64_t> &seen, std::int64_t rank,
                          std::int64_t capacity) {
    using Bits = typename F::Bits;
    const std::int64_t inside = seen.below + seen.at_low, high = inside + seen.inside;
    const auto settle = [&](Bits key, std::int64_t below, std::int64_t equal) {
        cut.search = Search::over;
        cut.key = key;
        cut.below = below;
        cut.equal = equal;
    };
    const auto search = [&](Search where, Bits first, Bits last, std::int64_t below) {
        cut.search = where;
        cut.known = false;
        cut.first = first;
        cut.last = last;
        cut.bits = bit_width(static_cast<Bits>(last - first));
        cut.below = below;
        cut.rank = rank - below;
    };
    if (rank <= seen.below) {
        search(Search::losses, 0, static_cast<Bits>(cut.low - 1), 0);
    } else if (rank <= inside) {
        settle(cut.low, seen.below, seen.at_low);
    } else if (rank <= high) {
        const bool fits = cut.reserved <= static_cast<Count>(capacity);
        search(fits ? Search::candidates : Search::losses, static_cast<Bits>(cut.low + 1),
               static_cast<Bits>(cut.high - 1), inside);
    } else if (rank <= high + seen.at_high) {
        settle(cut.high, high, seen.at_high);
    } else {
        search(Search::losses, static_cast<Bits>(cut.high + 1), F::key_inf, high + seen.at_high);
    }
}

// Begins to count the sides of a key that is known now.
template <class F>
__device__ void seek_key(Cut<typename F::Bits> &cut, const About<std::int64_t> &seen, typename F::Bits key,
                         std::int64_t capacity) {
    cut.key = key;
    cut.known = true;
    if (key == cut.low) {
        cut.search = Search::over;
        cut.below = seen.below;
        cut.equal = seen.at_low;
    } else if (key == cut.high) {
        cut.search = Search::over;
        cut.below = seen.below + seen.at_low + seen.inside;
        cut.equal = seen.at_high;
    } else if (key > cut.low && key < cut.high && cut.reserved <= static_cast<Count>(capacity)) {
        cut.search = Search::candidates;
        cut.first = static_cast<typename F::Bits>(cut.low + 1);
        cut.last = static_cast<typename F::Bits>(cut.high - 1);
        cut.below = seen.below + seen.at_low;
    } else {
        cut.search = Search::losses;
        cut.first = 0;
        cut.last = F::key_inf;
        cut.below = 0;
    }
}

// Settles how each cut is to be sought, given what all blocks have seen.
template <class F> __device__ void settle_search(const Job<F> &job, const Survey<typename F::Bits> &seen) {
    State<F> &state = *job.state;
    state.seen = seen;
    const NonFiniteCounts faults{seen.n_nan, 0, seen.n_low, 0, seen.n_inf};
    state.refused = faults.is_invalid(job.n, job.rule.prune_nan);
    GPU_UNROLL for (int i = 0; i < 2; ++i) {
        if (i == job.cuts) {
            break;
        }
        Cut<typename F::Bits> &cut = state.cut[i];
        const std::int64_t numbers = job.n - seen.n_nan, rank = i == 0 ? job.rule.rank : job.rule.recipient_rank;
        if (state.refused) {
            cut.search = Search::over;
        } else if (rank == 0) {
            const auto key = F::key_not_above(F::decode(seen.least) + job.rule.gamma);
            seek_key<F>(cut, seen.about[i], key, job.shape.capacity);
        } else {
            seek_rank<F>(cut, seen.about[i], rank < numbers ? rank : numbers, job.shape.capacity);
        }
    }
}

// Adds up what all threads have seen; the last block to come here goes on with that.
template <class F> __device__ void conclude_survey(const Job<F> &job, const Survey<typename F::Bits> &mine) {
    const Survey<typename F::Bits> seen = merge_block(mine);
    if (threadIdx.x == 0) {
        job.surveys[blockIdx.x] = seen;
    }
    if (!is_last_block(&job.state->surveyed, gridDim.x)) {
        return;
    }
    Survey<typename F::Bits> all;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) {
        all.merge(job.surveys[i]);
    }
    all = merge_block(all);
    if (threadIdx.x == 0) {
        settle_search(job, all);
    }
}

// Turns the losses of a tile into keys and returns the least of these. Special losses are counted on the way.
template <class F, int N, class Loaded, class Vector>
__device__ __forceinline__ Word<typename F::Bits>
read_keys(const Job<F> &job, const Vectors<typename F::Bits> &vectors, const Loaded &loaded, Vector vector,
          Tally<typename F::Bits> &tally, Word<typename F::Bits> (&keys)[N]) {
    constexpr int width = Vectors<typename F::Bits>::width;
    Word<typename F::Bits> least = F::key_nan, highest = 0;
    GPU_UNROLL for (int i = 0; i < N; ++i) {
        keys[i] = key_of_number<F>(loaded[i / width].at[i % width]);
        least = keys[i] < least ? keys[i] : least;
        highest = keys[i] > highest ? keys[i] : highest;
    }
    if (least > F::key_neg_inf && highest < F::key_inf) {
        return least;
    }
    least = F::key_nan; // infinities, NaN of either sign, or nothing there
    GPU_UNROLL for (int i = 0; i < N; ++i) {
        keys[i] = F::key(loaded[i / width].at[i % width]);
        least = keys[i] < least ? keys[i] : least;
    }
    GPU_UNROLL for (int i = 0; i < N / width; ++i) {
        note_special(job, vectors, vector(i), tally);
    }
    return least;
}

// Counts how often the least key of a tile occurs, unless there was a lesser one before.
template <class Bits, int N>
__device__ __forceinline__ void note_least(const Word<Bits> (&keys)[N], Word<Bits> least, Tally<Bits> &tally) {
    if (least > tally.least) {
        return;
    }
    tally.n_least = least < tally.least ? 0 : tally.n_least;
    tally.least = least;
    GPU_UNROLL for (const Word<Bits> key : keys) {
        tally.n_least += key == least ? 1 : 0;
    }
}

// Counts what lies where about a bracket. Returns how many keys lie inside.
template <class Bits, int N>
__device__ __forceinline__ unsigned count_about(const Word<Bits> (&keys)[N], const Bracket<Bits> &bracket,
                                                About<unsigned> &about) {
    unsigned n_inside = 0, n_closed = 0;
    GPU_UNROLL for (const Word<Bits> key : keys) {
        about.below += key < bracket.low ? 1 : 0;
        n_closed += key - bracket.low <= bracket.span ? 1 : 0;
        n_inside += bracket.inside(key) ? 1 : 0;
    }
    if (n_closed != n_inside) { // on the edges: seldom, unless many losses are equal
        GPU_UNROLL for (const Word<Bits> key : keys) {
            about.at_low += key == bracket.low ? 1 : 0;
            about.at_high += key == bracket.high && bracket.span != 0 ? 1 : 0;
        }
    }
    about.inside += n_inside;
    return n_inside;
}

template <class F, int Cuts> __global__ void __launch_bounds__(most_threads, least_blocks) survey(Job<F> job) {
    using Bits = typename F::Bits;
    State<F> *state = job.state;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = thread; i < n_bins<F>; i += std::int64_t{gridDim.x} * blockDim.x) {
        GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
            job.bins[c][i] = 0;
        }
    }
    const Bracket<Bits> brackets[2] = {Bracket<Bits>(state->cut[0]), Bracket<Bits>(state->cut[Cuts - 1])};
    Collector<Bits> collectors[2] = {{job.candidates[0], job.shape.capacity, &state->cut[0].reserved, job.shape.chunk},
                                     {job.candidates[1], job.shape.capacity, &state->cut[1].reserved, job.shape.chunk}};
    Tally<Bits> tally;
    const Vectors<Bits> vectors(job.losses, job.n);
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        Word<Bits> keys[in_flight<Bits> * Vectors<Bits>::width];
        const Word<Bits> least = read_keys<F>(job, vectors, loaded, vector, tally, keys);
        note_least<Bits>(keys, least, tally);
        GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
            collectors[c].append(keys, count_about<Bits>(keys, brackets[c], tally.about[c]), brackets[c]);
        }
    });
    GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
        collectors[c].finish(brackets[c].low);
    }
    conclude_survey(job, tally.survey());
}

} // namespace rrm::cuda
