// Random cases of the loops for trainers, against plain loops. The memory has exactly the size that they may touch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "../../csrc/cpu/batch_record.h"
#include "../../csrc/cpu/pruning_record.h"
#include "../../csrc/cpu/suspicion_order.h"
#include "definition.h"

namespace rrm {

using Bytes = std::vector<std::uint8_t>;

inline Bytes draw_bytes(Random &random, std::size_t n, std::uint64_t below) {
    Bytes bytes(n);
    std::ranges::generate(bytes, [&] { return static_cast<std::uint8_t>(random() % below); });
    return bytes;
}

inline bool bit_of(const Bytes &bits, std::size_t i) {
    return (bits[i / 8] >> (7 - i % 8) & 1) != 0;
}

template <class T> const T *data_if(bool condition, const std::vector<T> &values) {
    return condition ? values.data() : nullptr;
}

// Whether the record of a reweight has the bits, counts, sums and excess of its definition.
template <class V> bool check_record(Random &random, const std::vector<V> &losses, std::string &description) {
    const std::size_t n = losses.size();
    std::vector<V> weights(n);
    std::vector<V> thresholds(n);
    std::ranges::generate(weights, [&] { return static_cast<V>(uniform(random)); });
    std::ranges::generate(thresholds, [&] { return static_cast<V>(uniform(random)); });
    const Bytes pruned = draw_bytes(random, n, 2);
    const Bytes members = draw_bytes(random, n, 2);
    const Bytes last = draw_bytes(random, (n + 7) / 8, 256);
    const Bytes before = draw_bytes(random, (n + 7) / 8, 256);
    std::vector<float> excess_before(n);
    std::ranges::generate(excess_before, [&] { return static_cast<float>(uniform(random)); });
    std::vector<V> excess_thresholds(n);
    std::ranges::generate(excess_thresholds, [&] { return static_cast<V>(uniform(random)); });
    const bool is_by_group = random() % 3 == 0;
    const bool is_given = random() % 4 == 0;
    const bool has_members = random() % 3 == 0;
    const bool has_groups = random() % 3 == 0;
    const cpu::RecordedSamples<V> samples{.losses = losses.data(),
                                          .weights = weights.data(),
                                          .n = static_cast<std::int64_t>(n),
                                          .thresholds = data_if(has_groups, thresholds),
                                          .threshold = V{1} / 2,
                                          .pruned = data_if(is_given, pruned),
                                          .members = data_if(has_members, members),
                                          .last = last.data(),
                                          .ever = before.data(),
                                          .excess = excess_before.data(),
                                          .excess_thresholds = data_if(is_by_group, excess_thresholds),
                                          .excess_threshold = V{1} / 4};
    const double scale = 0x1p30;
    Bytes bits(last.size());
    Bytes ever(last.size());
    std::vector<float> excess(n);
    const auto totals = cpu::add_to_record(samples, {scale, scale, scale}, {bits.data(), ever.data(), excess.data()});
    description = "a record of " + std::to_string(n) + " samples";

    cpu::RecordTotals expected;
    for (std::size_t i = 0; i < n; ++i) {
        const bool is_member = !has_members || members[i] != 0;
        const V threshold = has_groups ? thresholds[i] : samples.threshold;
        const bool is_pruned = is_member && (is_given ? pruned[i] != 0 : !(losses[i] <= threshold));
        if (bit_of(bits, i) != is_pruned || bit_of(ever, i) != (is_pruned || bit_of(before, i))) {
            return false;
        }
        expected.n_pruned += is_pruned ? 1 : 0;
        expected.n_pruned_again += is_pruned && bit_of(last, i) ? 1 : 0;
        expected.n_pruned_ever += is_pruned && bit_of(before, i) ? 1 : 0;
        const auto multiples = [&](V number) { return std::llrint(static_cast<double>(number) * scale); };
        expected.weights += multiples(weights[i]);
        expected.squares += multiples(weights[i] * weights[i]);
        expected.costs += is_member ? multiples(losses[i] < threshold ? losses[i] : threshold) : 0;
        const V loss = std::isnan(losses[i]) ? std::numeric_limits<V>::infinity() : losses[i];
        const V limit = is_by_group ? excess_thresholds[i] : samples.excess_threshold;
        const float added = is_member ? static_cast<float>(loss - limit) : 0.0F;
        if (excess[i] != excess_before[i] + added) {
            return false;
        }
    }
    return totals.n_pruned == expected.n_pruned && totals.n_pruned_again == expected.n_pruned_again &&
           totals.n_pruned_ever == expected.n_pruned_ever && totals.weights == expected.weights &&
           totals.squares == expected.squares && totals.costs == expected.costs;
}

// Whether batches are stored as their definition says, and an index out of range stores nothing.
template <class V, class Index>
bool check_batch(Random &random, const std::vector<V> &losses, std::string &description) {
    const std::size_t n = losses.size();
    const auto start = static_cast<std::int64_t>(random() % 1000);
    const std::size_t n_local = 1 + random() % 500;
    const bool has_counts = random() % 2 == 0;
    const bool skip_nan = random() % 2 == 0;
    std::vector<V> stored(n_local);
    std::vector<V> weights(n_local);
    std::iota(weights.begin(), weights.end(), V{0});
    Bytes counts(n_local);
    std::vector<std::int32_t> epochs(n_local);
    std::vector<Index> index(n);
    std::ranges::generate(index,
                          [&] { return static_cast<Index>(start + static_cast<std::int64_t>(random() % n_local)); });
    const cpu::LossStore<V> store{.losses = stored.data(),
                                  .counts = has_counts ? counts.data() : nullptr,
                                  .epochs = has_counts ? nullptr : epochs.data(),
                                  .weights = weights.data(),
                                  .start = start,
                                  .n = static_cast<std::int64_t>(n_local),
                                  .skip_nan = skip_nan};
    std::vector<V> found(n);
    const cpu::Batch<Index> batch{index.data(), static_cast<std::int64_t>(n)};
    const std::int64_t n_non_finite = cpu::record_batch(store, batch, losses.data(), 7, found.data());
    description = "a batch of " + std::to_string(n) + " samples";

    std::vector<V> expected(n_local);
    std::vector<int> times(n_local);
    std::int64_t expected_non_finite = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const auto position = static_cast<std::size_t>(index[i] - start);
        expected_non_finite += std::isfinite(losses[i]) ? 0 : 1;
        if (found[i] != static_cast<V>(position)) {
            return false;
        }
        if (!(skip_nan && std::isnan(losses[i]))) {
            expected[position] = losses[i];
            ++times[position];
        }
    }
    for (std::size_t i = 0; i < n_local; ++i) {
        const bool is_same = stored[i] == expected[i] || (std::isnan(stored[i]) && std::isnan(expected[i]));
        const int mark = has_counts ? counts[i] : epochs[i];
        const int expected_mark = has_counts ? std::min(times[i], 2) : times[i] > 0 ? 7 : 0;
        if (!is_same || mark != expected_mark) {
            return false;
        }
    }
    index[random() % n] =
        static_cast<Index>(random() % 2 == 0 ? start - 1 : start + static_cast<std::int64_t>(n_local));
    // Other losses, which would be seen in the store.
    const std::vector<V> others(n, V{-1});
    const Bytes counts_before = counts;
    return n_non_finite == expected_non_finite &&
           cpu::record_batch(store, batch, others.data(), 8, found.data()) == -1 &&
           std::ranges::count(stored, V{-1}) == std::ranges::count(expected, V{-1}) && counts == counts_before &&
           std::ranges::count(epochs, 8) == 0;
}

