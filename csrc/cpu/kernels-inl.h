// The one source of the loops. Each instruction set includes it inside its own unnamed namespace, after defining
//
//     Lanes<V>              a vector of numbers V, and the operations on it
//     load<F>               a vector of losses of format F, widened
//     compress<F>           moves the losses of a group whose bit is set together
//     stream_fence          what makes streamed stores visible to other threads
//     deposit               the low bits of a word, put where another has ones
//
// Nothing here is shared between the copies: code for a newer processor must not reach an older one through a function
// that the linker merged. What it calls from elsewhere is inlined wherever the optimiser is on.

constexpr std::size_t prefetch_distance = 3072; // bytes
constexpr std::uint64_t all = ~std::uint64_t{0};

RRM_INLINE int count_bits(std::uint64_t bits) {
#if defined(RRM_X86) && !defined(__POPCNT__)
    // A library function otherwise. Neighbouring fields add up, ever wider ones.
    bits -= bits >> 1 & 0x5555555555555555;
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return static_cast<int>(bits * 0x0101010101010101 >> 56);
#else
    return __builtin_popcountll(bits);
#endif
}

RRM_INLINE int first_bit(std::uint64_t bits) {
    return __builtin_ctzll(bits);
}

template <class F, class Word>
RRM_INLINE void compress_bits(const typename F::Bits *group, std::uint64_t chosen, Word *to) {
    for (; chosen != 0; chosen &= chosen - 1) {
        const auto value = F::value(group[first_bit(chosen)]);
        __builtin_memcpy(to++, &value, sizeof value);
    }
}

// Fetches what comes after these. The processor's own prefetching stops at each page.
template <class T> RRM_INLINE void prefetch(const T *from, std::int64_t n) {
    const auto ahead = reinterpret_cast<std::uintptr_t>(from) + prefetch_distance;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n) * sizeof(T); i += 64) {
        __builtin_prefetch(reinterpret_cast<const void *>(ahead + i)); // NOLINT(performance-no-int-to-ptr)
    }
}

// The last losses, fewer than a group, as a full one. What follows them isn't valid.
template <class F> struct Rest {
    typename F::Bits losses[group_size];
    std::uint64_t valid;

    Rest(const typename F::Bits *from, std::int64_t n) : valid((std::uint64_t{1} << n) - 1) {
        for (std::int64_t i = 0; i < group_size; ++i) {
            losses[i] = from[i < n ? i : n - 1];
        }
    }
};

// Calls f(group, bits of the valid samples, index of the first) for each group.
template <class F, class Function>
RRM_INLINE void for_each_group(const typename F::Bits *losses, std::int64_t n, Function f) {
    std::int64_t i = 0;
    for (; i + group_size <= n; i += group_size) {
        f(losses + i, all, i);
    }
    if (i < n) {
        const Rest<F> rest(losses + i, n - i);
        f(rest.losses, rest.valid, i);
    }
}

template <class F, class Relation> RRM_INLINE std::uint64_t bits_where(const typename F::Bits *group, Relation holds) {
    using L = Lanes<typename F::Value>;
    std::uint64_t bits = 0;
    for (int i = 0; i < group_size; i += L::width) {
        bits |= L::bits(holds(load<F>(group + i))) << i;
    }
    return bits;
}

template <class F>
void find_faults(const typename F::Bits *losses, std::int64_t n, std::int64_t first, NonFiniteCounts &faults) {
    using L = Lanes<typename F::Value>;
    const auto low = L::splat(-std::numeric_limits<typename F::Value>::infinity());
    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t at) {
        const auto nan = valid & bits_where<F>(group, [](auto x) { return L::unordered(x, x); });
        const auto lows = valid & bits_where<F>(group, [=](auto x) { return L::equal(x, low); });
        if (nan != 0 && faults.n_nan == 0) {
            faults.first_nan = first + at + first_bit(nan);
        }
        if (lows != 0 && faults.n_neg_inf == 0) {
            faults.first_neg_inf = first + at + first_bit(lows);
        }
        faults.n_nan += count_bits(nan);
        faults.n_neg_inf += count_bits(lows);
    });
}

