// The loops that count losses for a selection in rounds, see bucket_counts.h. A part of kernels-inl.h, in the same
// unnamed namespace of each instruction set.

// The sum of the losses' 32-bit words (16-bit, where a loss is one), modulo 2^32: by it, losses that changed from one
// round to the next are noticed, in whatever order they come.
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

// Adds one to the count of each bin. Where many follow each other in one bin, as in a sorted array, each addition would
// have to wait for the one before: groups of one bin are added at once.
RRM_INLINE void add_to(std::int64_t *counts, const std::uint16_t *bins, std::int64_t n) {
    constexpr int together = 32;
    std::int64_t i = 0;
    for (; i + together <= n; i += together) {
        std::uint16_t differing = 0;
        for (int j = 0; j < together; ++j) {
            differing |= static_cast<std::uint16_t>(bins[i + j] ^ bins[i]);
        }
        if (differing == 0) {
            counts[bins[i]] += together;
            continue;
        }
        for (int j = 0; j < together; ++j) {
            ++counts[bins[i + j]];
        }
    }
    for (; i < n; ++i) {
        ++counts[bins[i]];
    }
}

// NaN and -infinity have bins of their own, since their neighbours there are the keys of no number.
template <class F> void tally_all(const typename F::Bits *losses, std::int64_t n, std::int64_t first, Tally &tally) {
    using Bits = typename F::Bits;
    constexpr int shift = F::width - bin_bits;
    constexpr auto nan = static_cast<std::size_t>(F::key_nan >> shift),
                   low = static_cast<std::size_t>(F::key_neg_inf >> shift);
    std::uint16_t bins[block_size];
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const Bits *const block = losses + begin;
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        prefetch(block, size);
        Bits lowest = F::key_nan;
        for (std::int64_t i = 0; i < size; ++i) {
            const Bits key = F::key(block[i]);
            lowest = key < lowest ? key : lowest;
            bins[i] = static_cast<std::uint16_t>(key >> shift);
        }
        tally.checksum += checksum<F>(block, size);
        tally.lowest = lowest < tally.lowest ? lowest : tally.lowest;
        const std::int64_t n_nan = tally.counts[nan], n_low = tally.counts[low];
        add_to(tally.counts, bins, size);
        for (std::int64_t i = 0; tally.first_nan < 0 && tally.counts[nan] > n_nan && i < size; ++i) {
            tally.first_nan = bins[i] == nan ? first + begin + i : -1;
        }
        for (std::int64_t i = 0; tally.first_low < 0 && tally.counts[low] > n_low && i < size; ++i) {
            tally.first_low = bins[i] == low ? first + begin + i : -1;
        }
    }
}

// The losses of `block` inside the interval, moved together; returns how many.
template <class F>
std::int64_t inside(const typename F::Bits *block, std::int64_t n, const Interval &interval, typename F::Bits *found) {
    using L = Lanes<typename F::Value>;
    using Bits = typename F::Bits;
    // No loss has the key of -0, which takes part in comparisons as +0.
    const auto last = static_cast<Bits>(interval.last == F::sign - 1U ? interval.last - 1U : interval.last);
    const auto from = L::splat(F::value(F::bits(static_cast<Bits>(interval.first))));
    const auto upto = L::splat(F::value(F::bits(last < F::key_inf ? last : F::key_inf)));
    std::int64_t stored = 0;
    for_each_group<F>(block, n, [&](const Bits *group, std::uint64_t valid, std::int64_t) {
        constexpr int vectors = group_size / L::width;
        typename L::Mask masks[vectors];
        std::uint64_t chosen = 0;
        for (int i = 0; i < vectors; ++i) {
            const auto x = load<F>(group + i * L::width);
            const auto bits = L::bits(L::at_most(from, x)) & L::bits(L::at_most(x, upto));
            masks[i] = L::mask(bits);
            chosen |= bits << (i * L::width);
        }
        chosen &= valid;
        if (valid == all) {
            compress<F>(group, masks, chosen, found + stored);
        } else {
            compress_bits<F>(group, chosen, found + stored);
        }
        stored += count_bits(chosen);
    });
    return stored;
}

// For formats of more bits than one round counts.
template <class F>
void tally_some(const typename F::Bits *losses, std::int64_t n, const Interval *intervals, Partial *partials,
                const std::uint64_t *points, Census *censuses, std::uint32_t &sum) {
    using Bits = typename F::Bits;
    Bits found[block_size + slack];
    std::uint16_t bins[block_size];
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const Bits *const block = losses + begin;
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        prefetch(block, size);
        sum += checksum<F>(block, size);
        for (int which = 0; which < 2 && intervals[which].first <= intervals[which].last; ++which) {
            const Interval &interval = intervals[which];
            Partial &partial = partials[which];
            const std::int64_t stored = inside<F>(block, size, interval, found);
            partial.inside += stored;
            if (partial.counts != nullptr) {
                for (std::int64_t i = 0; i < stored; ++i) {
                    bins[i] = static_cast<std::uint16_t>((F::key(found[i]) - static_cast<Bits>(interval.first)) >>
                                                         interval.shift);
                }
                add_to(partial.counts, bins, stored);
            } else {
                for (std::int64_t i = 0; i < stored && partial.stored < partial.capacity; ++i) {
                    partial.keys[partial.stored++] = F::key(found[i]);
                }
            }
        }
        for (int which = 0; which < 2 && points[which] != 0; ++which) {
            const auto pivot = F::value(F::bits(static_cast<Bits>(points[which])));
            const Census census = count<F>(block, size, pivot);
            censuses[which].n_below += census.n_below;
            censuses[which].n_equal += census.n_equal;
        }
    }
}
