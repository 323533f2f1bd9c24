// The kernels for losses of few groups: pivots, thresholds and terms are looked up by the groups of a vector of
// samples. Included by kernels-inl.h.

// The last losses, fewer than a group of 64, and their groups, padded.
template <class F> struct PaddedGroups {
    PaddedTail<F> tail;
    std::uint8_t groups[group_size] = {};

    PaddedGroups(const typename F::Bits *losses, const std::uint8_t *from, std::int64_t n) : tail(losses, n) {
        for (std::int64_t i = 0; i < n; ++i) {
            groups[i] = from[i];
        }
    }
};

// Calls f(losses, groups, bits of the valid samples) for each 64 samples.
template <class F, class Function>
RRM_INLINE void for_each_64(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n, Function f) {
    std::int64_t i = 0;
    for (; i + group_size <= n; i += group_size) {
        prefetch(losses + i, group_size);
        prefetch(groups + i, group_size);
        f(losses + i, groups + i, all_bits);
    }
    if (i < n) {
        const PaddedGroups<F> padded(losses + i, groups + i, n - i);
        f(padded.tail.losses, padded.groups, padded.tail.valid);
    }
}

// Adds to the counts of each group the number of its samples whose bit is set.
template <class L>
RRM_INLINE void add_members(std::int64_t *counts, int n_groups, const std::uint8_t *groups, std::uint64_t bits) {
    for (int group = 0; bits != 0 && group < n_groups; ++group) {
        counts[group] += count_bits(bits & L::members(groups, group));
    }
}

template <class F>
void count_nan_of_groups(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n,
                         FewGroupsScan<typename F::Value> &result) {
    using L = Lanes<typename F::Value>;
    for_each_64<F>(losses, groups, n, [&](const auto *c, const std::uint8_t *g, std::uint64_t valid) {
        const auto nan = valid & bits_where<F>(c, [](auto x) { return L::unordered(x, x); });
        add_members<L>(result.n_nan, result.n_groups, g, nan);
    });
}

template <class F>
// NOLINTNEXTLINE(readability-function-cognitive-complexity): one loop does all the work of a pass
void scan_few_groups(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n,
                     FewGroupsScan<typename F::Value> &result) {
    using Value = typename F::Value;
    using L = Lanes<Value>;
    const auto low = L::table(result.low);
    const auto high = L::table(result.high);
    auto minimum = L::table(result.minimum);
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        typename L::Vector sum[2] = {L::splat(0), L::splat(0)}; // not finite if any loss is not
        for_each_64<F>(losses + begin, groups + begin, size, [&](const auto *c, const auto *g, std::uint64_t valid) {
            constexpr int vectors = group_size / L::width;
            GroupBits<Value> above_low_bits, inside_bits, at_minimum_bits;
            for (int i = 0; i < vectors; ++i) {
                const auto x = load<F>(c + i * L::width);
                const auto group = L::load_groups(g + i * L::width);
                sum[i % 2] = L::add(x, sum[i % 2]);
                const auto above = L::not_at_most(x, L::look_up(low, group)); // true for NaN
                above_low_bits.set(i, above);
                inside_bits.set(i, L::and_below(above, x, L::look_up(high, group)));
                at_minimum_bits.set(i, L::at_most(x, L::look_up(minimum, group)));
            }
            const std::uint64_t above_low = above_low_bits.bits();
            const std::uint64_t inside = inside_bits.bits();
            std::uint64_t at_minimum = at_minimum_bits.bits();
            add_members<L>(result.n_high, result.n_groups, g, above_low & ~inside & valid);
            for (auto bits = inside & valid; bits != 0; bits &= bits - 1) {
                const int group = g[first_bit(bits)];
                const auto value = F::value(c[first_bit(bits)]);
                ++result.n_inside[group];
                if (result.n_stored[group] < result.capacity) {
                    __builtin_memcpy(result.candidates[group] + result.n_stored[group]++, &value, sizeof value);
                }
            }
            at_minimum &= valid;
            if (at_minimum != 0) {
                for (; at_minimum != 0; at_minimum &= at_minimum - 1) {
                    const int group = g[first_bit(at_minimum)];
                    const Value value = F::value(c[first_bit(at_minimum)]);
                    if (value < result.minimum[group]) {
                        result.minimum[group] = value;
                        result.n_minimum[group] = 0;
                    }
                    result.n_minimum[group] += value == result.minimum[group] ? 1 : 0;
                }
                minimum = L::table(result.minimum);
            }
        });
        if (!L::finite(L::add(sum[0], sum[1]))) {
            count_nan_of_groups<F>(losses + begin, groups + begin, size, result);
        }
    }
}