// Counts the samples at the minimum, and keeps their places while there is memory for them.
template <class F, bool Mark>
void find_lowest(const typename F::Bits *losses, std::int64_t n, std::int64_t first, Pass<typename F::Value> &pass) {
    using L = Lanes<typename F::Value>;
    const auto lowest = L::splat(pass.lowest);
    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t at) {
        auto found = valid & bits_where<F>(group, [=](auto x) { return L::equal(x, lowest); });
        auto i = pass.n_lowest;
        pass.n_lowest += count_bits(found);
        if constexpr (Mark) {
            if (pass.n_lowest <= pass.lowest_capacity) {
                for (; found != 0; ++i, found &= found - 1) {
                    pass.lowest_places[i] = static_cast<std::uint32_t>(first + at + first_bit(found));
                }
            }
        }
    });
}

template <class F, int Brackets, bool Mark>
// NOLINTNEXTLINE(readability-function-cognitive-complexity): one loop, in which everything rides
RRM_INLINE void scan_block(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                           Pass<typename F::Value> &pass, std::uint64_t *marks) {
    using Value = typename F::Value;
    using L = Lanes<Value>;
    const auto infinity = L::splat(std::numeric_limits<Value>::infinity());
    const typename L::Vector low[2] = {L::splat(pass.candidates[0].low), L::splat(pass.candidates[1].low)};
    const typename L::Vector high[2] = {L::splat(pass.candidates[0].high), L::splat(pass.candidates[1].high)};
    Candidates<Value> found[2] = {pass.candidates[0], pass.candidates[1]};
    Occupancy occupancy = pass.occupancy; // NOLINT(misc-const-correctness)
    std::uint64_t occupied = 0;
    const bool places = !Mark || occupancy.stored + block_size / half_size <= occupancy.capacity;
    const bool room[2] = {found[0].stored == found[0].n_inside && found[0].stored + n <= found[0].capacity && places,
                          found[1].stored == found[1].n_inside && found[1].stored + n <= found[1].capacity};
    typename L::Vector least[2] = {infinity, infinity};
    typename L::Vector sum[2] = {L::splat(0), L::splat(0)}; // not finite if one of them isn't

    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t at) {
        constexpr int vectors = group_size / L::width;
        std::uint64_t above_low[Brackets] = {}, inside[Brackets] = {};
        typename L::Mask masks[Brackets][vectors];
        if (valid == all) {
            prefetch(group, group_size);
        }
        for (int i = 0; i < vectors; ++i) {
            const auto x = load<F>(group + i * L::width);
            least[i % L::chains] = L::min(x, least[i % L::chains]);
            sum[i % L::chains] = L::add(x, sum[i % L::chains]);
            for (int b = 0; b < Brackets; ++b) {
                const auto above = L::not_at_most(x, low[b]); // so is NaN
                masks[b][i] = L::and_below(above, x, high[b]);
                above_low[b] |= L::bits(above) << (i * L::width);
                inside[b] |= L::bits(masks[b][i]) << (i * L::width);
            }
        }
        if constexpr (Mark) {
            marks[at / group_size] = above_low[0] & ~inside[0];
        }
        for (int b = 0; b < Brackets; ++b) {
            const std::uint64_t chosen = inside[b] & valid;
            const int count = count_bits(chosen);
            found[b].n_high += count_bits(above_low[b] & valid) - count;
            found[b].n_inside += count;
            if (!room[b]) {
                continue;
            }
            // Without a branch on whether there are any, which is hard to predict.
            if constexpr (Mark) {
                for (int half = 0; half < 2; ++half) {
                    const auto bits = static_cast<std::uint32_t>(chosen >> (half * half_size));
                    occupancy.halves[occupancy.stored] = bits;
                    occupancy.stored += bits != 0 ? 1 : 0;
                    occupied |= std::uint64_t{bits != 0} << (at / half_size + half);
                }
            }
            if (valid == all) {
                compress<F>(group, masks[b], chosen, found[b].values + found[b].stored);
            } else {
                compress_bits<F>(group, chosen, found[b].values + found[b].stored);
            }
            found[b].stored += count;
        }
    });
    if constexpr (Mark) {
        pass.occupancy.stored = occupancy.stored;
        pass.occupancy.occupied[first / block_size] = occupied;
    }
    for (int b = 0; b < Brackets; ++b) {
        pass.candidates[b] = found[b];
    }

    const Value lowest = L::reduce_min(L::min(least[0], least[1]));
    if (!L::finite(L::add(sum[0], sum[1]))) {
        find_faults<F>(losses, n, first, pass.faults);
    }
    if (lowest <= pass.lowest) {
        if (lowest < pass.lowest) {
            pass.lowest = lowest;
            pass.n_lowest = 0;
        }
        find_lowest<F, Mark>(losses, n, first, pass);
    }
}

