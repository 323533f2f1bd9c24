// The selection kernels: counts relative to a pivot, order statistics of a few values, and the variance of a sample.
// Included by kernels-inl.h.

template <class F> PivotCounts count_pivot(const typename F::Bits *losses, std::int64_t n, typename F::Value pivot) {
    using L = Lanes<typename F::Value>;
    const auto t = L::splat(pivot);
    PivotCounts counts;
    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t) {
        counts.n_below += count_bits(valid & bits_where<F>(group, [=](auto x) { return L::above(t, x); }));
        counts.n_equal += count_bits(valid & bits_where<F>(group, [=](auto x) { return L::equal(x, t); }));
        counts.n_nan += count_bits(valid & bits_where<F>(group, [](auto x) { return L::unordered(x, x); }));
    });
    return counts;
}

// The number of values up to a pivot, among a few thousand in whole groups. Counts in the lanes of vectors, which takes
// fewer operations than to collect bits.
template <class V>
RRM_INLINE std::int64_t count_up_to(const typename Wide<V>::Bits *values, std::int64_t n,
                                    typename Lanes<V>::Vector pivot) {
    using L = Lanes<V>;
    typename L::Counts counts[4] = {};
    for (std::int64_t i = 0; i < n; i += 4 * L::width) {
        for (int j = 0; j < 4; ++j) {
            const auto x = load<Wide<V>>(values + i + j * L::width);
            counts[j] = L::count(counts[j], L::at_most(x, pivot));
        }
    }
    return L::sum(L::add_counts(L::add_counts(counts[0], counts[1]), L::add_counts(counts[2], counts[3])));
}

// The smallest and the largest number among values in whole groups; infinity and -infinity if all are NaN.
template <class V> struct Bounds {
    V minimum, maximum;

    RRM_INLINE Bounds(const typename Wide<V>::Bits *values, std::int64_t n) {
        using L = Lanes<V>;
        auto minima = L::splat(std::numeric_limits<V>::infinity());
        auto maxima = L::splat(-std::numeric_limits<V>::infinity());
        for (std::int64_t i = 0; i < n; i += L::width) {
            const auto x = load<Wide<V>>(values + i);
            minima = L::min(x, minima);
            maxima = L::max(x, maxima);
        }
        minimum = L::reduce_min(minima);
        maximum = L::reduce_max(maxima);
    }
};

// Copies the values above one and below another to `to`, which is padded with NaN to whole groups. Returns their
// number.
template <class V>
RRM_INLINE std::int64_t keep_between(const typename Wide<V>::Bits *values, std::int64_t n, V above, V below,
                                     typename Wide<V>::Bits *to) {
    using L = Lanes<V>;
    const auto low = L::splat(above);
    const auto high = L::splat(below);
    std::int64_t n_kept = 0;
    for (std::int64_t i = 0; i < n; i += group_size) {
        typename L::Mask masks[group_size / L::width];
        GroupBits<V> bits;
        for (int j = 0; j < group_size / L::width; ++j) {
            const auto x = load<Wide<V>>(values + i + j * L::width);
            masks[j] = L::and_below(L::not_at_most(x, low), x, high); // false for NaN
            bits.set(j, masks[j]);
        }
        const std::uint64_t selected = bits.bits();
        compress<Wide<V>>(values + i, masks, selected, to + n_kept);
        n_kept += count_bits(selected);
    }
    __builtin_memset(to + n_kept, -1, group_size * sizeof(V));
    return n_kept;
}

