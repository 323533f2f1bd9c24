// Vectorised loads and stores: 16 bytes, the widest access of a thread.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "compat.h"
#include "state.h"

namespace rrm::cuda {

template <class T, int N> struct Vec {
    T at[N];
};

template <class T> constexpr int vec_size = 16 / static_cast<int>(sizeof(T));

// N consecutive elements, in 16-byte loads if `aligned`.
template <class T, int N> __device__ __forceinline__ Vec<T, N> load_vec(const T *from, bool aligned) {
    Vec<T, N> vec;
    if (aligned) {
        GPU_UNROLL for (int i = 0; i < N / vec_size<T>; ++i) {
            const auto vector =
                std::bit_cast<Vec<T, vec_size<T>>>(gpu::load(reinterpret_cast<const uint4 *>(from) + i));
            GPU_UNROLL for (int j = 0; j < vec_size<T>; ++j) {
                vec.at[i * vec_size<T> + j] = vector.at[j];
            }
        }
    } else {
        GPU_UNROLL for (int j = 0; j < N; ++j) {
            vec.at[j] = gpu::load(from + j);
        }
    }
    return vec;
}

template <class T, int N> __device__ __forceinline__ void store_vec(T *to, const Vec<T, N> &vec, bool aligned) {
    if (aligned) {
        GPU_UNROLL for (int i = 0; i < N / vec_size<T>; ++i) {
            Vec<T, vec_size<T>> vector;
            GPU_UNROLL for (int j = 0; j < vec_size<T>; ++j) {
                vector.at[j] = vec.at[i * vec_size<T> + j];
            }
            gpu::store(reinterpret_cast<uint4 *>(to) + i, std::bit_cast<uint4>(vector));
        }
    } else {
        GPU_UNROLL for (int j = 0; j < N; ++j) {
            gpu::store(to + j, vec.at[j]);
        }
    }
}

// True if the address of the element `lead` before array[0] is a multiple of 16.
template <class T> RRM_HD bool is_aligned(const T *array, int lead) {
    return (reinterpret_cast<std::uintptr_t>(array) - static_cast<unsigned>(lead) * sizeof(T)) % 16 == 0;
}

// An array of n elements at any address as 16-byte vectors of aligned memory. The first and the last vector may be
// partial: missing elements are all ones, which is NaN as a loss and greater than the key of every number.
template <class Bits> class VecArray {
  public:
    static constexpr int width = vec_size<Bits>;
    using Vector = Vec<Bits, width>;

    RRM_HD VecArray(const Bits *array, std::int64_t n)
        : array(array), n(n), lead(static_cast<int>(reinterpret_cast<std::uintptr_t>(array) % 16 / sizeof(Bits))),
          n_vectors((n + lead + width - 1) / width) {}

    // Index in the array of the vector's first element; may be negative.
    [[nodiscard]] RRM_HD std::int64_t first_index(std::int64_t vector) const {
        return vector * width - lead;
    }

    [[nodiscard]] RRM_HD bool is_full(std::int64_t vector) const {
        return first_index(vector) >= 0 && first_index(vector) + width <= n;
    }

    [[nodiscard]] RRM_HD bool contains(std::int64_t index) const {
        return index >= 0 && index < n;
    }

    __device__ Vector load(std::int64_t vector) const {
        const std::int64_t begin = first_index(vector);
        if (is_full(vector)) {
            return load_vec<Bits, width>(array + begin, true);
        }
        Vector partial;
        GPU_UNROLL for (int j = 0; j < width; ++j) {
            partial.at[j] = contains(begin + j) ? gpu::load(array + begin + j) : std::numeric_limits<Bits>::max();
        }
        return partial;
    }

  private:
    const Bits *array;

  public:
    std::int64_t n;
    int lead; // elements of the first vector before the array
    std::int64_t n_vectors;
};

// Grid-stride loop over tiles of blockDim.x * loads_in_flight vectors. Calls f(loaded, vector) equally often in all
// threads of a block; loaded[i] is the vector number vector(i), and adjacent threads load adjacent vectors.
template <class Bits, class Function>
__device__ __forceinline__ void for_each_tile(const VecArray<Bits> &vectors, Function f) {
    const std::int64_t tile = std::int64_t{loads_in_flight<Bits>} * blockDim.x;
    for (std::int64_t begin = blockIdx.x * tile; begin < vectors.n_vectors; begin += gridDim.x * tile) {
        const auto vector = [&](int i) { return begin + std::int64_t{i} * blockDim.x + threadIdx.x; };
        typename VecArray<Bits>::Vector loaded[loads_in_flight<Bits>];
        GPU_UNROLL for (int i = 0; i < loads_in_flight<Bits>; ++i) {
            loaded[i] = vectors.load(vector(i));
        }
        f(loaded, vector);
    }
}

} // namespace rrm::cuda