template <class F, int Brackets, bool Mark>
RRM_INLINE void scan_blocks(const typename F::Bits *losses, std::int64_t n, std::int64_t first,
                            Pass<typename F::Value> &pass, std::uint64_t *marks) {
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const std::int64_t size = n - begin < block_size ? n - begin : block_size;
        scan_block<F, Brackets, Mark>(losses + begin, size, first + begin, pass,
                                      Mark ? marks + begin / group_size : nullptr);
    }
}

template <class F>
void scan(const typename F::Bits *losses, std::int64_t n, std::int64_t first, Pass<typename F::Value> &pass) {
    scan_blocks<F, 1, false>(losses, n, first, pass, nullptr);
}

template <class F>
void scan_two(const typename F::Bits *losses, std::int64_t n, std::int64_t first, Pass<typename F::Value> &pass) {
    scan_blocks<F, 2, false>(losses, n, first, pass, nullptr);
}

template <class F>
void scan_marking(const typename F::Bits *losses, std::int64_t n, std::int64_t first, Pass<typename F::Value> &pass,
                  std::uint64_t *marks) {
    scan_blocks<F, 1, true>(losses, n, first, pass, marks);
}

template <class F> Census count(const typename F::Bits *losses, std::int64_t n, typename F::Value pivot) {
    using L = Lanes<typename F::Value>;
    const auto t = L::splat(pivot);
    Census census;
    for_each_group<F>(losses, n, [&](const typename F::Bits *group, std::uint64_t valid, std::int64_t) {
        census.n_below += count_bits(valid & bits_where<F>(group, [=](auto x) { return L::above(t, x); }));
        census.n_equal += count_bits(valid & bits_where<F>(group, [=](auto x) { return L::equal(x, t); }));
        census.n_nan += count_bits(valid & bits_where<F>(group, [](auto x) { return L::unordered(x, x); }));
    });
    return census;
}

template <class V> RRM_INLINE bool can_stream(const Steps<V> &steps, const V *out) {
    return steps.stream && reinterpret_cast<std::uintptr_t>(out) % 16 == 0;
}

template <bool Stream, class V> RRM_INLINE void put(V *to, typename Lanes<V>::Vector x) {
    if constexpr (Stream) {
        Lanes<V>::stream(to, x);
    } else {
        Lanes<V>::store(to, x);
    }
}

template <class F, bool ReadOld, bool Stream>
RRM_INLINE void write_all(const typename F::Bits *losses, std::int64_t n, const Steps<typename F::Value> &steps,
                          const typename F::Value *old, typename F::Value *out) {
    using Value = typename F::Value;
    using L = Lanes<Value>;
    const auto t = L::splat(steps.threshold), r = L::splat(steps.recipient_threshold), keep = L::splat(steps.keep);
    const auto pruned = L::splat(steps.pruned), kept = L::splat(steps.kept);
    const auto kept_recipient = L::splat(steps.kept_recipient);
    // The recipients' threshold is never above t: on t, either all receive or nobody.
    const auto on = L::splat(steps.recipient_threshold == steps.threshold ? steps.tied_recipient : steps.tied);
    const auto write_one = [=](const typename F::Bits *c, const Value *before, Value *after) {
        const auto x = load<F>(c);
        const auto below = L::select(L::above(x, r), kept, kept_recipient);
        const auto step = L::select(L::above(t, x), below, L::select(L::equal(x, t), on, pruned)); // NaN: pruned
        put<Stream>(after, ReadOld ? L::add(L::multiply(keep, L::load(before)), step) : step);
    };
    std::int64_t i = 0;
    for (; i + L::width <= n; i += L::width) {
        prefetch(losses + i, L::width);
        if constexpr (!Stream) {
            prefetch(ReadOld ? old + i : out + i, L::width);
        }
        write_one(losses + i, ReadOld ? old + i : nullptr, out + i);
    }
    if (i < n) {
        const Rest<F> rest(losses + i, n - i);
        alignas(16) Value weights[L::width] = {};
        for (std::int64_t j = 0; ReadOld && j < n - i; ++j) {
            weights[j] = old[i + j];
        }
        write_one(rest.losses, weights, weights);
        for (std::int64_t j = 0; j < n - i; ++j) {
            out[i + j] = weights[j];
        }
    }
}

