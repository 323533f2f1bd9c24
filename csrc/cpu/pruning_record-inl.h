// The loops of pruning_record.cpp, which compiles them for each instruction set. The compiler vectorises them: a block
// of samples goes through several short loops while it is in the first-level cache.

constexpr std::int64_t record_block = 2048;

// Adding this to a number below 2^51 rounds it to an integer, half to even, in the low bits of the sum.
constexpr double rounder = 0x1.8p52;
constexpr auto rounder_bits = std::bit_cast<std::int64_t>(rounder);

RRM_INLINE std::int64_t rounded_bits(double number) {
    return std::bit_cast<std::int64_t>(number + rounder);
}

// The sum of f(i) for i < n, each rounded to an integer.
template <class Function> RRM_INLINE std::int64_t rounded_sum(std::int64_t n, Function f) {
    std::uint64_t sum = 0; // modulo 2^64, as the multiples of rounder_bits may overflow
    for (std::int64_t i = 0; i < n; ++i) {
        sum += static_cast<std::uint64_t>(rounded_bits(f(i)));
    }
    return static_cast<std::int64_t>(sum - static_cast<std::uint64_t>(n) * static_cast<std::uint64_t>(rounder_bits));
}

// Sets a byte to 1 for each pruned sample.
template <class V>
RRM_INLINE void find_pruned(const RecordedSamples<V> &samples, std::int64_t begin, std::int64_t n,
                            std::uint8_t *pruned) {
    const V *const losses = samples.losses + begin;
    if (samples.pruned != nullptr) {
        __builtin_memcpy(pruned, samples.pruned + begin, static_cast<std::size_t>(n));
    } else if (samples.thresholds != nullptr) {
        const V *const thresholds = samples.thresholds + begin;
        for (std::int64_t i = 0; i < n; ++i) {
            pruned[i] = !(losses[i] <= thresholds[i]);
        }
    } else {
        const V threshold = samples.threshold;
        for (std::int64_t i = 0; i < n; ++i) {
            pruned[i] = !(losses[i] <= threshold);
        }
    }
    if (samples.members != nullptr) {
        for (std::int64_t i = 0; i < n; ++i) {
            pruned[i] &= samples.members[begin + i];
        }
    }
}

// Packs bytes of 0 or 1; what follows them up to a multiple of 8 must be 0.
RRM_INLINE void pack_bits(const std::uint8_t *bytes, std::int64_t n_packed, std::uint8_t *bits) {
    for (std::int64_t i = 0; i < n_packed; ++i) {
        std::uint8_t byte = 0;
        for (int j = 0; j < 8; ++j) {
            byte = static_cast<std::uint8_t>(byte | bytes[8 * i + j] << (7 - j));
        }
        bits[i] = byte;
    }
}

RRM_INLINE std::int64_t count_set(std::uint8_t byte) {
    return __builtin_popcount(byte);
}

template <class V>
RRM_INLINE std::int64_t sum_of_costs(const RecordedSamples<V> &samples, std::int64_t begin, std::int64_t n,
                                     double scale) {
    const V *const losses = samples.losses + begin;
    const auto cost = [&](std::int64_t i, V threshold) {
        // The threshold for NaN.
        return static_cast<double>(losses[i] < threshold ? losses[i] : threshold) * scale;
    };
    if (samples.thresholds == nullptr && samples.members == nullptr) {
        const V threshold = samples.threshold;
        return rounded_sum(n, [&](std::int64_t i) { return cost(i, threshold); });
    }
    return rounded_sum(n, [&](std::int64_t i) {
        const V threshold = samples.thresholds == nullptr ? samples.threshold : samples.thresholds[begin + i];
        return samples.members == nullptr || samples.members[begin + i] != 0 ? cost(i, threshold) : 0.0;
    });
}

// An infinite threshold counts as 0, NaN as an infinite loss.
template <class V> RRM_INLINE float excess_of(V loss, V threshold) {
    const V number = std::isnan(loss) ? std::numeric_limits<V>::infinity() : loss;
    return static_cast<float>(number - (std::isfinite(threshold) ? threshold : V{0}));
}

template <class V>
RRM_INLINE void add_excess(const RecordedSamples<V> &samples, std::int64_t begin, std::int64_t n, float *excess) {
    const V *const losses = samples.losses + begin;
    const float *const before = samples.excess + begin;
    if (samples.excess_thresholds == nullptr && samples.members == nullptr) {
        const V threshold = samples.excess_threshold;
        for (std::int64_t i = 0; i < n; ++i) {
            excess[i] = before[i] + excess_of(losses[i], threshold);
        }
        return;
    }
    const V *const thresholds = samples.excess_thresholds;
    for (std::int64_t i = 0; i < n; ++i) {
        const V threshold = thresholds == nullptr ? samples.excess_threshold : thresholds[begin + i];
        const bool is_member = samples.members == nullptr || samples.members[begin + i] != 0;
        excess[i] = before[i] + (is_member ? excess_of(losses[i], threshold) : 0.0F);
    }
}

template <class V>
RecordTotals add_to_record(const RecordedSamples<V> &samples, const RecordScales &scales, const RecordOutput &output) {
    alignas(64) std::uint8_t pruned[record_block];
    RecordTotals totals;
    for (std::int64_t begin = 0; begin < samples.n; begin += record_block) {
        const std::int64_t n = std::min(record_block, samples.n - begin);
        find_pruned(samples, begin, n, pruned);
        for (std::int64_t i = n; i % 8 != 0; ++i) {
            pruned[i] = 0;
        }
        const std::int64_t first = begin / 8;
        const std::int64_t n_packed = (n + 7) / 8;
        pack_bits(pruned, n_packed, output.bits + first);
        for (std::int64_t i = first; i < first + n_packed; ++i) {
            const std::uint8_t byte = output.bits[i];
            totals.n_pruned += count_set(byte);
            totals.n_pruned_again += count_set(byte & samples.last[i]);
            totals.n_pruned_ever += count_set(byte & samples.ever[i]);
            output.ever[i] = samples.ever[i] | byte;
        }
        add_excess(samples, begin, n, output.excess + begin);
        const V *const weights = samples.weights + begin;
        totals.weights +=
            rounded_sum(n, [&](std::int64_t i) { return static_cast<double>(weights[i]) * scales.weights; });
        totals.squares += rounded_sum(
            n, [&](std::int64_t i) { return static_cast<double>(weights[i] * weights[i]) * scales.squares; });
        if (scales.costs != 0) {
            totals.costs += sum_of_costs(samples, begin, n, scales.costs);
        }
    }
    return totals;
}
