// What the bindings of the CUDA kernels share: addresses, errors, the current device, copies.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "../csrc/cuda/reweight.h"
#include "gil.h"

namespace rrm {

using Address = std::uintptr_t;

// Tests change it.
inline cuda::Tuning current_tuning; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

inline std::string describe(int error) {
    const auto e = static_cast<cudaError_t>(error);
    return std::string(cudaGetErrorName(e)) + ": " + cudaGetErrorString(e);
}

inline void check(int error) {
    if (error != cudaSuccess) {
        cudaGetLastError(); // clears the error, which a later call would report again
        throw std::runtime_error("CUDA failed with " + describe(error));
    }
}

// Makes a device the current one for the lifetime of the guard.
class DeviceGuard {
  public:
    explicit DeviceGuard(int device) {
        check(cudaGetDevice(&previous));
        if (device != previous) {
            check(cudaSetDevice(device));
            changed = true;
        }
    }
    DeviceGuard(const DeviceGuard &) = delete;
    DeviceGuard(DeviceGuard &&) = delete;
    DeviceGuard &operator=(const DeviceGuard &) = delete;
    DeviceGuard &operator=(DeviceGuard &&) = delete;
    ~DeviceGuard() {
        if (changed) {
            cudaSetDevice(previous);
        }
    }

  private:
    int previous = 0;
    bool changed = false;
};

template <class F> cuda::LaunchConfig launch_config(std::int64_t n, int index) {
    cuda::Device device{};
    check(cudaDeviceGetAttribute(&device.processors, cudaDevAttrMultiProcessorCount, index));
    return cuda::make_launch_config<F>(n, device, current_tuning);
}

template <class T> T *pointer(Address address) {
    return reinterpret_cast<T *>(address); // NOLINT(performance-no-int-to-ptr): Python passes addresses as integers
}

// Copies a value from the device in stream order, and waits for it.
template <class T> T copy_to_host(Address address, int device, Address stream) {
    T value{};
    const rrm::GilRelease released;
    const DeviceGuard guard(device);
    check(cudaMemcpyAsync(&value, pointer<void>(address), sizeof value, cudaMemcpyDeviceToHost,
                          pointer<CUstream_st>(stream)));
    check(cudaStreamSynchronize(pointer<CUstream_st>(stream)));
    return value;
}

} // namespace rrm
