// What a reweight keeps in device memory between its launches, and what each launch is told.
#pragma once

#include <cstdint>
#include <limits>

#include "gpu.h"
#include "reweight.h"

namespace rrm::cuda {

constexpr int warp = 32;
constexpr int least_blocks = 3; // that a multiprocessor can hold: no thread gets more than 80 registers
// 16-byte loads that a thread starts before it uses the first; what they bring must fit into its registers.
template <class Bits> constexpr int in_flight = sizeof(Bits) == 2 ? 2 : 4;

// A key is sought digit by digit, most significant first, with a histogram for each digit in shared memory. Five digits
// are all that eight launches leave room for, and 13 bits all that 48 KiB hold.
constexpr int digit_bits_of(int width) {
    if (width == 64) {
        return 13;
    }
    return width == 32 ? 11 : 8;
}
template <class F> constexpr int digit_bits = digit_bits_of(F::width);
template <class F> constexpr int digits = (F::width + digit_bits<F> - 1) / digit_bits<F>;
template <class F> constexpr int n_bins = 1 << digit_bits<F>;

// Where keys that can still be the one sought are to be found.
enum class Search : std::uint8_t { over, candidates, losses };

// A key that splits the losses, and how many lie on its sides.
template <class Bits> struct Cut {
    // A sample of the losses says that the key lies between these two.
    Bits low, high;
    Count reserved; // slots handed out for candidates, low < key < high; more than there are: they don't fit

    Search search;
    bool known;         // the key is known, and its sides have yet to be counted
    std::int32_t bits;  // last - first < 2^bits
    Bits first, last;   // the key lies in there ...
    std::int64_t rank;  // ... as the rank-th smallest, from 1
    Bits key;           // when the search is over
    std::int64_t below; // losses below `first`; when the search is over, below the key
    std::int64_t equal; // when the search is over
};

// How many losses lie where about a bracket: below low, on it, between the two, and on high (not counted again if that
// is low).
template <class Number> struct About {
    Number below = 0, at_low = 0, inside = 0, at_high = 0;
};

// What one block, or all of them, have seen of the losses.
template <class Bits> struct Survey {
    Bits least = std::numeric_limits<Bits>::max();
    std::int64_t n_least = 0, n_nan = 0, n_low = 0, n_inf = 0;
    About<std::int64_t> about[2]; // by cut

    __device__ void merge(const Survey &other) {
        n_least = (least <= other.least ? n_least : 0) + (other.least <= least ? other.n_least : 0);
        least = least < other.least ? least : other.least;
        n_nan += other.n_nan;
        n_low += other.n_low;
        n_inf += other.n_inf;
        GPU_UNROLL for (int i = 0; i < 2; ++i) {
            about[i].below += other.about[i].below;
            about[i].at_low += other.about[i].at_low;
            about[i].inside += other.about[i].inside;
            about[i].at_high += other.about[i].at_high;
        }
    }
};

template <class F> struct State {
    using Bits = typename F::Bits;

    Cut<Bits> cut[2]; // the threshold; the recipients' threshold, where it needs a search of its own
    Survey<Bits> seen;
    Count first_nan, first_low; // all ones: none
    bool refused;
    unsigned surveyed;               // blocks that are done with survey() ...
    unsigned narrowed[digits<F>][2]; // ... and with narrow(), by digit and cut
};

// Positions in the sorted sample, between which the key of some rank should lie.
struct Window {
    std::int32_t low, high;
};

// What every launch is told.
template <class F> struct Job {
    using Bits = typename F::Bits;

    const Bits *losses;
    std::int64_t n;
    Rule rule;
    Shape shape;
    Window window[2];
    std::int32_t cuts; // 1 or 2
    State<F> *state;
    Survey<Bits> *surveys; // one for each block
    Count *bins[2];        // histograms; zero but during narrow()
    Bits *candidates[2];

    // Everything was drawn, so that the sample's order statistics are those of the losses.
    [[nodiscard]] RRM_HD bool all_drawn() const {
        return n <= shape.drawn;
    }
};

} // namespace rrm::cuda
