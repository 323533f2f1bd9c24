// How often samples were pruned, and their order by suspicion.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "../ordered_key.h"

namespace rrm::cpu {

// Fills how many of the reweights pruned each of n samples, from the bits of each reweight: eight samples in a byte,
// the first in the highest bit.
inline void count_prunings(const std::vector<const std::uint8_t *> &rounds, std::int64_t n, std::int32_t *times) {
    // The counts of eight samples, a byte each, fill a word; 255 reweights fit into a byte.
    constexpr std::size_t most_rounds = 255;
    constexpr std::int64_t block = 1024;
    std::array<std::uint64_t, 256> spread{};
    for (std::size_t byte = 0; byte < spread.size(); ++byte) {
        std::array<std::uint8_t, 8> bits{};
        for (std::size_t i = 0; i < bits.size(); ++i) {
            bits.at(i) = static_cast<std::uint8_t>(byte >> (7 - i) & 1);
        }
        spread.at(byte) = std::bit_cast<std::uint64_t>(bits);
    }
    std::array<std::uint64_t, block> counts{};
    std::fill_n(times, n, 0);
    const std::int64_t n_bytes = (n + 7) / 8;
    for (std::int64_t begin = 0; begin < n_bytes; begin += block) {
        const std::int64_t size = std::min(block, n_bytes - begin);
        for (std::size_t first = 0; first < rounds.size(); first += most_rounds) {
            counts.fill(0);
            const std::size_t end = std::min(first + most_rounds, rounds.size());
            for (std::size_t round = first; round < end; ++round) {
                const std::uint8_t *const bits = rounds[round] + begin;
                for (std::int64_t i = 0; i < size; ++i) {
                    counts[static_cast<std::size_t>(i)] += spread[bits[i]];
                }
            }
            const auto *const bytes = reinterpret_cast<const std::uint8_t *>(counts.data());
            const std::int64_t n_samples = std::min(8 * size, n - 8 * begin);
            for (std::int64_t i = 0; i < n_samples; ++i) {
                times[8 * begin + i] += bytes[i];
            }
        }
    }
}

// Sorts n entries by their upper halves, stably: entries as `a` and `b` in turns. The result is in `a`.
inline void sort_by_upper_half(std::uint64_t *a, std::uint64_t *b, std::size_t n) {
    constexpr int digit_bits = 8;
    constexpr std::size_t n_digits = 1 << digit_bits;
    constexpr std::size_t n_passes = 4; // even, so that the result is in `a`
    constexpr std::size_t few = 256;
    if (n <= few) {
        std::stable_sort(a, a + n, [](std::uint64_t x, std::uint64_t y) { return x >> 32 < y >> 32; });
        return;
    }
    const auto digit = [](std::uint64_t entry, std::size_t pass) {
        return entry >> (32 + digit_bits * pass) & (n_digits - 1);
    };
    std::array<std::array<std::size_t, n_digits>, n_passes> counts{};
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t pass = 0; pass < n_passes; ++pass) {
            ++counts[pass][digit(a[i], pass)];
        }
    }
    for (std::size_t pass = 0; pass < n_passes; ++pass) {
        auto &next = counts[pass];
        std::exclusive_scan(next.begin(), next.end(), next.begin(), std::size_t{0});
        for (std::size_t i = 0; i < n; ++i) {
            b[next[digit(a[i], pass)]++] = a[i];
        }
        std::swap(a, b);
    }
}

// Fills the indices of the n < 2^32 samples in the order of descending excess; equal ones stay in their order. `order`
// and `scratch` have room for n entries.
inline void order_by_suspicion(const float *excess, std::int64_t n, std::uint64_t *order, std::uint64_t *scratch) {
    for (std::int64_t i = 0; i < n; ++i) {
        // A sample is its key, in the upper half of a word, and its index.
        const auto descending = static_cast<std::uint32_t>(~Float32::key(std::bit_cast<std::uint32_t>(excess[i])));
        order[i] = std::uint64_t{descending} << 32 | static_cast<std::uint64_t>(i);
    }
    sort_by_upper_half(order, scratch, static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
        order[i] &= 0xffffffff;
    }
}

} // namespace rrm::cpu
