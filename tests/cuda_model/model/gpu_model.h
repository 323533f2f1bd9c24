// CUDA's names for g++, implemented on machine.h: csrc/cuda/compat.h includes this file instead of CUDA's header.
//
// A shared variable is a proxy object that checks bounds and uninitialised reads. Its elements are proxies too:
// `const unsigned x = bins[i]` reads an element, while `const auto x = bins[i]` only refers to it.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "machine.h"

// Not inlined and exported, so that dladdr finds its name.
#define __global__ __attribute__((noinline, used, visibility("default")))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define threadIdx (static_cast<const model::Index &>(model::here.thread))
#define blockIdx (static_cast<const model::Index &>(model::here.block))
#define blockDim (static_cast<const model::Index &>(model::here.block_size))
#define gridDim (static_cast<const model::Index &>(model::here.grid_size))

constexpr int warpSize = 32;

// ---- Types.

using uint3 = model::Index;

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
    constexpr dim3(uint3 size) : x(size.x), y(size.y), z(size.z) {}
    constexpr operator uint3() const {
        return {x, y, z};
    }
};

#define RRM_MODEL_VECTORS(T, name)                                                                                     \
    struct alignas(2 * sizeof(T)) name##2 {                                                                            \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) name##4 {                                                      \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    inline name##2 make_##name##2(T x, T y) {                                                                          \
        return {x, y};                                                                                                 \
    }                                                                                                                  \
    inline name##4 make_##name##4(T x, T y, T z, T w) {                                                                \
        return {x, y, z, w};                                                                                           \
    }
RRM_MODEL_VECTORS(unsigned char, uchar)
RRM_MODEL_VECTORS(unsigned short, ushort)
RRM_MODEL_VECTORS(int, int)
RRM_MODEL_VECTORS(unsigned, uint)
RRM_MODEL_VECTORS(long long, longlong)
RRM_MODEL_VECTORS(unsigned long long, ulonglong)
RRM_MODEL_VECTORS(float, float)
RRM_MODEL_VECTORS(double, double)
#undef RRM_MODEL_VECTORS

// ---- Shared memory.

// An object of its own for each place in the source.
#define RRM_MODEL_SITE                                                                                                 \
    ([]() -> const void * {                                                                                            \
        static const char site = 0;                                                                                    \
        return &site;                                                                                                  \
    }())
#define GPU_SHARED(Type, name) const auto name = gpu::shared<Type>(RRM_MODEL_SITE, #name)

