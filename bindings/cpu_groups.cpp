#include "cpu_groups.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "../csrc/cpu/group_order.h"
#include "../csrc/cpu/grouped_losses.h"
#include "../csrc/cpu/grouped_write.h"
#include "convert.h"
#include "cpu_arrays.h"
#include "gil.h"

namespace py = pybind11;

namespace {

using rrm::bits;
using rrm::weights;

using Int64Array = py::array_t<std::int64_t>;
using DoubleArray = py::array_t<double>;

// Calls f with the positions as numbers of their type.
template <class Function> auto with_index(const py::array &positions, Function f) {
    if (positions.itemsize() == sizeof(std::int32_t)) {
        return f(static_cast<const std::int32_t *>(positions.data()));
    }
    return f(static_cast<const std::int64_t *>(positions.data()));
}

// Fills starts and positions, see group_order.h.
void sort_by_group(const py::array_t<std::int32_t> &groups, Int64Array starts, const py::array &positions) {
    const auto *numbers = groups.data();
    const std::int64_t n = groups.size();
    const std::int64_t n_groups = starts.size() - 1;
    auto *first = starts.mutable_data();
    with_index(positions, [&](const auto *index) {
        using Index = std::remove_const_t<std::remove_reference_t<decltype(*index)>>;
        auto *to = static_cast<Index *>(const_cast<py::array &>(positions).mutable_data());
        const rrm::GilRelease released;
        rrm::cpu::sort_by_group(numbers, n, n_groups, first, to);
    });
}

rrm::cpu::GroupStatistics statistics_of(DoubleArray &values, Int64Array &n_below, Int64Array &n_equal) {
    return {values.mutable_data(), n_below.mutable_data(), n_equal.mutable_data()};
}

// The losses of one call by group, see grouped_losses.h. Results are written to arrays of n_groups numbers.
class GroupedLosses {
    template <class Function> auto call(Function f) {
        const rrm::GilRelease released;
        return std::visit([&](auto &losses) { return f(*losses); }, losses_);
    }

  public:
    GroupedLosses(const py::array &losses, int format, const Int64Array &starts, const py::array &positions,
                  int threads) {
        rrm::with_format(format, [&](auto f) {
            using F = decltype(f);
            with_index(positions, [&](const auto *index) {
                using Losses = rrm::cpu::GroupedLosses<typename F::Value>;
                const rrm::cpu::GroupOrder order{starts.data(), index, starts.size() - 1};
                const auto *c = bits<F>(losses);
                const std::int64_t n = losses.size();
                const rrm::GilRelease released;
                losses_ = std::make_unique<Losses>(c, n, order, threads, f);
            });
        });
    }

    // Returns the number of NaN and of -infinity.
    std::pair<std::int64_t, std::int64_t> scan(const Int64Array &ranks, DoubleArray minima, Int64Array n_minima,
                                               Int64Array n_nan, DoubleArray values, Int64Array n_below,
                                               Int64Array n_equal) {
        const auto *rank = ranks.data();
        const rrm::cpu::GroupScan result{minima.mutable_data(), n_minima.mutable_data(), n_nan.mutable_data(),
                                         statistics_of(values, n_below, n_equal)};
        const auto counts = call([&](auto &losses) { return losses.scan(rank, result); });
        return {counts.n_nan, counts.n_neg_inf};
    }
    void count(DoubleArray values, Int64Array n_below, Int64Array n_equal) {
        const auto result = statistics_of(values, n_below, n_equal);
        call([&](auto &losses) { losses.count(result.values, result); });
    }

  private:
    std::variant<std::unique_ptr<rrm::cpu::GroupedLosses<float>>, std::unique_ptr<rrm::cpu::GroupedLosses<double>>>
        losses_;
};

// Returns the first index of NaN and of -infinity; -1: there is none.
std::pair<std::int64_t, std::int64_t> find_non_finite(const py::array &losses, int format) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        const auto counts = rrm::cpu::find_non_finite<F>(c, n);
        return std::pair{counts.first_nan, counts.first_neg_inf};
    });
}

// Returns the invalid old weights.
py::object write_groups(const py::array &losses, int format, const py::array_t<std::int32_t> &groups,
                        const DoubleArray &thresholds, const DoubleArray &recipient_thresholds,
                        const DoubleArray &levels, double mu, const std::optional<py::array> &old_weights,
                        py::array out, int threads) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *numbers = groups.data();
        const rrm::cpu::GroupLevels plan{thresholds.data(), recipient_thresholds.data(), levels.data(),
                                         thresholds.size()};
        const auto *w_old = weights<F>(old_weights);
        auto *w_new = static_cast<typename F::Weight *>(out.mutable_data());
        const std::int64_t n = losses.size();
        rrm::InvalidWeights invalid;
        {
            const rrm::GilRelease released;
            invalid = rrm::cpu::write_groups<F>(c, numbers, n, plan, mu, w_old, w_new, threads);
        }
        return rrm::invalid_weights_to_python(invalid);
    });
}

std::int64_t count_foreign_in_groups(const py::array &losses, int format, const py::array_t<std::int32_t> &groups,
                                     const DoubleArray &minima, const Int64Array &n_nan, int threads) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *numbers = groups.data();
        const auto *smallest = minima.data();
        const auto *nan = n_nan.data();
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        return rrm::cpu::count_foreign_in_groups<F>(c, numbers, n, smallest, nan, threads);
    });
}

} // namespace

void rrm::bind_groups(py::module_ &m) {
    m.def("sort_by_group", &sort_by_group);
    py::class_<GroupedLosses>(m, "GroupedLosses", py::module_local())
        .def(py::init<const py::array &, int, const Int64Array &, const py::array &, int>())
        .def("scan", &GroupedLosses::scan)
        .def("count", &GroupedLosses::count);
    m.def("find_non_finite", &find_non_finite);
    m.def("write_groups", &write_groups);
    m.def("count_foreign_in_groups", &count_foreign_in_groups);
}
