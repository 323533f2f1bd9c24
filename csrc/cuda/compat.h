// The CUDA features that the kernels use, with one spelling for nvcc and for the execution model in tests/cuda_model,
// which runs the same kernels on a CPU. No other header here includes a CUDA header.
//
// Besides CUDA's own names (threadIdx, __syncthreads, __ballot_sync, __shfl_*_sync, atomicAdd, ...):
//
//     GPU_SHARED(unsigned[256], bins);   shared memory of the block; the model detects out-of-bounds and
//                                        uninitialised accesses
//     gpu::load(p), gpu::store(p, x)     global memory, 1 to 16 bytes, naturally aligned; the model counts bytes
//     gpu::load_fresh(p)                 load of a value written by another block of the same launch
//     GPU_UNROLL for (...)               loops over arrays that must stay in registers
//     gpu::launch(kernel, grid, block, stream, arguments...)
#pragma once

#ifdef RRM_GPU_MODEL
#include "model/gpu_model.h"
#define GPU_UNROLL
#else
#include <cuda_runtime.h>
#define GPU_UNROLL _Pragma("unroll")

// `unsigned[256] name` is not valid C++; an alias of the array type before the name is.
#define GPU_SHARED(Type, name) __shared__ gpu::Same<Type> name

namespace gpu {

template <class T> struct Identity {
    using Type = T;
};
template <class T> using Same = typename Identity<T>::Type;

template <class T> __device__ __forceinline__ T load(const T *p) {
    return *p;
}
template <class T> __device__ __forceinline__ void store(T *p, Same<T> x) {
    if constexpr (sizeof(T) == 16) {
        __stwb(p, x); // nvcc splits a plain 16-byte store to share code with the narrower ones
    } else {
        *p = x;
    }
}
template <class T> __device__ __forceinline__ T load_fresh(const T *p) {
    return *static_cast<const volatile T *>(p); // volatile: bypasses the L1 cache
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, Arguments... arguments) {
    kernel<<<grid, block, 0, stream>>>(static_cast<Parameters>(arguments)...);
    return cudaGetLastError();
}

} // namespace gpu
#endif