namespace gpu {

template <class T> struct Identity {
    using Type = T;
};
template <class T> using Same = typename Identity<T>::Type;

// The shadow of shared memory belongs to the model and is hidden from the race detector.
#ifdef __SANITIZE_THREAD__
#define RRM_MODEL_UNINSTRUMENTED __attribute__((noinline, no_sanitize("thread")))
#else
#define RRM_MODEL_UNINSTRUMENTED inline
#endif

RRM_MODEL_UNINSTRUMENTED static bool is_written(const unsigned char *written) {
    return *written != 0;
}
template <std::size_t size> RRM_MODEL_UNINSTRUMENTED void set_written(unsigned char *written) {
    for (std::size_t i = 0; i < size; ++i) {
        written[i] = 1;
    }
}

template <class U> class CellPointer;

// One number, or one struct, in shared memory.
template <class U> class Cell {
    static_assert(std::is_trivially_copyable_v<U>);

  public:
    using Value = U;

    Cell(unsigned char *bytes, unsigned char *written, const char *name)
        : value_(reinterpret_cast<U *>(bytes)), written_(written), name_(name) {}
    Cell(const Cell &) = default; // refers to the same cell

    [[nodiscard]] U read() const {
        check_written();
        return *value_;
    }
    operator U() const {
        return read();
    }
    U operator=(const U &value) const {
        set_written<sizeof(U)>(written_);
        return *value_ = value;
    }
    const Cell &operator=(const Cell &other) const { // assigns the value, not the reference
        *this = other.read();
        return *this;
    }
    Cell &operator=(const Cell &other) {
        std::as_const(*this) = other.read();
        return *this;
    }

    U operator+=(Same<U> by) const {
        return *this = static_cast<U>(read() + by);
    }
    U operator-=(Same<U> by) const {
        return *this = static_cast<U>(read() - by);
    }
    U operator|=(Same<U> by) const {
        return *this = static_cast<U>(read() | by);
    }
    U operator&=(Same<U> by) const {
        return *this = static_cast<U>(read() & by);
    }
    U operator^=(Same<U> by) const {
        return *this = static_cast<U>(read() ^ by);
    }
    U operator++() const {
        return *this += 1;
    }
    U operator--() const {
        return *this -= 1;
    }
    U operator++(int) const {
        const U before = read();
        *this = static_cast<U>(before + 1);
        return before;
    }
    U operator--(int) const {
        const U before = read();
        *this = static_cast<U>(before - 1);
        return before;
    }

    CellPointer<U> operator&() const {
        return CellPointer<U>(*this);
    }
    // For atomic operations, which also read.
    [[nodiscard]] U *checked_address() const {
        check_written();
        return value_;
    }

  private:
    U *value_;
    unsigned char *written_;
    const char *name_;

    void check_written() const {
        if (!is_written(written_)) [[unlikely]] {
            model::fail("shared %s, or an element of it, is read before anything was written", name_);
        }
    }
};

template <class U> class CellPointer {
  public:
    explicit CellPointer(Cell<U> cell) : cell_(cell) {}
    Cell<U> operator*() const {
        return cell_;
    }

  private:
    Cell<U> cell_;
};

template <class T> class Array;

template <class T> struct Access {
    using Type = Cell<T>;
};
template <class U, std::size_t N> struct Access<U[N]> {
    using Type = Array<U[N]>;
};

template <class U, std::size_t N> class Array<U[N]> {
  public:
    Array(unsigned char *bytes, unsigned char *written, const char *name)
        : bytes_(bytes), written_(written), name_(name) {}

    typename Access<U>::Type operator[](std::int64_t index) const {
        if (static_cast<std::uint64_t>(index) >= N) [[unlikely]] {
            model::fail("shared %s[%lld] is out of bounds: it has %zu elements", name_, static_cast<long long>(index),
                        N);
        }
        const std::size_t offset = static_cast<std::size_t>(index) * sizeof(U);
        return {bytes_ + offset, written_ + offset, name_};
    }

  private:
    unsigned char *bytes_, *written_;
    const char *name_;
};

template <class T> typename Access<T>::Type shared(const void *key, const char *name) {
    const model::Shared memory = model::shared(key, sizeof(T));
    return {memory.bytes, memory.written, name};
}

// ---- Global memory.

inline void count_read(std::size_t bytes) {
#ifdef __SANITIZE_THREAD__
    model::count_read(bytes);
#else
    model::traffic.read += bytes;
#endif
}
inline void count_written(std::size_t bytes) {
#ifdef __SANITIZE_THREAD__
    model::count_written(bytes);
#else
    model::traffic.written += bytes;
#endif
}

template <class T> void check(const T *p, bool write) {
    static_assert(std::has_single_bit(sizeof(T)) && sizeof(T) <= 16, "no single access has this size");
    if (model::memory_registered) [[unlikely]] {
        model::check_memory(p, sizeof(T), write);
    }
    if (reinterpret_cast<std::uintptr_t>(p) % sizeof(T) != 0) [[unlikely]] {
        model::fail("%s %zu bytes at %p, misaligned", write ? "writes" : "reads", sizeof(T),
                    static_cast<const void *>(p));
    }
}

template <class T> __forceinline__ T load(const T *p) {
    check(p, false);
    count_read(sizeof(T));
    return *p;
}
template <class T> __forceinline__ void store(T *p, Same<T> x) {
    check(p, true);
    count_written(sizeof(T));
    *p = x;
}
// In pieces of at most 8 bytes, each read atomically, like CUDA's volatile.
template <class T> T load_fresh(const T *p) {
    static_assert(std::is_trivially_copyable_v<T>);
    using Piece =
        std::conditional_t<sizeof(T) == 1, std::uint8_t,
                           std::conditional_t<sizeof(T) == 2, std::uint16_t,
                                              std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;
    model::maybe_yield();
    check(p, false);
    count_read(sizeof(T));
    std::array<Piece, sizeof(T) / sizeof(Piece)> pieces;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        pieces[i] = __atomic_load_n(reinterpret_cast<const Piece *>(p) + i, __ATOMIC_RELAXED);
        model::atomic_read(reinterpret_cast<const Piece *>(p) + i);
    }
    return std::bit_cast<T>(pieces);
}

