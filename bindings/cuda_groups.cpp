#include "cuda_groups.h"

#include <cuda_runtime_api.h>
#include <pybind11/numpy.h>

#include <cstddef>
#include <cstdint>

#include "../csrc/cuda/groups.h"
#include "convert.h"
#include "cuda_device.h"

namespace py = pybind11;

namespace {

using rrm::Address;
using rrm::check;
using rrm::DeviceGuard;
using rrm::launch_config;
using rrm::pointer;

// Numbers on the host that are copied from or to the device as they are: contiguous, of one type or another.
using HostArray = py::array;

void enqueue_copy(void *to, const void *from, std::size_t size, cudaMemcpyKind kind, Address stream) {
    check(cudaMemcpyAsync(to, from, size, kind, pointer<CUstream_st>(stream)));
}

void wait_for(Address stream) {
    check(cudaStreamSynchronize(pointer<CUstream_st>(stream)));
}

// Copies an array of the host to the device, and waits for the stream.
void copy_to_device(const HostArray &array, Address to, int device, Address stream) {
    const void *from = array.data();
    const auto size = static_cast<std::size_t>(array.nbytes());
    const rrm::GilRelease released;
    const DeviceGuard guard(device);
    enqueue_copy(pointer<void>(to), from, size, cudaMemcpyHostToDevice, stream);
    wait_for(stream);
}

std::size_t group_workspace_bytes(int format, std::int64_t n, std::int64_t n_groups, int device) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        return rrm::cuda::group_workspace_bytes<F>(n, n_groups, launch_config<F>(n, device));
    });
}

// Sorts the losses by group; `result` receives `scan` of GroupBuffers.
void sort_groups(Address losses, int format, std::int64_t n, Address groups, std::int64_t n_groups, Address workspace,
                 int device, Address stream, HostArray result) {
    void *to = result.mutable_data();
    const auto size = static_cast<std::size_t>(result.nbytes());
    const rrm::GilRelease released;
    const DeviceGuard guard(device);
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto config = launch_config<F>(n, device);
        check(rrm::cuda::sort_groups<F>(pointer<const typename F::Bits>(losses), pointer<const std::int32_t>(groups), n,
                                        n_groups, pointer<void>(workspace), config, pointer<CUstream_st>(stream)));
        const auto buffers = rrm::cuda::group_buffers<F>(pointer<void>(workspace), n, n_groups, config);
        enqueue_copy(to, buffers.scan, size, cudaMemcpyDeviceToHost, stream);
    });
    wait_for(stream);
}

// Searches the sorted losses for a rank or a value of each group; `result` receives `statistics` of GroupBuffers.
void find_in_groups(int format, std::int64_t n, std::int64_t n_groups, bool by_rank, const HostArray &query,
                    Address workspace, int device, Address stream, HostArray result) {
    const void *from = query.data();
    const auto query_size = static_cast<std::size_t>(query.nbytes());
    void *to = result.mutable_data();
    const auto size = static_cast<std::size_t>(result.nbytes());
    const rrm::GilRelease released;
    const DeviceGuard guard(device);
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto config = launch_config<F>(n, device);
        const auto buffers = rrm::cuda::group_buffers<F>(pointer<void>(workspace), n, n_groups, config);
        enqueue_copy(buffers.query, from, query_size, cudaMemcpyHostToDevice, stream);
        check(rrm::cuda::find_in_groups<F>(by_rank, n, n_groups, pointer<void>(workspace), config,
                                           pointer<CUstream_st>(stream)));
        enqueue_copy(to, buffers.statistics, size, cudaMemcpyDeviceToHost, stream);
    });
    wait_for(stream);
}

std::size_t group_write_bytes(int format, std::int64_t n_groups) {
    return rrm::with_format(format, [&](auto f) { return rrm::cuda::group_write_bytes<decltype(f)>(n_groups); });
}

// Writes the new weights, and returns the invalid old ones.
py::object write_groups(Address losses, int format, std::int64_t n, Address groups, std::int64_t n_groups,
                        const HostArray &plan, double mu, Address old, Address out, bool out_is_new, Address workspace,
                        int device, Address stream) {
    const void *from = plan.data();
    const auto size = static_cast<std::size_t>(plan.nbytes());
    rrm::InvalidWeights invalid;
    {
        const rrm::GilRelease released;
        const DeviceGuard guard(device);
        rrm::with_format(format, [&](auto f) {
            using F = decltype(f);
            const auto buffers = rrm::cuda::group_write_buffers<F>(pointer<void>(workspace), n_groups);
            const rrm::cuda::Weights<F> weights{pointer<const typename F::Weight>(old),
                                                pointer<typename F::Weight>(out), mu, out_is_new};
            enqueue_copy(buffers.plan, from, size, cudaMemcpyHostToDevice, stream);
            check(rrm::cuda::write_groups<F>(pointer<const typename F::Bits>(losses),
                                             pointer<const std::int32_t>(groups), n, n_groups, weights, buffers,
                                             launch_config<F>(n, device), pointer<CUstream_st>(stream)));
            enqueue_copy(&invalid, &buffers.outcome->invalid_weights, sizeof invalid, cudaMemcpyDeviceToHost, stream);
        });
        wait_for(stream);
    }
    return rrm::invalid_weights_to_python(invalid);
}

// `minima_and_n_nan` are two numbers of each group; `scratch` has room for them and one more number.
std::int64_t count_foreign_in_groups(Address losses, int format, std::int64_t n, Address groups, std::int64_t n_groups,
                                     const HostArray &minima_and_n_nan, Address scratch, int device, Address stream) {
    const void *from = minima_and_n_nan.data();
    const auto size = static_cast<std::size_t>(minima_and_n_nan.nbytes());
    auto *foreign = pointer<rrm::cuda::Count>(scratch);
    auto *minima = pointer<double>(scratch + sizeof(rrm::cuda::Count));
    std::int64_t n_foreign = 0;
    const rrm::GilRelease released;
    const DeviceGuard guard(device);
    enqueue_copy(minima, from, size, cudaMemcpyHostToDevice, stream);
    check(rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        return rrm::cuda::count_foreign_in_groups<F>(
            pointer<const typename F::Bits>(losses), pointer<const std::int32_t>(groups), n, minima, minima + n_groups,
            foreign, launch_config<F>(n, device), pointer<CUstream_st>(stream));
    }));
    enqueue_copy(&n_foreign, foreign, sizeof n_foreign, cudaMemcpyDeviceToHost, stream);
    wait_for(stream);
    return n_foreign;
}

} // namespace

void rrm::bind_groups(py::module_ &m) {
    m.def("copy_to_device", &copy_to_device);
    m.def("group_workspace_bytes", &group_workspace_bytes);
    m.def("sort_groups", &sort_groups);
    m.def("find_in_groups", &find_in_groups);
    m.def("group_write_bytes", &group_write_bytes);
    m.def("write_groups", &write_groups);
    m.def("count_foreign_in_groups", &count_foreign_in_groups);
}
