// Two selections by comparison, written from their descriptions. Afterwards values[k] is the k-th smallest of n values,
// counted from 0; none before it is larger, and none after it is smaller.
//
// Floyd-Rivest: R. W. Floyd and R. L. Rivest, "Algorithm 489: the algorithm SELECT", Communications of the ACM 18
// (1975). pdqselect: the partitions of O. R. L. Peters, "Pattern-defeating quicksort" (2021), continued on one side
// only.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <utility>

namespace bench {

using Size = std::ptrdiff_t;

namespace floyd_rivest {

constexpr Size sampling_size = 600; // of the published program: values from which on a sample is selected first

// Reduces values[left..right], both included, to those that may be values[k].
inline void select(float *values, Size left, Size right, Size k) {
    while (right > left) {
        if (right - left > sampling_size) {
            const auto n = static_cast<double>(right - left + 1), i = static_cast<double>(k - left + 1);
            const double z = std::log(n), s = 0.5 * std::exp(2 * z / 3);
            const double deviation = 0.5 * std::sqrt(z * s * (n - s) / n) * (i < n / 2 ? -1 : 1);
            const auto low = static_cast<Size>(static_cast<double>(k) - i * s / n + deviation);
            const auto high = static_cast<Size>(static_cast<double>(k) + (n - i) * s / n + deviation);
            select(values, std::max(left, low), std::min(right, high), k);
        }
        const float pivot = values[k];
        Size i = left, j = right;
        std::swap(values[left], values[k]);
        const bool pivot_is_left = !(values[right] > pivot);
        if (!pivot_is_left) {
            std::swap(values[left], values[right]);
        }
        while (i < j) {
            std::swap(values[i++], values[j--]);
            while (values[i] < pivot) {
                ++i;
            }
            while (values[j] > pivot) {
                --j;
            }
        }
        if (values[left] == pivot) {
            std::swap(values[left], values[j]);
        } else {
            std::swap(values[++j], values[right]);
        }
        left = j <= k ? j + 1 : left;
        right = k <= j ? j - 1 : right;
    }
}

} // namespace floyd_rivest

namespace pdq {

constexpr Size insertion_size = 24, ninther_size = 128, block_size = 64;
constexpr int max_moves = 8; // of an insertion sort that expects sorted values

inline void sort3(float *a, float *b, float *c) {
    const auto order = [](float &x, float &y) {
        const float low = y < x ? y : x, high = y < x ? x : y;
        x = low;
        y = high;
    };
    order(*a, *b);
    order(*b, *c);
    order(*a, *b);
}

inline void choose_pivot(float *begin, float *end) {
    const Size middle = (end - begin) / 2;
    if (end - begin <= ninther_size) {
        sort3(begin + middle, begin, end - 1);
        return;
    }
    sort3(begin, begin + middle, end - 1);
    sort3(begin + 1, begin + middle - 1, end - 2);
    sort3(begin + 2, begin + middle + 1, end - 3);
    sort3(begin + middle - 1, begin + middle, begin + middle + 1);
    std::swap(*begin, begin[middle]);
}

// Sorts by insertion; stops and returns false if that takes more moves.
inline bool insertion_sort(float *begin, float *end, Size moves) {
    for (float *current = begin + (begin < end); current < end; ++current) {
        const float value = *current;
        float *place = current;
        for (; place > begin && value < place[-1]; --place) {
            *place = place[-1];
        }
        *place = value;
        moves -= current - place;
        if (moves < 0) {
            return false;
        }
    }
    return true;
}

// Moves values below the pivot to the front of [first, last), by blocks of offsets, without branches on comparisons.
// Returns the end of the front.
inline float *partition_blocks(float *first, float *last, float pivot) {
    std::array<unsigned char, block_size> left{}, right{};
    Size n_left = 0, n_right = 0, at_left = 0, at_right = 0;
    while (last - first > 2 * block_size) {
        if (n_left == 0) {
            at_left = 0;
            for (Size i = 0; i < block_size; ++i) {
                left[n_left] = static_cast<unsigned char>(i);
                n_left += !(first[i] < pivot);
            }
        }
        if (n_right == 0) {
            at_right = 0;
            for (Size i = 0; i < block_size; ++i) {
                right[n_right] = static_cast<unsigned char>(i);
                n_right += last[-1 - i] < pivot;
            }
        }
        const Size n = std::min(n_left, n_right);
        if (n > 0) { // a cyclic permutation moves each value once
            float *to = first + left[at_left];
            const float moved_last = *to;
            for (Size i = 0; i < n; ++i) {
                float *const from = last - 1 - right[at_right + i];
                *to = *from;
                if (i + 1 == n) {
                    *from = moved_last;
                } else {
                    to = first + left[at_left + i + 1];
                    *from = *to;
                }
            }
        }
        n_left -= n;
        n_right -= n;
        at_left += n;
        at_right += n;
        first += n_left == 0 ? block_size : 0;
        last -= n_right == 0 ? block_size : 0;
    }
    return std::partition(first, last, [pivot](float value) { return value < pivot; });
}

// Partitions around *begin. Returns where the pivot lies afterwards, and whether the values lay so before.
inline std::pair<float *, bool> partition_right(float *begin, float *end) {
    const float pivot = *begin;
    float *first = begin + 1, *last = end;
    while (first < last && *first < pivot) {
        ++first;
    }
    while (first < last && !(last[-1] < pivot)) {
        --last;
    }
    const bool partitioned = first >= last;
    float *const place = partition_blocks(first, last, pivot) - 1;
    *begin = *place;
    *place = pivot;
    return {place, partitioned};
}

// Where no value is below *begin: moves the values equal to it to the front. Returns the end of the front.
inline float *partition_left(float *begin, float *end) {
    return std::partition(begin, end, [pivot = *begin](float value) { return !(pivot < value); });
}

// Breaks a pattern of values whose partition was uneven.
inline void shuffle(float *begin, float *end) {
    const Size n = end - begin, quarter = n / 4;
    if (n < insertion_size) {
        return;
    }
    const Size swaps = n > ninther_size ? 3 : 1;
    for (Size i = 0; i < swaps; ++i) {
        std::swap(begin[i], begin[quarter + i]);
        std::swap(end[-1 - i], end[-quarter - i]);
    }
}

inline void select(float *begin, float *end, float *k) {
    int uneven_left = std::bit_width(static_cast<std::size_t>(end - begin));
    bool leftmost = true;
    while (end - begin >= insertion_size) {
        const Size n = end - begin;
        choose_pivot(begin, end);
        if (!leftmost && !(begin[-1] < *begin)) {
            begin = partition_left(begin, end);
            if (k < begin) {
                return;
            }
            continue;
        }
        const auto [pivot, partitioned] = partition_right(begin, end);
        if (pivot - begin < n / 8 || end - pivot - 1 < n / 8) {
            if (--uneven_left == 0) {
                std::partial_sort(begin, k + 1, end);
                return;
            }
            shuffle(begin, pivot);
            shuffle(pivot + 1, end);
        } else if (partitioned && insertion_sort(begin, pivot, max_moves) &&
                   insertion_sort(pivot + 1, end, max_moves)) {
            return;
        }
        if (k == pivot) {
            return;
        }
        leftmost = leftmost && k < pivot;
        (k < pivot ? end : begin) = k < pivot ? pivot : pivot + 1;
    }
    insertion_sort(begin, end, insertion_size * insertion_size);
}

} // namespace pdq

} // namespace bench