// ---- Atomic operations, all relaxed as in CUDA.

template <class T>
concept AtomicNumber = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;

template <class Pointer> struct PointedTo;
template <AtomicNumber T> struct PointedTo<T *> {
    using Type = T;
};
template <AtomicNumber T> struct PointedTo<CellPointer<T>> {
    using Type = T;
};
template <class Pointer> using Pointed = typename PointedTo<Pointer>::Type;

template <class T> T *atomic_address(T *p) {
    check(p, true);
    count_read(sizeof(T));
    count_written(sizeof(T));
    return p;
}
template <class T> T *atomic_address(CellPointer<T> p) {
    return (*p).checked_address();
}

// Replaces *pointer by change(*pointer) and returns the old value. No other thread runs in between.
template <class Pointer, class Change> Pointed<Pointer> atomically(Pointer pointer, Change change) {
    model::maybe_yield();
    Pointed<Pointer> *const p = atomic_address(pointer);
    const Pointed<Pointer> before = __atomic_load_n(p, __ATOMIC_RELAXED);
    __atomic_store_n(p, change(before), __ATOMIC_RELAXED);
    model::atomic_read(p);
    model::atomic_written(p);
    model::maybe_yield();
    return before;
}

} // namespace gpu

template <class Pointer> gpu::Pointed<Pointer> atomicAdd(Pointer p, gpu::Pointed<Pointer> x) {
    using T = gpu::Pointed<Pointer>;
    using Wrapping = std::make_unsigned_t<T>;
    return gpu::atomically(
        p, [x](T before) { return static_cast<T>(static_cast<Wrapping>(before) + static_cast<Wrapping>(x)); });
}
template <class Pointer> gpu::Pointed<Pointer> atomicMin(Pointer p, gpu::Pointed<Pointer> x) {
    return gpu::atomically(p, [x](auto before) { return x < before ? x : before; });
}
template <class Pointer> gpu::Pointed<Pointer> atomicMax(Pointer p, gpu::Pointed<Pointer> x) {
    return gpu::atomically(p, [x](auto before) { return before < x ? x : before; });
}
template <class Pointer> gpu::Pointed<Pointer> atomicOr(Pointer p, gpu::Pointed<Pointer> x) {
    return gpu::atomically(p, [x](auto before) { return before | x; });
}
template <class Pointer> gpu::Pointed<Pointer> atomicAnd(Pointer p, gpu::Pointed<Pointer> x) {
    return gpu::atomically(p, [x](auto before) { return before & x; });
}
template <class Pointer> gpu::Pointed<Pointer> atomicExch(Pointer p, gpu::Pointed<Pointer> x) {
    return gpu::atomically(p, [x](auto) { return x; });
}
template <class Pointer>
gpu::Pointed<Pointer> atomicCAS(Pointer p, gpu::Pointed<Pointer> expected, gpu::Pointed<Pointer> x) {
    return gpu::atomically(p, [expected, x](auto before) { return before == expected ? x : before; });
}

// ---- Barriers and fences.

#define __syncthreads() model::sync_block(RRM_MODEL_SITE)

inline void __syncwarp(unsigned mask = 0xffffffff) {
    model::sync_warp(mask);
}
inline void __threadfence() {
    model::fence();
}
inline void __threadfence_block() {
    model::fence_block();
}