template <class F>
void write(const typename F::Bits *losses, std::int64_t n, const Steps<typename F::Value> &steps,
           const typename F::Value *old, typename F::Value *out) {
    if (old != nullptr) {
        write_all<F, true, false>(losses, n, steps, old, out);
    } else if (can_stream(steps, out)) {
        write_all<F, false, true>(losses, n, steps, old, out);
        stream_fence();
    } else {
        write_all<F, false, false>(losses, n, steps, old, out);
    }
}

template <class V, bool ReadOld, bool Stream>
RRM_INLINE void write_all_marked(const std::uint64_t *marks, std::int64_t n, const Steps<V> &steps, const V *old,
                                 V *out) {
    using L = Lanes<V>;
    const auto keep = L::splat(steps.keep), pruned = L::splat(steps.pruned), kept = L::splat(steps.kept);
    const auto write_group = [=](std::uint64_t bits, const V *before, V *after) {
        for (int i = 0; i < group_size; i += L::width) {
            const auto step = L::select(L::mask(bits >> i), pruned, kept);
            put<Stream>(after + i, ReadOld ? L::add(L::multiply(keep, L::load(before + i)), step) : step);
        }
    };
    std::int64_t i = 0;
    for (; i + group_size <= n; i += group_size) {
        if constexpr (!Stream) {
            prefetch(ReadOld ? old + i : out + i, group_size);
        }
        write_group(marks[i / group_size], ReadOld ? old + i : nullptr, out + i);
    }
    if (i < n) {
        alignas(16) V weights[group_size] = {};
        for (std::int64_t j = 0; ReadOld && j < n - i; ++j) {
            weights[j] = old[i + j];
        }
        write_group(marks[i / group_size], weights, weights);
        for (std::int64_t j = 0; j < n - i; ++j) {
            out[i + j] = weights[j];
        }
    }
}

template <class V>
void write_marked(const std::uint64_t *marks, std::int64_t n, const Steps<V> &steps, const V *old, V *out) {
    if (old != nullptr) {
        write_all_marked<V, true, false>(marks, n, steps, old, out);
    } else if (can_stream(steps, out)) {
        write_all_marked<V, false, true>(marks, n, steps, old, out);
        stream_fence();
    } else {
        write_all_marked<V, false, false>(marks, n, steps, old, out);
    }
}

