// The kernels of the counting passes, see bucket_counts.h. Included by kernels-inl.h.

// The sum of the losses' 32-bit words (16-bit words for 16-bit losses), modulo 2^32. It detects losses that changed
// between two passes, and does not depend on their order.
template <class F> std::uint32_t checksum(const typename F::Bits *losses, std::int64_t n) {
    std::uint32_t sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto bits = losses[i];
        sum += static_cast<std::uint32_t>(bits);
        if constexpr (F::width == 64) {
            sum += static_cast<std::uint32_t>(bits >> 32);
        }
    }
    return sum;
}

// Adds one to the count of each bin. In runs of one bin, as in a sorted array, each addition would have to wait for the
// previous one; so a batch that falls into a single bin is added at once.
RRM_INLINE void add_to(std::int64_t *counts, const std::uint16_t *bins, std::int64_t n) {
    constexpr int batch = 32;
    std::int64_t i = 0;
    for (; i + batch <= n; i += batch) {
        std::uint16_t difference = 0;
        for (int j = 0; j < batch; ++j) {
            difference |= static_cast<std::uint16_t>(bins[i + j] ^ bins[i]);
        }
        if (difference == 0) {
            counts[bins[i]] += batch;
            continue;
        }
        for (int j = 0; j < batch; ++j) {
            ++counts[bins[i + j]];
        }
    }
    for (; i < n; ++i) {
        ++counts[bins[i]];
    }
}

// NaN and -infinity have bins of their own, since the neighbouring keys do not belong to numbers.
template <class F>
void count_first_pass(const typename F::Bits *losses, std::int64_t n, std::int64_t first, FirstPassCounts &result) {
    using Bits = typename F::Bits;
    constexpr int shift = F::width - bin_bits;
    constexpr auto nan_bin = static_cast<std::size_t>(F::key_nan >> shift);
    constexpr auto neg_inf_bin = static_cast<std::size_t>(F::key_neg_inf >> shift);
    std::uint16_t bins[block_size];
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const Bits *const block = losses + begin;
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        prefetch(block, size);
        Bits min_key = F::key_nan;
        for (std::int64_t i = 0; i < size; ++i) {
            const Bits key = F::key(block[i]);
            min_key = key < min_key ? key : min_key;
            bins[i] = static_cast<std::uint16_t>(key >> shift);
        }
        result.checksum += checksum<F>(block, size);
        result.min_key = min_key < result.min_key ? min_key : result.min_key;
        const std::int64_t n_nan = result.counts[nan_bin];
        const std::int64_t n_neg_inf = result.counts[neg_inf_bin];
        add_to(result.counts, bins, size);
        for (std::int64_t i = 0; result.first_nan < 0 && result.counts[nan_bin] > n_nan && i < size; ++i) {
            result.first_nan = bins[i] == nan_bin ? first + begin + i : -1;
        }
        for (std::int64_t i = 0; result.first_neg_inf < 0 && result.counts[neg_inf_bin] > n_neg_inf && i < size; ++i) {
            result.first_neg_inf = bins[i] == neg_inf_bin ? first + begin + i : -1;
        }
    }
}

// Copies the losses of `block` whose keys are in the range to `selected`, without gaps. Returns their number.
template <class F>
std::int64_t select_range(const typename F::Bits *block, std::int64_t n, const KeyRange &range,
                          typename F::Bits *selected) {
    using L = Lanes<typename F::Value>;
    using Bits = typename F::Bits;
    // No loss has the key of -0, which compares equal to +0.
    const auto last = static_cast<Bits>(range.last == F::sign - 1U ? range.last - 1U : range.last);
    const auto low = L::splat(F::value(F::bits(static_cast<Bits>(range.first))));
    const auto high = L::splat(F::value(F::bits(last < F::key_inf ? last : F::key_inf)));
    std::int64_t n_selected = 0;
    for_each_group<F>(block, n, [&](const Bits *group, std::uint64_t valid, std::int64_t) {
        constexpr int vectors = group_size / L::width;
        typename L::Mask masks[vectors];
        std::uint64_t in_range = 0;
        for (int i = 0; i < vectors; ++i) {
            const auto x = load<F>(group + i * L::width);
            const auto bits = L::bits(L::at_most(low, x)) & L::bits(L::at_most(x, high));
            masks[i] = L::mask(bits, 0);
            in_range |= bits << (i * L::width);
        }
        in_range &= valid;
        if (valid == all_bits) {
            compress<F>(group, masks, in_range, selected + n_selected);
        } else {
            compress_bits<F>(group, in_range, selected + n_selected);
        }
        n_selected += count_bits(in_range);
    });
    return n_selected;
}

// For formats with more bits than the first pass counts by.
template <class F>
void count_pass(const typename F::Bits *losses, std::int64_t n, const KeyRange *ranges, RangeCounts *range_counts,
                const std::uint64_t *pivots, PivotCounts *pivot_counts, std::uint32_t &sum) {
    using Bits = typename F::Bits;
    Bits selected[block_size + slack];
    std::uint16_t bins[block_size];
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const Bits *const block = losses + begin;
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        prefetch(block, size);
        sum += checksum<F>(block, size);
        for (int r = 0; r < 2 && ranges[r].first <= ranges[r].last; ++r) {
            const KeyRange &range = ranges[r];
            RangeCounts &result = range_counts[r];
            const std::int64_t n_selected = select_range<F>(block, size, range, selected);
            result.n_in_range += n_selected;
            if (result.counts != nullptr) {
                for (std::int64_t i = 0; i < n_selected; ++i) {
                    bins[i] = static_cast<std::uint16_t>((F::key(selected[i]) - static_cast<Bits>(range.first)) >>
                                                         range.shift);
                }
                add_to(result.counts, bins, n_selected);
            } else {
                for (std::int64_t i = 0; i < n_selected && result.n_stored < result.capacity; ++i) {
                    result.keys[result.n_stored++] = F::key(selected[i]);
                }
            }
        }
        for (int p = 0; p < 2 && pivots[p] != 0; ++p) {
            const auto pivot = F::value(F::bits(static_cast<Bits>(pivots[p])));
            const PivotCounts counts = count_pivot<F>(block, size, pivot);
            pivot_counts[p].n_below += counts.n_below;
            pivot_counts[p].n_equal += counts.n_equal;
        }
    }
}
