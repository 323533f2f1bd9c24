// The write kernels: the new weights from losses and thresholds, or from marks. Included by kernels-inl.h.

// Adds the marks of the candidates above the threshold, and records the indices of those equal to it.
template <class V>
void mark_candidates(std::int64_t n, std::int64_t first, V threshold, CandidateCursor<V> &result,
                     std::uint64_t *marks) {
    using L = Lanes<V>;
    const auto t = L::splat(threshold);
    CandidateCursor<V> cursor = result; // a local copy stays in registers
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        for (auto occupied = cursor.occupied[(first + begin) / block_size]; occupied != 0; occupied &= occupied - 1) {
            const std::int64_t half = (first + begin) / half_size + first_bit(occupied);
            const std::uint64_t selected = *cursor.halves++;
            const int count = count_bits(selected);
            std::uint64_t above = 0, equal = 0;
            for (int i = 0; i < count; i += L::width) {
                const auto x = load<Wide<V>>(cursor.values + i);
                above |= L::bits(L::above(x, t)) << i;
                equal |= L::bits(L::equal(x, t)) << i;
            }
            cursor.values += count;
            marks[half / 2] |= deposit(above, selected) << (half % 2 * half_size);
            equal = cursor.tied_indices != nullptr ? deposit(equal, selected) : 0;
            for (; equal != 0; equal &= equal - 1) {
                cursor.tied_indices[cursor.n_tied++] = half * half_size + first_bit(equal);
            }
        }
    }
    result = cursor;
}

template <class V> RRM_INLINE bool can_stream(const WeightUpdate<V> &update, const V *out) {
    return update.stream && reinterpret_cast<std::uintptr_t>(out) % 16 == 0;
}

template <bool Stream, class V> RRM_INLINE void store(V *to, typename Lanes<V>::Vector x) {
    if constexpr (Stream) {
        Lanes<V>::stream(to, x);
    } else {
        Lanes<V>::store(to, x);
    }
}

// Adds the old weights that are NaN, infinite or negative.
template <class V>
[[gnu::noinline]] void add_invalid(const V *old_weights, std::int64_t n, std::int64_t begin, InvalidWeights &invalid) {
    for (std::int64_t i = 0; i < n; ++i) {
        const V weight = old_weights[i];
        if (!(weight >= 0 && weight <= std::numeric_limits<V>::max())) {
            invalid.merge({1, i, static_cast<double>(weight)}, begin);
        }
    }
}

// Checks n old weights, full vectors of a group, before they are overwritten: one operation per vector, and a closer
// look only where one may be invalid.
template <class V>
RRM_INLINE void check_old_weights(const V *old_weights, std::int64_t n, std::int64_t begin, InvalidWeights &invalid) {
    if (Lanes<V>::any_suspect(old_weights, n)) {
        add_invalid(old_weights, n, begin, invalid);
    }
}

// The last weights, fewer than a vector, at index `begin`: by way of a whole vector.
template <class F, bool ReadOld, class WriteOne>
RRM_INLINE void write_tail(const typename F::Bits *losses, std::int64_t n, std::int64_t begin,
                           const typename F::Value *old_weights, typename F::Value *out, const WriteOne &write_one,
                           InvalidWeights &invalid) {
    using Value = typename F::Value;
    constexpr std::int64_t width = Lanes<Value>::width;
    const PaddedTail<F> tail(losses, n);
    alignas(16) Value weights[width] = {};
    if constexpr (ReadOld) {
        for (std::int64_t j = 0; j < n; ++j) {
            weights[j] = old_weights[j];
        }
        check_old_weights(weights, width, begin, invalid);
    }
    write_one(tail.losses, weights, weights);
    for (std::int64_t j = 0; j < n; ++j) {
        out[j] = weights[j];
    }
}

// Whether the losses equal to the threshold have a term other than those below it. r <= t, so either all of them are
// recipients or none is.
template <class V> RRM_INLINE bool ties_differ(const WeightUpdate<V> &update) {
    return update.recipient_threshold == update.threshold ? update.tied_recipient != update.kept_recipient
                                                          : update.tied != update.kept;
}