// The order statistic of n numbers among values in `padded` / group_size whole groups, of which the others are NaN.
// Bisects the keys by counting until few values are left, and sorts those. With a tolerance it returns any value whose
// rank is off by less, and meaningless counts.
template <class V>
// NOLINTNEXTLINE(readability-function-cognitive-complexity)
OrderStatistic<V> select_within(const Bounds<V> &bounds, const typename Wide<V>::Bits *values, std::int64_t padded,
                                std::int64_t n, std::int64_t rank, std::int64_t tolerance) {
    using F = Wide<V>;
    using Key = typename F::Bits;
    using L = Lanes<V>;
    constexpr int few = 16; // values that are sorted by insertion
    // The value is above `low` and not above `high`. The key before that of 0 is the key of -0, which equals 0.
    Key low = F::key(std::bit_cast<Key>(bounds.minimum));
    low -= low == F::sign ? 2 : 1;
    Key high = F::key(std::bit_cast<Key>(bounds.maximum));
    constexpr std::int64_t max_kept = 1024;
    Key kept[max_kept + 2 * group_size];
    std::int64_t n_dropped = 0; // values up to `low` that have been left out
    std::int64_t n_up_to_low = 0;
    std::int64_t n_up_to_high = n;
    while (high - low > 1 && n_up_to_high - n_up_to_low > few) {
        const Key middle = low + (high - low) / 2;
        const auto pivot = L::splat(F::value(F::bits(middle)));
        const std::int64_t n_up_to = n_dropped + count_up_to<V>(values, padded, pivot);
        (n_up_to < rank ? low : high) = middle;
        (n_up_to < rank ? n_up_to_low : n_up_to_high) = n_up_to;
        if (n_up_to > 0 && rank - tolerance <= n_up_to && n_up_to < rank + tolerance) { // the largest of these will do
            auto largest = L::splat(-std::numeric_limits<V>::infinity());
            for (std::int64_t i = 0; i < padded; i += L::width) {
                const auto x = load<F>(values + i);
                largest = L::select(L::at_most(x, pivot), L::max(x, largest), largest);
            }
            return {L::reduce_max(largest), n_up_to - 1, 1};
        }
        // Once few values are left, the others need not be read again. The next number after -0 is above 0.
        const std::int64_t n_left = n_up_to_high - n_up_to_low;
        if (tolerance == 0 && values != kept && n_left > few && n_left <= max_kept && 4 * n_left <= padded &&
            padded > 4 * group_size && high < F::key_inf) {
            const Key after = static_cast<Key>(high + (high == F::sign - 1 ? 2 : 1));
            n_dropped = n_up_to_low;
            padded = keep_between<V>(values, padded, F::value(F::bits(low)), F::value(F::bits(after)), kept);
            padded = (padded + group_size - 1) / group_size * group_size;
            values = kept;
        }
    }
    if (high - low == 1) {
        return {F::value(F::bits(high)), n_up_to_low, n_up_to_high - n_up_to_low};
    }
    Key sorted[few + group_size]{};
    int size = 0;
    const auto above = L::splat(F::value(F::bits(low)));
    const auto up_to = L::splat(F::value(F::bits(high)));
    for (std::int64_t i = 0; i < padded && size < few; i += group_size) {
        auto selected = bits_where<F>(values + i, [=](auto x) { return L::at_most(x, up_to); }) &
                        ~bits_where<F>(values + i, [=](auto x) { return L::at_most(x, above); });
        for (; selected != 0; selected &= selected - 1) {
            const Key key = F::key(values[i + first_bit(selected)]);
            int j = size++;
            for (; j > 0 && sorted[j - 1] > key; --j) {
                sorted[j] = sorted[j - 1];
            }
            sorted[j] = key;
        }
    }
    const Key key = sorted[rank - n_up_to_low - 1];
    OrderStatistic<V> statistic{F::value(F::bits(key)), n_up_to_low, 0};
    for (int j = 0; j < size; ++j) {
        statistic.n_below += sorted[j] < key;
        statistic.n_equal += sorted[j] == key;
    }
    return statistic;
}

template <class V>
OrderStatistic<V> select_small(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                               std::int64_t tolerance) {
    const std::int64_t padded = (n + group_size - 1) / group_size * group_size;
    return select_within<V>({values, padded}, values, padded, n, rank, tolerance);
}

template <class V>
GroupResult<V> scan_small(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                          typename Wide<V>::Bits *scratch) {
    using L = Lanes<V>;
    constexpr V infinity = std::numeric_limits<V>::infinity();
    const std::int64_t padded = (n + group_size - 1) / group_size * group_size;
    __builtin_memcpy(scratch, values, static_cast<std::size_t>(n) * sizeof(V));
    __builtin_memset(scratch + n, -1, static_cast<std::size_t>(padded - n) * sizeof(V)); // NaN
    const Bounds<V> bounds(scratch, padded);
    const std::int64_t n_numbers = count_up_to<V>(scratch, padded, L::splat(bounds.maximum));
    GroupResult<V> result;
    result.n_nan = n - n_numbers;
    if (n_numbers > 0) {
        result.minimum = {bounds.minimum, 0, count_up_to<V>(scratch, padded, L::splat(bounds.minimum))};
        result.n_neg_inf = bounds.minimum == -infinity ? result.minimum.n_equal : 0;
        if (rank > 0) {
            result.ranked = select_within(bounds, scratch, padded, n_numbers, rank < n_numbers ? rank : n_numbers, 0);
        }
    }
    return result;
}

template <class V> double variance_of_runs(const typename Wide<V>::Bits *values, std::int64_t n, V pivot) {
    using L = Lanes<V>;
    const auto t = L::splat(pivot);
    std::int64_t squares = 0;
    int previous = -1;
    for_each_group<Wide<V>>(values, n, [&](const typename Wide<V>::Bits *group, std::uint64_t valid, std::int64_t) {
        const auto up_to = bits_where<Wide<V>>(group, [=](auto x) { return L::at_most(x, t); });
        for (int i = 0; i < group_size && (valid >> i & 1) != 0; i += run_size) {
            const int count = count_bits(up_to >> i & 0xffff);
            squares += previous < 0 ? 0 : (count - previous) * (count - previous);
            previous = count;
        }
    });
    return static_cast<double>(squares) / 2.0;
}
