#include "cuda_training.h"

#include <cstdint>

#include "../csrc/cuda/training.h"
#include "cuda_device.h"
#include "gil.h"

namespace py = pybind11;

namespace {

using rrm::Address;
using rrm::pointer;

// Records batches in the memory of a trainer on a device, which its owner keeps alive.
class BatchRecorder {
  public:
    BatchRecorder(bool is_double, Address losses, Address marks, Address weights, std::int64_t start, std::int64_t n,
                  bool counts, bool skip_nan, int device)
        : is_double_(is_double), losses_(losses), marks_(marks), weights_(weights), start_(start), n_(n),
          counts_(counts), skip_nan_(skip_nan), device_(device) {}

    void record(Address losses, Address index, std::int64_t size, bool is_int64, std::int32_t epoch, Address terms,
                Address factors, Address has_loss, Address stream) const {
        const rrm::GilRelease released; // a launch blocks if the queue is full
        const rrm::DeviceGuard guard(device_);
        const auto enqueue = [&]<class V, class Index>(V, Index) {
            const rrm::cuda::LossStore<V> store{.losses = pointer<V>(losses_),
                                                .marks = pointer<std::int32_t>(marks_),
                                                .weights = pointer<const V>(weights_),
                                                .start = start_,
                                                .n = n_,
                                                .counts = counts_,
                                                .skip_nan = skip_nan_};
            const rrm::cuda::Batch<V, Index> batch{pointer<const V>(losses), pointer<const Index>(index), size};
            const rrm::cuda::WeightedTerms<V> result{pointer<V>(terms), pointer<V>(factors),
                                                     pointer<std::uint8_t>(has_loss)};
            rrm::check(rrm::cuda::record_batch(store, batch, epoch, result, rrm::current_tuning,
                                               pointer<CUstream_st>(stream)));
        };
        const auto with_index = [&](auto number) {
            is_int64 ? enqueue(number, std::int64_t{}) : enqueue(number, std::int32_t{});
        };
        is_double_ ? with_index(double{}) : with_index(float{});
    }

  private:
    bool is_double_;
    Address losses_, marks_, weights_;
    std::int64_t start_, n_;
    bool counts_, skip_nan_;
    int device_;
};

} // namespace

void rrm::bind_training(const py::module_ &m) {
    py::class_<BatchRecorder>(m, "BatchRecorder", py::module_local())
        .def(py::init<bool, Address, Address, Address, std::int64_t, std::int64_t, bool, bool, int>())
        .def("record", &BatchRecorder::record);
}