// new weight = old_factor * old weight + term, where the term depends on the loss relative to the thresholds.
template <class F, bool ReadOld, bool Stream, bool TiesDiffer>
RRM_INLINE InvalidWeights write_all(const typename F::Bits *losses, std::int64_t n,
                                    const WeightUpdate<typename F::Value> &update, const typename F::Value *old_weights,
                                    typename F::Value *out) {
    using Value = typename F::Value;
    using L = Lanes<Value>;
    const auto t = L::splat(update.threshold);
    const auto r = L::splat(update.recipient_threshold);
    const auto old_factor = L::splat(update.old_factor);
    const auto pruned = L::splat(update.pruned);
    const auto kept = L::splat(update.kept);
    const auto kept_recipient = L::splat(update.kept_recipient);
    const auto tied = L::splat(update.recipient_threshold == update.threshold ? update.tied_recipient : update.tied);
    const auto write_one = [=](const typename F::Bits *c, const Value *old_weight, Value *new_weight) {
        const auto x = load<F>(c);
        const auto below = L::select(L::above(x, r), kept, kept_recipient);
        const auto untied = L::select(L::at_most(x, t), below, pruned); // NaN is pruned
        const auto term = TiesDiffer ? L::select(L::equal(x, t), tied, untied) : untied;
        store<Stream>(new_weight, ReadOld ? L::add(L::multiply(old_factor, L::load(old_weight)), term) : term);
    };
    InvalidWeights invalid;
    const auto write_vectors = [&](std::int64_t begin, std::int64_t size) { // up to a group
        if constexpr (ReadOld) {
            check_old_weights(old_weights + begin, size, begin, invalid);
        }
        for (std::int64_t i = begin; i < begin + size; i += L::width) {
            write_one(losses + i, ReadOld ? old_weights + i : nullptr, out + i);
        }
    };
    const std::int64_t tail_begin = n / L::width * L::width;
    std::int64_t begin = 0;
    for (; begin + group_size <= tail_begin; begin += group_size) {
        prefetch(losses + begin, group_size);
        if constexpr (!Stream) {
            prefetch(ReadOld ? old_weights + begin : out + begin, group_size);
        }
        write_vectors(begin, group_size);
    }
    write_vectors(begin, tail_begin - begin);
    if (tail_begin < n) {
        const Value *old_tail = ReadOld ? old_weights + tail_begin : nullptr;
        write_tail<F, ReadOld>(losses + tail_begin, n - tail_begin, tail_begin, old_tail, out + tail_begin, write_one,
                               invalid);
    }
    return invalid;
}

template <class F, bool TiesDiffer>
RRM_INLINE InvalidWeights write_any(const typename F::Bits *losses, std::int64_t n,
                                    const WeightUpdate<typename F::Value> &update, const typename F::Value *old_weights,
                                    typename F::Value *out) {
    if (old_weights != nullptr) {
        return write_all<F, true, false, TiesDiffer>(losses, n, update, old_weights, out);
    }
    if (can_stream(update, out)) {
        write_all<F, false, true, TiesDiffer>(losses, n, update, old_weights, out);
        stream_fence();
    } else {
        write_all<F, false, false, TiesDiffer>(losses, n, update, old_weights, out);
    }
    return {};
}

template <class F>
InvalidWeights write(const typename F::Bits *losses, std::int64_t n, const WeightUpdate<typename F::Value> &update,
                     const typename F::Value *old_weights, typename F::Value *out) {
    return ties_differ(update) ? write_any<F, true>(losses, n, update, old_weights, out)
                               : write_any<F, false>(losses, n, update, old_weights, out);
}

template <class V, bool ReadOld, bool Stream>
RRM_INLINE InvalidWeights write_all_marked(const std::uint64_t *marks, std::int64_t n, const WeightUpdate<V> &update,
                                           const V *old_weights, V *out) {
    using L = Lanes<V>;
    const auto old_factor = L::splat(update.old_factor);
    const auto pruned = L::splat(update.pruned);
    const auto kept = L::splat(update.kept);
    InvalidWeights invalid;
    const auto write_group = [&](std::uint64_t bits, std::int64_t begin, const V *old_group, V *new_group) {
        if constexpr (ReadOld) {
            check_old_weights(old_group, group_size, begin, invalid);
        }
        for (int i = 0; i < group_size; i += L::width) {
            const auto term = L::select(L::mask(bits, i), pruned, kept);
            store<Stream>(new_group + i,
                          ReadOld ? L::add(L::multiply(old_factor, L::load(old_group + i)), term) : term);
        }
    };
    std::int64_t i = 0;
    for (; i + group_size <= n; i += group_size) {
        if constexpr (!Stream) {
            prefetch(ReadOld ? old_weights + i : out + i, group_size);
        }
        write_group(marks[i / group_size], i, ReadOld ? old_weights + i : nullptr, out + i);
    }
    if (i < n) {
        alignas(16) V weights[group_size] = {};
        for (std::int64_t j = 0; ReadOld && j < n - i; ++j) {
            weights[j] = old_weights[i + j];
        }
        write_group(marks[i / group_size], i, weights, weights);
        for (std::int64_t j = 0; j < n - i; ++j) {
            out[i + j] = weights[j];
        }
    }
    return invalid;
}

template <class V>
InvalidWeights write_marked(const std::uint64_t *marks, std::int64_t n, const WeightUpdate<V> &update,
                            const V *old_weights, V *out) {
    if (old_weights != nullptr) {
        return write_all_marked<V, true, false>(marks, n, update, old_weights, out);
    }
    if (can_stream(update, out)) {
        write_all_marked<V, false, true>(marks, n, update, old_weights, out);
        stream_fence();
    } else {
        write_all_marked<V, false, false>(marks, n, update, old_weights, out);
    }
    return {};
}