template <class F>
void count_few_groups(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n,
                      FewGroupsCounts<typename F::Value> &result) {
    using L = Lanes<typename F::Value>;
    const auto pivot = L::table(result.pivot);
    for_each_64<F>(losses, groups, n, [&](const auto *c, const std::uint8_t *g, std::uint64_t valid) {
        constexpr int vectors = group_size / L::width;
        GroupBits<typename F::Value> below, equal;
        for (int i = 0; i < vectors; ++i) {
            const auto x = load<F>(c + i * L::width);
            const auto t = L::look_up(pivot, L::load_groups(g + i * L::width));
            below.set(i, L::above(t, x));
            equal.set(i, L::equal(x, t));
        }
        add_members<L>(result.n_below, result.n_groups, g, below.bits() & valid);
        add_members<L>(result.n_equal, result.n_groups, g, equal.bits() & valid);
    });
}

template <class F, bool ReadOld, bool Simple>
RRM_INLINE InvalidWeights write_groups(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n,
                                       const FewGroupsUpdate<typename F::Value> &update,
                                       const typename F::Value *old_weights, typename F::Value *out) {
    using Value = typename F::Value;
    using L = Lanes<Value>;
    const auto threshold = L::table(update.threshold);
    const auto kept = L::table(update.kept);
    const auto recipient_threshold = L::table(update.recipient_threshold);
    const auto kept_recipient = L::table(update.kept_recipient);
    const auto tied = L::table(update.tied);
    const auto pruned = L::splat(update.pruned);
    const auto old_factor = L::splat(update.old_factor);
    InvalidWeights invalid;
    const auto write_64 = [&](const typename F::Bits *c, const std::uint8_t *g, std::int64_t begin, const Value *from,
                              Value *to) {
        if constexpr (ReadOld) {
            check_old_weights(from, group_size, begin, invalid);
        }
        for (int i = 0; i < group_size; i += L::width) {
            const auto x = load<F>(c + i);
            const auto group = L::load_groups(g + i);
            const auto t = L::look_up(threshold, group);
            auto term = L::look_up(kept, group);
            if constexpr (Simple) {
                term = L::select(L::at_most(x, t), term, pruned); // NaN is pruned
            } else {
                const auto is_kept = L::above(x, L::look_up(recipient_threshold, group));
                const auto below = L::select(is_kept, term, L::look_up(kept_recipient, group));
                const auto equal = L::select(L::equal(x, t), L::look_up(tied, group), pruned);
                term = L::select(L::above(t, x), below, equal);
            }
            L::store(to + i, ReadOld ? L::add(L::multiply(old_factor, L::load(from + i)), term) : term);
        }
    };
    std::int64_t i = 0;
    for (; i + group_size <= n; i += group_size) {
        prefetch(losses + i, group_size);
        prefetch(groups + i, group_size);
        prefetch(ReadOld ? old_weights + i : out + i, group_size);
        write_64(losses + i, groups + i, i, ReadOld ? old_weights + i : nullptr, out + i);
    }
    if (i < n) {
        const PaddedGroups<F> padded(losses + i, groups + i, n - i);
        alignas(64) Value weights[group_size] = {};
        for (std::int64_t j = 0; ReadOld && j < n - i; ++j) {
            weights[j] = old_weights[i + j];
        }
        write_64(padded.tail.losses, padded.groups, i, weights, weights);
        for (std::int64_t j = 0; j < n - i; ++j) {
            out[i + j] = weights[j];
        }
    }
    return invalid;
}

template <class F>
InvalidWeights write_few_groups(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n,
                                const FewGroupsUpdate<typename F::Value> &update, const typename F::Value *old_weights,
                                typename F::Value *out) {
    if (old_weights != nullptr) {
        return update.is_simple ? write_groups<F, true, true>(losses, groups, n, update, old_weights, out)
                                : write_groups<F, true, false>(losses, groups, n, update, old_weights, out);
    }
    return update.is_simple ? write_groups<F, false, true>(losses, groups, n, update, old_weights, out)
                            : write_groups<F, false, false>(losses, groups, n, update, old_weights, out);
}
