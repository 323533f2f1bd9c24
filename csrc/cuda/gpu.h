// What the kernels use of CUDA, in one spelling for nvcc and for the model of CUDA's execution in tests/cuda_model,
// which runs the same kernels on a CPU. Nothing else here includes a CUDA header.
//
// Beside CUDA's own names (threadIdx, __syncthreads, __ballot_sync, __shfl_*_sync, atomicAdd, ...):
//
//     GPU_SHARED(unsigned[256], bins);   shared memory of the block; the model checks bounds and reads before writes
//     gpu::load(p), gpu::store(p, x)     global memory, 1 to 16 bytes at p's natural alignment; the model counts bytes
//     gpu::load_fresh(p)                 the same for what another block of this launch has written
//     GPU_UNROLL for (...)               for loops over arrays that must lie in registers
//     gpu::launch(kernel, grid, block, stream, arguments...)
#pragma once

#ifdef RRM_GPU_MODEL
#include "gpu_model.h"
#define GPU_UNROLL
#else
#include <cuda_runtime.h>
#define GPU_UNROLL _Pragma("unroll")

// An array type can't stand before its name, but an alias of it can.
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
        __stwb(p, x); // a plain one nvcc would split, to share code with narrower ones
    } else {
        *p = x;
    }
}
template <class T> __device__ __forceinline__ T load_fresh(const T *p) {
    return *static_cast<const volatile T *>(p); // not from this processor's first-level cache
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream, Arguments... arguments) {
    kernel<<<grid, block, 0, stream>>>(static_cast<Parameters>(arguments)...);
    return cudaGetLastError();
}

} // namespace gpu
#endif
