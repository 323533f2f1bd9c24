// Second launch: one pass over all losses. It finds the minimum, counts what lies where about the brackets and what
// can't be reweighted, and collects the candidates. The last block settles how each cut is to be sought.
#pragma once

#include "gpu.h"
#include "state.h"
#include "together.h"
#include "vectors.h"

namespace rrm::cuda {

// Appends keys to a list in global memory that all warps share. A warp takes slots by the chunk, since millions of
// atomic operations on one counter would take longer than the pass.
template <class Bits> class Collector {
  public:
    __device__ Collector(Bits *slots, std::int64_t capacity, Count *reserved, int chunk)
        : slots(slots), capacity(capacity), reserved(reserved), chunk(chunk) {}

    // Appends those of the warp's keys for which inside(key), n of them in this lane.
    template <int N, class Inside> __device__ void append(const Bits (&keys)[N], unsigned n, Inside inside) {
        if (!__any_sync(all_lanes, n != 0)) {
            return;
        }
        unsigned all = 0;
        std::int64_t position = sum_before(n, all);
        const std::int64_t room = end - next, missing = static_cast<std::int64_t>(all) - room;
        std::int64_t fresh = 0, size = 0;
        if (missing > 0) {
            size = missing > chunk ? missing : chunk;
            fresh = reserve(size);
        }
        GPU_UNROLL for (const Bits key : keys) {
            if (inside(key)) {
                put(position < room ? next + position : fresh + (position - room), key);
                ++position;
            }
        }
        if (missing > 0) {
            next = fresh + missing;
            end = fresh + size;
        } else {
            next += all;
        }
    }

    // Fills the slots that this warp took and didn't need with a key that is no candidate.
    __device__ void finish(Bits no_candidate) {
        for (std::int64_t slot = next + lane(); slot < end; slot += warp) {
            put(slot, no_candidate);
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

    __device__ void put(std::int64_t slot, Bits key) {
        if (slot < capacity) {
            gpu::store(slots + slot, key);
        }
    }

    Bits *slots;
    std::int64_t capacity;
    Count *reserved;
    int chunk;
    std::int64_t next = 0, end = 0; // the slots that this warp has yet to fill
};

// What one thread counts; 32 bits are enough for its part of 2^40 losses.
template <class Bits> struct Tally {
    Bits least = std::numeric_limits<Bits>::max();
    unsigned n_least = 0, n_nan = 0, n_low = 0, n_inf = 0;
    About<unsigned> about[2];

    __device__ Survey<Bits> survey() const {
        Survey<Bits> s;
        s.least = least;
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
        if (key == F::key_nan) {
            ++tally.n_nan;
            atomicMin(&job.state->first_nan, static_cast<Count>(i));
        } else if (key == F::key_inf) {
            ++tally.n_inf;
        } else if (key == F::key_low) {
            ++tally.n_low;
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

template <class F> __device__ void conclude_survey(const Job<F> &job, const Survey<typename F::Bits> &seen) {
    State<F> &state = *job.state;
    state.seen = seen;
    const Faults faults{seen.n_nan, 0, seen.n_low, 0, seen.n_inf};
    state.refused = faults.refuse(job.n, job.rule.prune_nan);
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

// What one thread does with its part of a tile.
template <class F, int Cuts, int N>
__device__ __forceinline__ void look_at(const typename F::Bits (&keys)[N], const typename F::Bits (&low)[Cuts],
                                        const typename F::Bits (&high)[Cuts], Tally<typename F::Bits> &tally,
                                        Collector<typename F::Bits> (&collectors)[2]) {
    using Bits = typename F::Bits;
    GPU_UNROLL for (const Bits key : keys) {
        tally.n_least = (key < tally.least ? 0 : tally.n_least) + (key <= tally.least ? 1 : 0);
        tally.least = key < tally.least ? key : tally.least;
    }
    GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
        const auto inside = [&](Bits key) { return key > low[c] && key < high[c]; };
        unsigned n_inside = 0;
        GPU_UNROLL for (const Bits key : keys) {
            tally.about[c].below += key < low[c] ? 1 : 0;
            tally.about[c].at_low += key == low[c] ? 1 : 0;
            tally.about[c].at_high += key == high[c] && high[c] != low[c] ? 1 : 0;
            n_inside += inside(key) ? 1 : 0;
        }
        tally.about[c].inside += n_inside;
        collectors[c].append(keys, n_inside, inside);
    }
}

template <class F, int Cuts> __global__ void __launch_bounds__(most_threads, least_blocks) survey(Job<F> job) {
    using Bits = typename F::Bits;
    constexpr int width = Vectors<Bits>::width, most = in_flight<Bits>;
    State<F> *state = job.state;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = thread; i < n_bins<F>; i += std::int64_t{gridDim.x} * blockDim.x) {
        GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
            job.bins[c][i] = 0;
        }
    }
    Bits low[Cuts], high[Cuts];
    GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
        low[c] = state->cut[c].low;
        high[c] = state->cut[c].high;
    }
    Collector<Bits> collectors[2] = {{job.candidates[0], job.shape.capacity, &state->cut[0].reserved, job.shape.chunk},
                                     {job.candidates[1], job.shape.capacity, &state->cut[1].reserved, job.shape.chunk}};
    Tally<Bits> tally;
    const Vectors<Bits> vectors(job.losses, job.n);
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        Bits keys[most * width];
        GPU_UNROLL for (int i = 0; i < most; ++i) {
            bool special = false;
            GPU_UNROLL for (int j = 0; j < width; ++j) {
                const Bits key = keys[i * width + j] = F::key(loaded[i].at[j]);
                special |= key >= F::key_inf || key <= F::key_low;
            }
            if (special) {
                note_special(job, vectors, vector(i), tally);
            }
        }
        look_at<F>(keys, low, high, tally, collectors);
    });
    GPU_UNROLL for (int c = 0; c < Cuts; ++c) {
        collectors[c].finish(low[c]);
    }
    const Survey<Bits> seen = merge_block(tally.survey());
    if (threadIdx.x == 0) {
        job.surveys[blockIdx.x] = seen;
    }
    if (is_last_block(&state->surveyed, gridDim.x)) {
        Survey<Bits> all;
        for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) {
            all.merge(job.surveys[i]);
        }
        all = merge_block(all);
        if (threadIdx.x == 0) {
            conclude_survey(job, all);
        }
    }
}

} // namespace rrm::cuda
