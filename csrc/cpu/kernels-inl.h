// The common source of the kernels. Each kernels_*.cpp includes it inside an unnamed namespace of its own, after
// defining for its instruction set:
//
//     Lanes<V>              a vector of numbers V, and the operations on it; packed_bits, where that is faster than to
//                           collect the bits of each mask
//     load<F>               loads a vector of losses of format F and widens them
//     compress<F>           copies the losses of a group whose bit is set, without gaps
//     stream_fence          makes streamed stores visible to other threads
//     deposit               scatters the low bits of a word to the positions of the set bits of a mask
//
// The copies share no code: the linker must not merge a function that was compiled for a newer processor into the code
// for an older one. Functions from elsewhere are inlined wherever the optimizer is on.

constexpr std::size_t prefetch_distance = 3072; // bytes
constexpr std::uint64_t all_bits = ~std::uint64_t{0};

RRM_INLINE int count_bits(std::uint64_t bits) {
#if defined(RRM_X86) && !defined(__POPCNT__)
    // The builtin would be a call of a library function here. Adds up neighbouring fields of increasing width.
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
RRM_INLINE void compress_bits(const typename F::Bits *group, std::uint64_t selected, Word *to) {
    for (; selected != 0; selected &= selected - 1) {
        const auto value = F::value(group[first_bit(selected)]);
        __builtin_memcpy(to++, &value, sizeof value);
    }
}

// Prefetches the memory that follows these values. The hardware prefetcher stops at each page.
template <class T> RRM_INLINE void prefetch(const T *from, std::int64_t n) {
    const auto ahead = reinterpret_cast<std::uintptr_t>(from) + prefetch_distance;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n) * sizeof(T); i += 64) {
        __builtin_prefetch(reinterpret_cast<const void *>(ahead + i)); // NOLINT(performance-no-int-to-ptr)
    }
}

// The last losses, fewer than a group, padded to a full group. The bits in `valid` are those of the losses.
template <class F> struct PaddedTail {
    typename F::Bits losses[group_size];
    std::uint64_t valid;

    PaddedTail(const typename F::Bits *from, std::int64_t n) : valid((std::uint64_t{1} << n) - 1) {
        for (std::int64_t i = 0; i < group_size; ++i) {
            losses[i] = from[i < n ? i : n - 1];
        }
    }
};

// Calls f(group, bits of the valid samples, offset of the group) for each group.
template <class F, class Function>
RRM_INLINE void for_each_group(const typename F::Bits *losses, std::int64_t n, Function f) {
    std::int64_t i = 0;
    for (; i + group_size <= n; i += group_size) {
        f(losses + i, all_bits, i);
    }
    if (i < n) {
        const PaddedTail<F> tail(losses + i, n - i);
        f(tail.losses, tail.valid, i);
    }
}

// Collects the masks of the vectors of a group as one bit for each number.
template <class V> class GroupBits {
    using L = Lanes<V>;
    static constexpr bool packs = requires(const typename L::Mask *masks) { L::packed_bits(masks); };

  public:
    RRM_INLINE void set(int vector, typename L::Mask mask) { // of each vector once
        if constexpr (packs) {
            masks_[vector] = mask;
        } else {
            bits_ |= L::bits(mask) << (vector * L::width);
        }
    }
    RRM_INLINE std::uint64_t bits() const {
        if constexpr (packs) {
            return L::packed_bits(masks_) | L::packed_bits(masks_ + half_size / L::width) << half_size;
        } else {
            return bits_;
        }
    }

  private:
    std::uint64_t bits_ = 0;
    typename L::Mask masks_[packs ? group_size / L::width : 1];
};

// One bit for each loss of the group: whether the predicate holds for it.
template <class F, class Predicate>
RRM_INLINE std::uint64_t bits_where(const typename F::Bits *group, Predicate predicate) {
    using L = Lanes<typename F::Value>;
    GroupBits<typename F::Value> bits;
    for (int i = 0; i < group_size / L::width; ++i) {
        bits.set(i, predicate(load<F>(group + i * L::width)));
    }
    return bits.bits();
}

#include "scan-inl.h"
#include "select-inl.h"
#include "write-inl.h"

#include "few_groups-inl.h" // uses check_old_weights of write-inl.h

#include "bucket_counts-inl.h" // uses count_pivot of select-inl.h

template <class F> constexpr Kernels<F> make_kernels() {
    using V = typename F::Value;
    Kernels<F> kernels{scan<F>, scan_two_brackets<F>, scan_and_mark<F>, count_pivot<F>, mark_candidates<V>, write<F>,
                       write_marked<V>, select_small<V>, scan_small<V>, variance_of_runs<V>, count_first_pass<F>,
                       // The first pass is enough for losses of two bytes.
                       [] {
                           if constexpr (F::width > bin_bits) {
                               return count_pass<F>;
                           } else {
                               return nullptr;
                           }
                       }(),
                       checksum<F>, nullptr, nullptr, nullptr};
    if constexpr (Lanes<V>::has_look_up) {
        kernels.scan_few_groups = scan_few_groups<F>;
        kernels.count_few_groups = count_few_groups<F>;
        kernels.write_few_groups = write_few_groups<F>;
    }
    return kernels;
}
