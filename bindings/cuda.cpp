// rrm_core._cuda: addresses of device memory, lengths, streams. Python has checked every argument and owns every array;
// what is missing here (a driver, a device) is told as text. Nothing waits for the device but read_outcome and
// count_foreign.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "../csrc/cuda/reweight.h"
#include "convert.h"
#include "dlpack.h"

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;

rrm::cuda::Tuning tuning_now; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): for tests

std::string describe(int error) {
    const auto e = static_cast<cudaError_t>(error);
    return std::string(cudaGetErrorName(e)) + ": " + cudaGetErrorString(e);
}

void check(int error) {
    if (error != cudaSuccess) {
        cudaGetLastError(); // so that it isn't reported again
        throw std::runtime_error("CUDA failed with " + describe(error));
    }
}

// Makes a device the current one as long as it lives.
class Current {
  public:
    explicit Current(int device) {
        check(cudaGetDevice(&before));
        if (device != before) {
            check(cudaSetDevice(device));
            changed = true;
        }
    }
    Current(const Current &) = delete;
    Current(Current &&) = delete;
    Current &operator=(const Current &) = delete;
    Current &operator=(Current &&) = delete;
    ~Current() {
        if (changed) {
            cudaSetDevice(before);
        }
    }

  private:
    int before = 0;
    bool changed = false;
};

rrm::cuda::Device device_of(int index) {
    rrm::cuda::Device device{};
    check(cudaDeviceGetAttribute(&device.processors, cudaDevAttrMultiProcessorCount, index));
    return device;
}

template <class T> T *pointer(Address address) {
    return reinterpret_cast<T *>(address); // NOLINT(performance-no-int-to-ptr): Python knows memory by its address
}

constexpr int least_capability = 75; // times ten: what the kernels are compiled for

// How many devices there are, and why there is none that can be used.
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
        if (10 * major + minor < least_capability) {
            return {0, "device " + std::to_string(device) + " has compute capability " + std::to_string(major) + "." +
                           std::to_string(minor) + ", and 7.5 is needed; hide it with CUDA_VISIBLE_DEVICES"};
        }
    }
    return {count, count == 0 ? "no device is visible" : ""};
}

// The device whose memory this is, or for which managed memory was allocated; -1: none, it is the host's.
int memory_device(Address address) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, pointer<void>(address)));
    const bool on_device = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    return on_device ? attributes.device : -1;
}

std::size_t workspace_bytes(int format, std::int64_t n, const rrm::Rule &rule, int device) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        return rrm::cuda::workspace_bytes<F>(n, rule, rrm::cuda::shape_for<F>(n, device_of(device), tuning_now));
    });
}

void reweight(Address losses, int format, std::int64_t n, const rrm::Rule &rule, double mu, Address old, Address out,
              bool fresh, Address outcome, Address workspace, int device, Address stream) {
    const py::gil_scoped_release released; // a full queue makes launches wait
    const Current current(device);
    check(rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const rrm::cuda::Weights<F> weights{pointer<const typename F::Weight>(old), pointer<typename F::Weight>(out),
                                            mu, fresh};
        return rrm::cuda::reweight<F>(pointer<const typename F::Bits>(losses), n, rule, weights,
                                      pointer<rrm::cuda::Outcome>(outcome), pointer<void>(workspace),
                                      rrm::cuda::shape_for<F>(n, device_of(device), tuning_now),
                                      pointer<CUstream_st>(stream));
    }));
}

// Copies from the device when the stream has come this far.
template <class T> T fetch(Address address, int device, Address stream) {
    T value{};
    const py::gil_scoped_release released;
    const Current current(device);
    check(cudaMemcpyAsync(&value, pointer<void>(address), sizeof value, cudaMemcpyDeviceToHost,
                          pointer<CUstream_st>(stream)));
    check(cudaStreamSynchronize(pointer<CUstream_st>(stream)));
    return value;
}

py::tuple read_outcome(Address outcome, std::int64_t n, bool prune_nan, int device, Address stream) {
    const auto found = fetch<rrm::cuda::Outcome>(outcome, device, stream);
    return rrm::outcome_to_python(found.faults, found.plan, n, prune_nan);
}

void apply(Address losses, int format, std::int64_t n, double threshold, double recipient_threshold,
           const rrm::LevelsTuple &levels, double mu, Address old, Address out, int device, Address stream) {
    rrm::Plan plan{};
    plan.threshold = threshold;
    plan.recipient_threshold = recipient_threshold;
    plan.levels = rrm::levels_from_tuple(levels);
    const py::gil_scoped_release released; // a full queue makes launches wait
    const Current current(device);
    check(rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const rrm::cuda::Weights<F> weights{pointer<const typename F::Weight>(old), pointer<typename F::Weight>(out),
                                            mu, false};
        return rrm::cuda::apply<F>(pointer<const typename F::Bits>(losses), n, plan, weights,
                                   rrm::cuda::shape_for<F>(n, device_of(device), tuning_now),
                                   pointer<CUstream_st>(stream));
    }));
}

std::int64_t count_foreign(Address losses, int format, std::int64_t n, double loss_min, bool allow_nan, Address counter,
                           int device, Address stream) {
    {
        const py::gil_scoped_release released;
        const Current current(device);
        check(rrm::with_format(format, [&](auto f) {
            using F = decltype(f);
            return rrm::cuda::count_foreign<F>(
                pointer<const typename F::Bits>(losses), n, loss_min, allow_nan, pointer<rrm::cuda::Count>(counter),
                rrm::cuda::shape_for<F>(n, device_of(device), tuning_now), pointer<CUstream_st>(stream));
        }));
    }
    return fetch<std::int64_t>(counter, device, stream);
}

// Lets `stream` wait for what `producer` has been given so far.
void order_after(Address stream, Address producer, int device) {
    const Current current(device);
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
    const py::gil_scoped_release released;
    const Current current(device);
    check(cudaStreamSynchronize(pointer<CUstream_st>(stream)));
}

std::map<std::string, std::int64_t> tuning() {
    return {{"threads", tuning_now.threads},
            {"blocks_per_processor", tuning_now.blocks_per_processor},
            {"drawn", tuning_now.drawn},
            {"chunk", tuning_now.chunk},
            {"room", tuning_now.room}};
}

void tune(const std::map<std::string, std::int64_t> &values) {
    tuning_now = {static_cast<int>(values.at("threads")), static_cast<int>(values.at("blocks_per_processor")),
                  static_cast<int>(values.at("drawn")), static_cast<int>(values.at("chunk")), values.at("room")};
}

} // namespace

PYBIND11_MODULE(_cuda, m) {
    rrm::bind_rule(m);
    m.attr("OUTCOME_BYTES") = sizeof(rrm::cuda::Outcome);
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
