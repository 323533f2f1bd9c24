#include "cpu_training.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "../csrc/cpu/batch_record.h"
#include "../csrc/cpu/pruning_record.h"
#include "../csrc/cpu/suspicion_order.h"
#include "gil.h"

namespace py = pybind11;

namespace {

using ByteArray = py::array_t<std::uint8_t>;
using FloatArray = py::array_t<float>;

// Batches shorter than this are recorded faster than another thread would get the GIL.
constexpr std::int64_t release_from = 1 << 14;

// Calls f with a value of the type of the array, float or double.
template <class Function> auto with_float(const py::array &array, Function f) {
    return array.itemsize() == sizeof(float) ? f(float{}) : f(double{});
}

template <class T> const T *data(const py::array &array) {
    return static_cast<const T *>(array.data());
}

template <class T> const T *data(const std::optional<py::array> &array) {
    return array ? data<T>(*array) : nullptr;
}

py::tuple add_to_record(const py::array &losses, const py::array &weights, const std::optional<py::array> &thresholds,
                        double threshold, const std::optional<py::array> &pruned,
                        const std::optional<py::array> &members, const ByteArray &last, const ByteArray &ever,
                        const FloatArray &excess, const std::optional<py::array> &excess_thresholds,
                        double excess_threshold, const std::tuple<double, double, double> &scales, ByteArray bits,
                        ByteArray new_ever, FloatArray new_excess) {
    return with_float(losses, [&](auto number) -> py::tuple {
        using V = decltype(number);
        const rrm::cpu::RecordedSamples<V> samples{.losses = data<V>(losses),
                                                   .weights = data<V>(weights),
                                                   .n = losses.size(),
                                                   .thresholds = data<V>(thresholds),
                                                   .threshold = static_cast<V>(threshold),
                                                   .pruned = data<std::uint8_t>(pruned),
                                                   .members = data<std::uint8_t>(members),
                                                   .last = last.data(),
                                                   .ever = ever.data(),
                                                   .excess = excess.data(),
                                                   .excess_thresholds = data<V>(excess_thresholds),
                                                   .excess_threshold = static_cast<V>(excess_threshold)};
        const auto &[of_weights, of_squares, of_costs] = scales;
        const rrm::cpu::RecordOutput output{
            .bits = bits.mutable_data(), .ever = new_ever.mutable_data(), .excess = new_excess.mutable_data()};
        rrm::cpu::RecordTotals totals;
        {
            const rrm::GilRelease released;
            totals = rrm::cpu::add_to_record(samples, {of_weights, of_squares, of_costs}, output);
        }
        return py::make_tuple(totals.n_pruned, totals.n_pruned_again, totals.n_pruned_ever, totals.weights,
                              totals.squares, totals.costs);
    });
}

void count_prunings(const std::vector<ByteArray> &rounds, py::array_t<std::int32_t> times) {
    std::vector<const std::uint8_t *> bits;
    bits.reserve(rounds.size());
    for (const auto &round : rounds) {
        bits.push_back(round.data());
    }
    const std::int64_t n = times.size();
    auto *to = times.mutable_data();
    const rrm::GilRelease released;
    rrm::cpu::count_prunings(bits, n, to);
}

// Fills `order`, whose numbers are below 2^32.
void order_by_suspicion(const FloatArray &excess, py::array_t<std::int64_t> order, py::array_t<std::uint64_t> scratch) {
    const float *of_samples = excess.data();
    const std::int64_t n = excess.size();
    auto *entries = reinterpret_cast<std::uint64_t *>(order.mutable_data());
    auto *others = scratch.mutable_data();
    const rrm::GilRelease released;
    rrm::cpu::order_by_suspicion(of_samples, n, entries, others);
}

// Records batches in the memory of a trainer, which it keeps alive. The addresses of a batch come as integers: looking
// them up in arrays would take longer than recording it.
class BatchRecorder {
  public:
    // `marks` are uint8 counts or int32 epochs, see LossStore; `losses` and `weights` are of one type.
    BatchRecorder(py::array losses, py::array marks, py::array weights, std::int64_t start, bool skip_nan)
        : losses_(std::move(losses)), marks_(std::move(marks)), weights_(std::move(weights)),
          store_(with_float(losses_,
                            [&](auto number) -> Store { return make_store<decltype(number)>(start, skip_nan); })) {}

    [[nodiscard]] std::int64_t record(std::uintptr_t losses, std::uintptr_t index, std::int64_t size, bool is_int64,
                                      std::int32_t epoch, std::uintptr_t weights) const {
        std::optional<rrm::GilRelease> released;
        if (size >= release_from) {
            released.emplace();
        }
        return std::visit(
            [&](const auto &store) { return record_in(store, losses, index, size, is_int64, epoch, weights); }, store_);
    }

  private:
    using Store = std::variant<rrm::cpu::LossStore<float>, rrm::cpu::LossStore<double>>;

    template <class V> rrm::cpu::LossStore<V> make_store(std::int64_t start, bool skip_nan) {
        const bool has_counts = marks_.itemsize() == 1;
        return {.losses = static_cast<V *>(losses_.mutable_data()),
                .counts = has_counts ? static_cast<std::uint8_t *>(marks_.mutable_data()) : nullptr,
                .epochs = has_counts ? nullptr : static_cast<std::int32_t *>(marks_.mutable_data()),
                .weights = data<V>(weights_),
                .start = start,
                .n = weights_.size(),
                .skip_nan = skip_nan};
    }

    template <class V>
    static std::int64_t record_in(const rrm::cpu::LossStore<V> &store, std::uintptr_t losses, std::uintptr_t index,
                                  std::int64_t size, bool is_int64, std::int32_t epoch, std::uintptr_t weights) {
        // NOLINTBEGIN(performance-no-int-to-ptr)
        const auto *from = reinterpret_cast<const V *>(losses);
        auto *to = reinterpret_cast<V *>(weights);
        if (is_int64) {
            const rrm::cpu::Batch<std::int64_t> batch{reinterpret_cast<const std::int64_t *>(index), size};
            return rrm::cpu::record_batch(store, batch, from, epoch, to);
        }
        const rrm::cpu::Batch<std::int32_t> batch{reinterpret_cast<const std::int32_t *>(index), size};
        return rrm::cpu::record_batch(store, batch, from, epoch, to);
        // NOLINTEND(performance-no-int-to-ptr)
    }

    py::array losses_, marks_, weights_;
    Store store_;
};

} // namespace

void rrm::bind_training(py::module_ &m) {
    m.def("add_to_record", &add_to_record);
    m.def("count_prunings", &count_prunings);
    m.def("order_by_suspicion", &order_by_suspicion);
    py::class_<BatchRecorder>(m, "BatchRecorder", py::module_local())
        .def(py::init<py::array, py::array, py::array, std::int64_t, bool>())
        .def("record", &BatchRecorder::record);
}
