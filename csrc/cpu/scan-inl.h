// The scan kernels: one pass over losses that counts them relative to one or two brackets, stores the candidates inside
// each, finds the minimum, and optionally marks the losses above the bracket. Included by kernels-inl.h.

// Counts NaN and -infinity, in a block that has any value that is not finite.
template <class F>
void count_non_finite(const typename F::Bits *losses, std::int64_t n, std::int64_t first, NonFiniteCounts &non_finite) {
    using L = Lanes<typename F::Value>;
    const auto negative_infinity = L::splat(-std::numeric_limits<typename F::Value>::infinity());
    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t offset) {
        const auto nan = valid & bits_where<F>(group, [](auto x) { return L::unordered(x, x); });
        const auto neg_inf = valid & bits_where<F>(group, [=](auto x) { return L::equal(x, negative_infinity); });
        if (nan != 0 && non_finite.n_nan == 0) {
            non_finite.first_nan = first + offset + first_bit(nan);
        }
        if (neg_inf != 0 && non_finite.n_neg_inf == 0) {
            non_finite.first_neg_inf = first + offset + first_bit(neg_inf);
        }
        non_finite.n_nan += count_bits(nan);
        non_finite.n_neg_inf += count_bits(neg_inf);
    });
}

// Counts the samples at the minimum, and records their indices up to the capacity.
template <class F, bool Mark>
void count_minimum(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                   ScanResult<typename F::Value> &result) {
    using L = Lanes<typename F::Value>;
    const auto minimum = L::splat(result.minimum);
    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t offset) {
        auto equal = valid & bits_where<F>(group, [=](auto x) { return L::equal(x, minimum); });
        auto i = result.n_minimum;
        result.n_minimum += count_bits(equal);
        if constexpr (Mark) {
            if (result.n_minimum <= result.minimum_capacity) {
                for (; equal != 0; ++i, equal &= equal - 1) {
                    result.minimum_indices[i] = static_cast<std::uint32_t>(first + offset + first_bit(equal));
                }
            }
        }
    });
}

// Scans one block. Candidates are stored while the memory is sure to hold those of a whole block.
template <class F, int Brackets, bool Mark>
// NOLINTNEXTLINE(readability-function-cognitive-complexity): one loop does all the work of a pass
RRM_INLINE void scan_block(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                           ScanResult<typename F::Value> &result, std::uint64_t *marks) {
    using Value = typename F::Value;
    using L = Lanes<Value>;
    const auto infinity = L::splat(std::numeric_limits<Value>::infinity());
    const typename L::Vector low[2] = {L::splat(result.candidates[0].low), L::splat(result.candidates[1].low)};
    const typename L::Vector high[2] = {L::splat(result.candidates[0].high), L::splat(result.candidates[1].high)};
    Candidates<Value> candidates[2] = {result.candidates[0], result.candidates[1]};
    CandidateMask mask = result.mask; // NOLINT(misc-const-correctness)
    std::uint64_t occupied = 0;
    const bool mask_fits = !Mark || mask.n_stored + block_size / half_size <= mask.capacity;
    const bool fits[2] = {candidates[0].n_stored == candidates[0].n_inside &&
                              candidates[0].n_stored + n <= candidates[0].capacity && mask_fits,
                          candidates[1].n_stored == candidates[1].n_inside &&
                              candidates[1].n_stored + n <= candidates[1].capacity};
    typename L::Vector minima[2] = {infinity, infinity};
    typename L::Vector sum[2] = {L::splat(0), L::splat(0)}; // not finite if any loss is not

    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t offset) {
        constexpr int vectors = group_size / L::width;
        GroupBits<Value> above_low_bits[Brackets], inside_bits[Brackets];
        typename L::Mask inside_masks[Brackets][vectors];
        if (valid == all_bits) {
            prefetch(group, group_size);
        }
        for (int i = 0; i < vectors; ++i) {
            const auto x = load<F>(group + i * L::width);
            minima[i % L::chains] = L::min(x, minima[i % L::chains]);
            sum[i % L::chains] = L::add(x, sum[i % L::chains]);
            for (int b = 0; b < Brackets; ++b) {
                const auto above_low = L::not_at_most(x, low[b]); // true for NaN
                inside_masks[b][i] = L::and_below(above_low, x, high[b]);
                above_low_bits[b].set(i, above_low);
                inside_bits[b].set(i, inside_masks[b][i]);
            }
        }
        for (int b = 0; b < Brackets; ++b) {
            const std::uint64_t above_low = above_low_bits[b].bits();
            const std::uint64_t inside = inside_bits[b].bits();
            if constexpr (Mark) {
                marks[offset / group_size] = above_low & ~inside;
            }
            const std::uint64_t selected = inside & valid;
            const int count = count_bits(selected);
            candidates[b].n_high += count_bits(above_low & valid) - count;
            candidates[b].n_inside += count;
            if (!fits[b]) {
                continue;
            }
            // No branch on whether the group has candidates: it would be hard to predict.
            if constexpr (Mark) {
                for (int half = 0; half < 2; ++half) {
                    const auto bits = static_cast<std::uint32_t>(selected >> (half * half_size));
                    mask.halves[mask.n_stored] = bits;
                    mask.n_stored += bits != 0 ? 1 : 0;
                    occupied |= std::uint64_t{bits != 0} << (offset / half_size + half);
                }
            }
            if (valid == all_bits) {
                compress<F>(group, inside_masks[b], selected, candidates[b].values + candidates[b].n_stored);
            } else {
                compress_bits<F>(group, selected, candidates[b].values + candidates[b].n_stored);
            }
            candidates[b].n_stored += count;
        }
    });
    if constexpr (Mark) {
        result.mask.n_stored = mask.n_stored;
        result.mask.occupied[first / block_size] = occupied;
    }
    for (int b = 0; b < Brackets; ++b) {
        result.candidates[b] = candidates[b];
    }

    const Value minimum = L::reduce_min(L::min(minima[0], minima[1]));
    if (!L::finite(L::add(sum[0], sum[1]))) {
        count_non_finite<F>(losses, n, first, result.non_finite);
    }
    if (minimum <= result.minimum) {
        if (minimum < result.minimum) {
            result.minimum = minimum;
            result.n_minimum = 0;
        }
        count_minimum<F, Mark>(losses, n, first, result);
    }
}

template <class F, int Brackets, bool Mark>
RRM_INLINE void scan_blocks(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                            ScanResult<typename F::Value> &result, std::uint64_t *marks) {
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        scan_block<F, Brackets, Mark>(losses + begin, size, first + begin, result,
                                      Mark ? marks + begin / group_size : nullptr);
    }
}

template <class F>
void scan(const typename F::Bits *losses, std::int64_t n, std::int64_t first, ScanResult<typename F::Value> &result) {
    scan_blocks<F, 1, false>(losses, n, first, result, nullptr);
}

template <class F>
void scan_two_brackets(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                       ScanResult<typename F::Value> &result) {
    scan_blocks<F, 2, false>(losses, n, first, result, nullptr);
}

template <class F>
void scan_and_mark(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                   ScanResult<typename F::Value> &result, std::uint64_t *marks) {
    scan_blocks<F, 1, true>(losses, n, first, result, marks);
}
