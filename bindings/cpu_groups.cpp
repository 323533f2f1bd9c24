#include "cpu_groups.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "../csrc/cpu/group_counts.h"
#include "../csrc/cpu/group_order.h"
#include "../csrc/cpu/grouped_reweight.h"
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

// Calls f with a value of the type of the positions.
template <class Function> auto with_index(const py::array &positions, Function f) {
    return positions.itemsize() == sizeof(std::int32_t) ? f(std::int32_t{}) : f(std::int64_t{});
}

// Fills the sizes of the groups.
void count_samples(const py::array_t<std::int32_t> &groups, Int64Array sizes) {
    const auto *numbers = groups.data();
    const std::int64_t n = groups.size();
    const std::int64_t n_groups = sizes.size();
    auto *to = sizes.mutable_data();
    const rrm::GilRelease released;
    rrm::cpu::count_samples(numbers, n, n_groups, to);
}

// Fills starts and positions, see group_order.h.
void sort_by_group(const py::array_t<std::int32_t> &groups, Int64Array starts, py::array positions) {
    const auto *numbers = groups.data();
    const std::int64_t n = groups.size();
    const std::int64_t n_groups = starts.size() - 1;
    auto *first = starts.mutable_data();
    with_index(positions, [&](auto index) {
        auto *to = static_cast<decltype(index) *>(positions.mutable_data());
        const rrm::GilRelease released;
        rrm::cpu::sort_by_group(numbers, n, n_groups, first, to);
    });
}

std::vector<std::int64_t> to_vector(const Int64Array &numbers) {
    return {numbers.data(), numbers.data() + numbers.size()};
}

// The arrays of a plan, of n_groups numbers or rows: minimum, threshold, recipients' threshold, removed mass; the
// numbers of pruned and tied samples, recipients and NaN; and five levels.
rrm::cpu::GroupPlan plan_of(DoubleArray &thresholds, Int64Array &counts, DoubleArray &levels) {
    double *const t = thresholds.mutable_data();
    std::int64_t *const c = counts.mutable_data();
    const auto n = levels.shape(0);
    return {t, t + n, t + 2 * n, t + 3 * n, levels.mutable_data(), c, c + n, c + 2 * n, c + 3 * n};
}

// Fills the arrays of a plan, and writes the weights if `out` is given, by a function of csrc/cpu/grouped_reweight.h.
// Returns the error, as a number, and the invalid old weights.
template <class Reweight>
py::tuple call_reweight(const py::array &losses, int format, const std::optional<py::array> &old_weights,
                        std::optional<py::array> &out, DoubleArray &thresholds, Int64Array &counts, DoubleArray &levels,
                        Reweight reweight) {
    return rrm::with_format(format, [&](auto f) -> py::tuple {
        using F = decltype(f);
        const auto plan = plan_of(thresholds, counts, levels);
        const auto *from = bits<F>(losses);
        const auto *w_old = weights<F>(old_weights);
        auto *w_new = out ? static_cast<typename F::Weight *>(out->mutable_data()) : nullptr;
        rrm::InvalidWeights invalid;
        rrm::cpu::GroupError error{};
        {
            const rrm::GilRelease released;
            error = reweight(f, from, w_old, w_new, plan, invalid);
        }
        return py::make_tuple(static_cast<int>(error), rrm::invalid_weights_to_python(invalid));
    });
}

py::tuple reweight_groups(const py::array &losses, int format, const py::array_t<std::int32_t> &groups,
                          const Int64Array &starts, const py::array &positions, const rrm::GroupRule &rule, double mu,
                          const std::optional<py::array> &old_weights, std::optional<py::array> out,
                          DoubleArray thresholds, Int64Array counts, DoubleArray levels, int threads) {
    const bool is_wide = positions.itemsize() == sizeof(std::int64_t);
    const rrm::cpu::GroupOrder order{
        starts.data(), is_wide ? nullptr : static_cast<const std::int32_t *>(positions.data()),
        is_wide ? static_cast<const std::int64_t *>(positions.data()) : nullptr, starts.size() - 1};
    const auto *numbers = groups.data();
    const std::int64_t n = losses.size();
    return call_reweight(
        losses, format, old_weights, out, thresholds, counts, levels,
        [&](auto f, const auto *from, const auto *w_old, auto *w_new, const auto &plan, auto &invalid) {
            return rrm::cpu::reweight_groups<decltype(f)>(from, numbers, n, order, rule, mu, w_old, w_new, threads,
                                                          plan, invalid);
        });
}