// Whether prunings are counted, and samples ordered by their excess, then by index.
inline bool check_order(Random &random, std::size_t n, std::string &description) {
    const std::size_t n_rounds = random() % 5 == 0 ? 250 + random() % 20 : random() % 6;
    std::vector<Bytes> rounds;
    std::vector<const std::uint8_t *> rows;
    for (std::size_t round = 0; round < n_rounds; ++round) {
        rounds.push_back(draw_bytes(random, (n + 7) / 8, 256));
    }
    for (const Bytes &round : rounds) {
        rows.push_back(round.data());
    }
    std::vector<std::int32_t> times(n);
    cpu::count_prunings(rows, static_cast<std::int64_t>(n), times.data());
    std::vector<float> excess(n);
    std::ranges::generate(excess, [&] { return static_cast<float>(random() % 50) - 10.0F; });
    std::vector<std::uint64_t> order(n);
    std::vector<std::uint64_t> scratch(n);
    cpu::order_by_suspicion(excess.data(), static_cast<std::int64_t>(n), order.data(), scratch.data());
    description = "the order of " + std::to_string(n) + " samples after " + std::to_string(n_rounds) + " rounds";

    std::vector<std::uint64_t> expected(n);
    std::iota(expected.begin(), expected.end(), std::uint64_t{0});
    std::ranges::stable_sort(expected, [&](std::uint64_t i, std::uint64_t j) { return excess[i] > excess[j]; });
    for (std::size_t i = 0; i < n; ++i) {
        const auto set = std::ranges::count_if(rounds, [&](const Bytes &round) { return bit_of(round, i); });
        if (times[i] != set) {
            return false;
        }
    }
    return order == expected;
}

template <class V> bool check_trainer(Random &random, const std::vector<V> &losses, std::string &description) {
    switch (random() % 4) {
    case 0:
        return check_batch<V, std::int32_t>(random, losses, description);
    case 1:
        return check_batch<V, std::int64_t>(random, losses, description);
    case 2:
        return check_order(random, losses.size(), description);
    default:
        return check_record(random, losses, description);
    }
}

} // namespace rrm
