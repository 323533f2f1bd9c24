// Arrays in 16-byte vectors, the widest that a thread can load at once.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "gpu.h"
#include "state.h"

namespace rrm::cuda {

template <class T, int N> struct Pack {
    T at[N];
};

template <class T> constexpr int per_vector = 16 / static_cast<int>(sizeof(T));

// N neighbours, as 16-byte vectors where their address allows that.
template <class T, int N> __device__ __forceinline__ Pack<T, N> load_pack(const T *from, bool aligned) {
    Pack<T, N> pack;
    if (aligned) {
        GPU_UNROLL for (int i = 0; i < N / per_vector<T>; ++i) {
            const auto vector =
                std::bit_cast<Pack<T, per_vector<T>>>(gpu::load(reinterpret_cast<const uint4 *>(from) + i));
            GPU_UNROLL for (int j = 0; j < per_vector<T>; ++j) {
                pack.at[i * per_vector<T> + j] = vector.at[j];
            }
        }
    } else {
        GPU_UNROLL for (int j = 0; j < N; ++j) {
            pack.at[j] = gpu::load(from + j);
        }
    }
    return pack;
}

template <class T, int N> __device__ __forceinline__ void store_pack(T *to, const Pack<T, N> &pack, bool aligned) {
    if (aligned) {
        GPU_UNROLL for (int i = 0; i < N / per_vector<T>; ++i) {
            Pack<T, per_vector<T>> vector;
            GPU_UNROLL for (int j = 0; j < per_vector<T>; ++j) {
                vector.at[j] = pack.at[i * per_vector<T> + j];
            }
            gpu::store(reinterpret_cast<uint4 *>(to) + i, std::bit_cast<uint4>(vector));
        }
    } else {
        GPU_UNROLL for (int j = 0; j < N; ++j) {
            gpu::store(to + j, pack.at[j]);
        }
    }
}

// Whether the element `lead` before this one starts a vector.
template <class T> RRM_HD bool is_aligned(const T *array, int lead) {
    return (reinterpret_cast<std::uintptr_t>(array) - static_cast<unsigned>(lead) * sizeof(T)) % 16 == 0;
}

// An array of n numbers that starts anywhere, as vectors of aligned memory. The first and the last may reach beyond
// the array: what isn't there is all ones, a NaN as bits and above every number as a key.
template <class Bits> class Vectors {
  public:
    static constexpr int width = per_vector<Bits>;
    using Vector = Pack<Bits, width>;

    RRM_HD Vectors(const Bits *array, std::int64_t n)
        : array(array), n(n), lead(static_cast<int>(reinterpret_cast<std::uintptr_t>(array) % 16 / sizeof(Bits))),
          count((n + lead + width - 1) / width) {}

    // Index of the vector's first element in the array; may be negative.
    [[nodiscard]] RRM_HD std::int64_t first(std::int64_t vector) const {
        return vector * width - lead;
    }

    [[nodiscard]] RRM_HD bool whole(std::int64_t vector) const {
        return first(vector) >= 0 && first(vector) + width <= n;
    }

    [[nodiscard]] RRM_HD bool has(std::int64_t index) const {
        return index >= 0 && index < n;
    }

    __device__ Vector load(std::int64_t vector) const {
        const std::int64_t begin = first(vector);
        if (whole(vector)) {
            return load_pack<Bits, width>(array + begin, true);
        }
        Vector part;
        GPU_UNROLL for (int j = 0; j < width; ++j) {
            part.at[j] = has(begin + j) ? gpu::load(array + begin + j) : std::numeric_limits<Bits>::max();
        }
        return part;
    }

  private:
    const Bits *array;

  public:
    std::int64_t n;
    int lead; // elements by which the array starts late in its first vector
    std::int64_t count;
};

// Blocks take turns with tiles of blockDim.x * in_flight vectors. Calls f(loaded, vector) equally often in all threads
// of a block, where vector(i) is the number of loaded[i]; neighbouring threads load neighbours.
template <class Bits, class Function>
__device__ __forceinline__ void for_each_tile(const Vectors<Bits> &vectors, Function f) {
    const std::int64_t tile = std::int64_t{in_flight<Bits>} * blockDim.x;
    for (std::int64_t begin = blockIdx.x * tile; begin < vectors.count; begin += gridDim.x * tile) {
        const auto vector = [&](int i) { return begin + std::int64_t{i} * blockDim.x + threadIdx.x; };
        typename Vectors<Bits>::Vector loaded[in_flight<Bits>];
        GPU_UNROLL for (int i = 0; i < in_flight<Bits>; ++i) {
            loaded[i] = vectors.load(vector(i));
        }
        f(loaded, vector);
    }
}

} // namespace rrm::cuda