// ---- Warp operations.

inline unsigned __ballot_sync(unsigned mask, int vote) {
    return model::ballot(mask, vote != 0);
}
inline int __any_sync(unsigned mask, int vote) {
    return __ballot_sync(mask, vote) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int vote) {
    return __ballot_sync(mask, vote) == mask ? 1 : 0;
}

namespace gpu {

template <class T> T shuffle(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    return std::bit_cast<T>(static_cast<Bits>(model::shuffle(mask, std::bit_cast<Bits>(value), source)));
}

// The first lane of this lane's segment of `width` lanes; a lane that would read outside its segment gets its own
// value.
inline unsigned segment(int width) {
    const auto size = static_cast<unsigned>(width);
    if (!std::has_single_bit(size) || size > 32) {
        model::fail("a shuffle of width %d", width);
    }
    return model::lane() & ~(size - 1);
}

} // namespace gpu

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
    return gpu::shuffle(mask, value, gpu::segment(width) + (static_cast<unsigned>(source) & unsigned(width - 1)));
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize) {
    const unsigned lane = model::lane();
    return gpu::shuffle(mask, value, lane - gpu::segment(width) >= by ? lane - by : lane);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize) {
    const unsigned lane = model::lane(), rest = gpu::segment(width) + unsigned(width) - 1 - lane;
    return gpu::shuffle(mask, value, by <= rest ? lane + by : lane);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int with, int width = warpSize) {
    const unsigned lane = model::lane(), source = lane ^ static_cast<unsigned>(with);
    return gpu::shuffle(mask, value, source < gpu::segment(width) + unsigned(width) ? source : lane);
}

// ---- Bits.

inline int __popc(unsigned x) {
    return std::popcount(x);
}
inline int __popcll(unsigned long long x) {
    return std::popcount(x);
}
inline int __ffs(int x) {
    return __builtin_ffs(x);
}
inline int __ffsll(long long x) {
    return __builtin_ffsll(x);
}
inline int __clz(int x) {
    return std::countl_zero(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
    return std::countl_zero(static_cast<unsigned long long>(x));
}
inline unsigned __float_as_uint(float x) {
    return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
    return std::bit_cast<float>(x);
}
inline long long __double_as_longlong(double x) {
    return std::bit_cast<long long>(x);
}
inline double __longlong_as_double(long long x) {
    return std::bit_cast<double>(x);
}

// ---- Host functions. All are synchronous.

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9
};
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
using cudaStream_t = struct CUstream_st *;

inline cudaError_t cudaGetLastError() {
    return cudaSuccess; // launch() has returned the error
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void *to, int value, std::size_t size, cudaStream_t = nullptr) {
    model::check_range(to, size, true);
    std::memset(to, value, size);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, std::size_t size, cudaMemcpyKind kind,
                                   cudaStream_t = nullptr) {
    if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) {
        model::check_range(from, size, false);
    }
    if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) {
        model::check_range(to, size, true);
    }
    std::memcpy(to, from, size);
    return cudaSuccess;
}
inline const char *cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    }
    return "unrecognized error code";
}
inline const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    }
    return "unrecognized error code";
}

namespace gpu {

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t, Arguments... arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments));
    if (!model::is_valid_launch(grid, block)) {
        return cudaErrorInvalidConfiguration;
    }
    const void *const address = reinterpret_cast<const void *>(kernel);
    const char *const name = model::kernel_name(address);
    std::tuple<std::remove_cv_t<Parameters>...> parameters(static_cast<Parameters>(arguments)...);
    if (model::Translated *const translated = model::translated(address)) {
        auto pointers = std::apply(
            [](auto &...each) { return std::array<void *, sizeof...(Parameters)>{static_cast<void *>(&each)...}; },
            parameters);
        model::run(name, grid, block, 0, [&] { translated(pointers.data()); });
    } else {
        model::run(name, grid, block, 0, [&] { std::apply(kernel, parameters); });
    }
    return cudaSuccess;
}

} // namespace gpu
