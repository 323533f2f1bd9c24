// rrm_core._cuda: bindings of the CUDA kernels, over addresses of device memory, lengths and streams. Python has
// checked every argument and owns every array. Only read_outcome, count_foreign, apply if it reads old weights,
// synchronize, and the functions for groups (cuda_groups.cpp) wait for the device.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>
#include <utility>

#include "../csrc/cuda/reweight.h"
#include "convert.h"
#include "cuda_device.h"
#include "cuda_groups.h"
#include "cuda_training.h"
#include "dlpack.h"
#include "gil.h"

namespace py = pybind11;

namespace {

using rrm::Address;
using rrm::check;
using rrm::copy_to_host;
using rrm::current_tuning;
using rrm::describe;
using rrm::DeviceGuard;
using rrm::launch_config;
using rrm::pointer;

constexpr int min_capability = 75; // 7.5 times ten: the lowest for which the kernels are compiled

// The number of devices; if it is 0, also the reason why none is usable.
std::pair<int, std::string> device_count() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        cudaGetLastError();
        return {0, describe(error)};
    }
    for (int device = 0; device < count; ++device) {
        int major = 0, minor = 0;
        check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
        check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
        if (10 * major + minor < min_capability) {
            return {0, "device " + std::to_string(device) + " has compute capability " + std::to_string(major) + "." +
                           std::to_string(minor) + ", and 7.5 is needed; hide it with CUDA_VISIBLE_DEVICES"};
        }
    }
    return {count, count == 0 ? "no device is visible" : ""};
}

// The device that owns the memory, or for which managed memory was allocated; -1 for host memory.
int memory_device(Address address) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, pointer<void>(address)));
    const bool on_device = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    return on_device ? attributes.device : -1;
}

std::size_t workspace_bytes(int format, std::int64_t n, const rrm::Rule &rule, int device) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        return rrm::cuda::workspace_bytes<F>(n, rule, launch_config<F>(n, device));
    });
}

void reweight(Address losses, int format, std::int64_t n, const rrm::Rule &rule, double mu, Address old, Address out,
              bool out_is_new, Address outcome, Address workspace, int device, Address stream) {
    const rrm::GilRelease released; // a launch blocks if the queue is full
    const DeviceGuard guard(device);
    check(rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const rrm::cuda::Weights<F> weights{pointer<const typename F::Weight>(old), pointer<typename F::Weight>(out),
                                            mu, out_is_new};
        return rrm::cuda::reweight<F>(pointer<const typename F::Bits>(losses), n, rule, weights,
                                      pointer<rrm::cuda::Outcome>(outcome), pointer<void>(workspace),
                                      launch_config<F>(n, device), pointer<CUstream_st>(stream));
    }));
}

py::tuple read_outcome(Address outcome, std::int64_t n, bool prune_nan, int device, Address stream) {
    const auto result = copy_to_host<rrm::cuda::Outcome>(outcome, device, stream);
    return rrm::outcome_to_python(result.faults, result.plan, result.invalid_weights, n, prune_nan);
}

// Waits for the device if old weights are read, and returns the invalid ones.
py::object apply(Address losses, int format, std::int64_t n, double threshold, double recipient_threshold,
                 const rrm::LevelsTuple &levels, double mu, Address old, Address out, bool out_is_new, Address outcome,
                 int device, Address stream) {
    rrm::Plan plan{};
    plan.threshold = threshold;
    plan.recipient_threshold = recipient_threshold;
    plan.levels = rrm::levels_from_tuple(levels);
    {
        const rrm::GilRelease released; // a launch blocks if the queue is full
        const DeviceGuard guard(device);
        check(rrm::with_format(format, [&](auto f) {
            using F = decltype(f);
            const rrm::cuda::Weights<F> weights{pointer<const typename F::Weight>(old),
                                                pointer<typename F::Weight>(out), mu, out_is_new};
            return rrm::cuda::apply<F>(pointer<const typename F::Bits>(losses), n, plan, weights,
                                       pointer<rrm::cuda::ApplyOutcome>(outcome), launch_config<F>(n, device),
                                       pointer<CUstream_st>(stream));
        }));
    }
    if (outcome == 0) {
        return py::none();
    }
    return rrm::invalid_weights_to_python(
        copy_to_host<rrm::cuda::ApplyOutcome>(outcome, device, stream).invalid_weights);
}

std::int64_t count_foreign(Address losses, int format, std::int64_t n, double loss_min, bool allow_nan, Address counter,
                           int device, Address stream) {
    {
        const rrm::GilRelease released;
        const DeviceGuard guard(device);
        check(rrm::with_format(format, [&](auto f) {
            using F = decltype(f);
            return rrm::cuda::count_foreign<F>(pointer<const typename F::Bits>(losses), n, loss_min, allow_nan,
                                               pointer<rrm::cuda::Count>(counter), launch_config<F>(n, device),
                                               pointer<CUstream_st>(stream));
        }));
    }
    return copy_to_host<std::int64_t>(counter, device, stream);
}

// Makes later work on `stream` wait for the work enqueued on `producer` so far.
void order_after(Address stream, Address producer, int device) {
    const DeviceGuard guard(device);
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    int error = cudaEventRecord(event, pointer<CUstream_st>(producer));
    if (error == cudaSuccess) {
        error = cudaStreamWaitEvent(pointer<CUstream_st>(stream), event, 0);
    }
    cudaEventDestroy(event);
    check(error);
}

void synchronize(int device, Address stream) {
    const rrm::GilRelease released;
    const DeviceGuard guard(device);
    check(cudaStreamSynchronize(pointer<CUstream_st>(stream)));
}

std::map<std::string, std::int64_t> tuning() {
    return {{"threads", current_tuning.threads},         {"blocks_per_processor", current_tuning.blocks_per_processor},
            {"sample_size", current_tuning.sample_size}, {"chunk", current_tuning.chunk},
            {"extra_slots", current_tuning.extra_slots}, {"sort_digit_bits", current_tuning.sort_digit_bits}};
}

void tune(const std::map<std::string, std::int64_t> &values) {
    current_tuning = {static_cast<int>(values.at("threads")),
                      static_cast<int>(values.at("blocks_per_processor")),
                      static_cast<int>(values.at("sample_size")),
                      static_cast<int>(values.at("chunk")),
                      values.at("extra_slots"),
                      static_cast<int>(values.at("sort_digit_bits"))};
}

} // namespace

PYBIND11_MODULE(_cuda, m) {
    m.attr("INTERFACE") = RRM_INTERFACE;
    rrm::bind_rule(m);
    rrm::bind_groups(m);
    rrm::bind_training(m);
    m.attr("OUTCOME_BYTES") = sizeof(rrm::cuda::Outcome);
    m.attr("APPLY_OUTCOME_BYTES") = sizeof(rrm::cuda::ApplyOutcome);
    m.def("device_count", &device_count);
    m.def("memory_device", &memory_device);
    m.def("workspace_bytes", &workspace_bytes);
    m.def("reweight", &reweight);
    m.def("read_outcome", &read_outcome);
    m.def("apply", &apply);
    m.def("count_foreign", &count_foreign);
    m.def("order_after", &order_after);
    m.def("synchronize", &synchronize);
    m.def("read_capsule", &rrm::read_capsule);
    m.def("tuning", &tuning);
    m.def("tune", &tune);
}