// Bisection over the keys, counting; once few are left they are sorted. With a tolerance, a value whose rank is off by
// less will do, and its counts mean nothing.
template <class V>
// NOLINTNEXTLINE(readability-function-cognitive-complexity)
OrderStatistic<V> smallest_of_few(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                                  std::int64_t tolerance) {
    using F = Wide<V>;
    using Key = typename F::Bits;
    using L = Lanes<V>;
    constexpr int few = 16;
    const std::int64_t padded = (n + group_size - 1) / group_size * group_size;
    auto least = L::splat(std::numeric_limits<V>::infinity()), most = L::splat(-std::numeric_limits<V>::infinity());
    for (std::int64_t i = 0; i < padded; i += L::width) {
        const auto x = load<F>(values + i);
        least = L::min(x, least);
        most = L::max(x, most);
    }
    // The value sought is above the first and not above the second. One below the key of 0 is -0, which equals it.
    Key low = F::key(std::bit_cast<Key>(L::reduce_min(least)));
    low -= low == F::sign ? 2 : 1;
    Key high = F::key(std::bit_cast<Key>(L::reduce_max(most)));
    std::int64_t upto_low = 0, upto_high = n;
    while (high - low > 1 && upto_high - upto_low > few) {
        const Key middle = low + (high - low) / 2;
        const auto pivot = L::splat(F::value(F::bits(middle)));
        std::int64_t upto = 0;
        for (std::int64_t i = 0; i < padded; i += group_size) {
            upto += count_bits(bits_where<F>(values + i, [=](auto x) { return L::at_most(x, pivot); }));
        }
        (upto < rank ? low : high) = middle;
        (upto < rank ? upto_low : upto_high) = upto;
        if (upto > 0 && rank - tolerance <= upto && upto < rank + tolerance) { // take the largest of these
            auto largest = L::splat(-std::numeric_limits<V>::infinity());
            for (std::int64_t i = 0; i < padded; i += L::width) {
                const auto x = load<F>(values + i);
                largest = L::select(L::at_most(x, pivot), L::max(x, largest), largest);
            }
            return {L::reduce_max(largest), upto - 1, 1};
        }
    }
    if (high - low == 1) {
        return {F::value(F::bits(high)), upto_low, upto_high - upto_low};
    }
    Key left[few + group_size]{};
    int m = 0;
    const auto from = L::splat(F::value(F::bits(low))), to = L::splat(F::value(F::bits(high)));
    for (std::int64_t i = 0; i < padded && m < few; i += group_size) {
        auto chosen = bits_where<F>(values + i, [=](auto x) { return L::at_most(x, to); }) &
                      ~bits_where<F>(values + i, [=](auto x) { return L::at_most(x, from); });
        for (; chosen != 0; chosen &= chosen - 1) {
            const Key key = F::key(values[i + first_bit(chosen)]);
            int j = m++;
            for (; j > 0 && left[j - 1] > key; --j) {
                left[j] = left[j - 1];
            }
            left[j] = key;
        }
    }
    const Key found = left[rank - upto_low - 1];
    OrderStatistic<V> statistic{F::value(F::bits(found)), upto_low, 0};
    for (int j = 0; j < m; ++j) {
        statistic.n_below += left[j] < found;
        statistic.n_equal += left[j] == found;
    }
    return statistic;
}

template <class V> double variance_of_runs(const typename Wide<V>::Bits *values, std::int64_t n, V pivot) {
    using L = Lanes<V>;
    const auto t = L::splat(pivot);
    std::int64_t squares = 0;
    int last = -1;
    for_each_group<Wide<V>>(values, n, [&](const typename Wide<V>::Bits *group, std::uint64_t valid, std::int64_t) {
        const auto upto = bits_where<Wide<V>>(group, [=](auto x) { return L::at_most(x, t); });
        for (int i = 0; i < group_size && (valid >> i & 1) != 0; i += run_size) {
            const int now = count_bits(upto >> i & 0xffff);
            squares += last < 0 ? 0 : (now - last) * (now - last);
            last = now;
        }
    });
    return static_cast<double>(squares) / 2.0;
}

template <class V> void mark(std::int64_t n, std::int64_t first, V threshold, Walk<V> &shared, std::uint64_t *marks) {
    using L = Lanes<V>;
    const auto t = L::splat(threshold);
    Walk<V> walk = shared;
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        for (auto left = walk.occupied[(first + begin) / block_size]; left != 0; left &= left - 1) {
            const std::int64_t half = (first + begin) / half_size + first_bit(left);
            const std::uint64_t chosen = *walk.halves++;
            const int count = count_bits(chosen);
            std::uint64_t above = 0, at = 0;
            for (int i = 0; i < count; i += L::width) {
                const auto x = load<Wide<V>>(walk.values + i);
                above |= L::bits(L::above(x, t)) << i;
                at |= L::bits(L::equal(x, t)) << i;
            }
            walk.values += count;
            marks[half / 2] |= deposit(above, chosen) << (half % 2 * half_size);
            at = walk.tied != nullptr ? deposit(at, chosen) : 0;
            for (; at != 0; at &= at - 1) {
                walk.tied[walk.n_tied++] = half * half_size + first_bit(at);
            }
        }
    }
    shared = walk;
}

#include "bucket_counts-inl.h"

template <class F> constexpr Loops<F> make_loops() {
    using V = typename F::Value;
    return {scan<F>, scan_two<F>, scan_marking<F>, count<F>, mark<V>, write<F>, write_marked<V>, smallest_of_few<V>,
            variance_of_runs<V>, tally_all<F>,
            // Two-byte losses are done after the first round.
            [] {
                if constexpr (F::width > bin_bits) {
                    return tally_some<F>;
                } else {
                    return nullptr;
                }
            }(),
            checksum<F>};
}