bool can_look_up(int format, std::int64_t n, std::int64_t n_groups) {
    return rrm::with_format(format, [&](auto f) { return rrm::cpu::can_look_up<decltype(f)>(n, n_groups); });
}

// The same for few groups, if can_look_up().
py::tuple reweight_few_groups(const py::array &losses, int format, const py::array_t<std::uint8_t> &groups,
                              const Int64Array &sizes, const rrm::GroupRule &rule, double mu,
                              const std::optional<py::array> &old_weights, std::optional<py::array> out,
                              DoubleArray thresholds, Int64Array counts, DoubleArray levels, int threads) {
    const auto *numbers = groups.data();
    const auto size_of = to_vector(sizes);
    const std::int64_t n = losses.size();
    return call_reweight(
        losses, format, old_weights, out, thresholds, counts, levels,
        [&](auto f, const auto *from, const auto *w_old, auto *w_new, const auto &plan, auto &invalid) {
            return rrm::cpu::reweight_few_groups<decltype(f)>(from, n, numbers, size_of, rule, mu, w_old, w_new,
                                                              threads, plan, invalid);
        });
}

// Returns the number and the first index of NaN and of -infinity; -1: there is none.
std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t> find_non_finite(const py::array &losses,
                                                                                   int format) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        const auto counts = rrm::cpu::find_non_finite<F>(c, n);
        return std::tuple{counts.n_nan, counts.first_nan, counts.n_neg_inf, counts.first_neg_inf};
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

using KeyArray = py::array_t<std::uint64_t>;

// Adds to the counts of a round, see group_counts.h. The arrays of keys have shape (number, n_groups), or (number,) for
// all losses.
void count_groups(const py::array &losses, int format, const py::array_t<std::int32_t> &groups, std::int64_t first,
                  bool is_first_pass, int bits_of_digit, int shift, const KeyArray &own, const KeyArray &of_all,
                  const KeyArray &pivots, Int64Array counts) {
    const rrm::cpu::GroupPass pass{
        .n_groups = static_cast<std::size_t>(own.shape(1)),
        .is_first = is_first_pass,
        .bits = bits_of_digit,
        .shift = shift,
        .n_own = static_cast<std::size_t>(own.shape(0)),
        .n_of_all = static_cast<std::size_t>(of_all.size()),
        .n_pivots = static_cast<std::size_t>(pivots.shape(0)),
        .own = own.data(),
        .of_all = of_all.data(),
        .pivots = pivots.data(),
    };
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *numbers = groups.data();
        auto *sums = counts.mutable_data();
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        rrm::cpu::add_group_pass<F>(c, numbers, n, first, format, pass, sums);
    });
}

std::uint32_t group_checksum(const py::array &losses, int format, const py::array_t<std::int32_t> &groups) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *numbers = groups.data();
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        return rrm::cpu::group_checksum<F>(c, numbers, n);
    });
}

} // namespace

void rrm::bind_groups(py::module_ &m) {
    m.def("count_samples", &count_samples);
    m.def("sort_by_group", &sort_by_group);
    py::class_<rrm::GroupRule>(m, "GroupRule", py::module_local())
        .def(py::init([](const Int64Array &ranks, std::int64_t rank_of_all, double gamma,
                         const Int64Array &recipient_ranks, std::int64_t recipient_rank_of_all,
                         const std::string &redistribute, bool share_ties, std::int64_t quota_of_all, bool keep_mass,
                         bool prune_nan) {
            return rrm::GroupRule{to_vector(ranks),
                                  rank_of_all,
                                  gamma,
                                  to_vector(recipient_ranks),
                                  recipient_rank_of_all,
                                  rrm::parse_redistribute(redistribute),
                                  share_ties,
                                  quota_of_all,
                                  keep_mass,
                                  prune_nan};
        }));
    m.def("reweight_groups", &reweight_groups);
    m.def("can_look_up", &can_look_up);
    m.def("reweight_few_groups", &reweight_few_groups);
    m.def("find_non_finite", &find_non_finite);
    m.def("write_groups", &write_groups);
    m.def("count_foreign_in_groups", &count_foreign_in_groups);
    m.def("count_groups", &count_groups);
    m.def("group_checksum", &group_checksum);
}
