// Reads the address and the device of the memory in a DLPack capsule. The layout is that of the unversioned capsule,
// https://dmlc.github.io/dlpack, which every producer returns to a consumer that does not request a version.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>

namespace rrm {

struct DLTensor {
    void *data;
    std::int32_t device_type, device_id;
    std::int32_t ndim;
    std::uint8_t code, bits;
    std::uint16_t lanes;
    std::int64_t *shape, *strides; // strides in elements; null if contiguous
    std::uint64_t byte_offset;
};

// Returns the address, the device, and the stride in elements of a one-dimensional tensor in CUDA memory. The capsule
// is not consumed: it owns the memory for as long as Python keeps a reference to it.
inline pybind11::tuple read_capsule(const pybind11::capsule &capsule) {
    constexpr std::int32_t cuda = 2, cuda_managed = 13;
    const auto *tensor = static_cast<const DLTensor *>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (tensor == nullptr) {
        throw pybind11::error_already_set();
    }
    if (tensor->device_type != cuda && tensor->device_type != cuda_managed) {
        throw std::invalid_argument("its DLPack device type is " + std::to_string(tensor->device_type) + ", not CUDA");
    }
    const auto address = reinterpret_cast<std::uintptr_t>(tensor->data) + tensor->byte_offset;
    const std::int64_t stride = tensor->strides == nullptr || tensor->ndim == 0 ? 1 : tensor->strides[0];
    return pybind11::make_tuple(address, tensor->device_id, stride);
}

} // namespace rrm
