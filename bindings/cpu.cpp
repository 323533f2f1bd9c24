// rrm_core._cpu: pointers, lengths, the GIL. Python has checked every argument: arrays are one-dimensional, contiguous,
// aligned, of the format's storage type and of equal length; `out` is writable.
#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <tuple>

#include "../csrc/cpu/apply.h"
#include "../csrc/cpu/select.h"
#include "../csrc/cpu/subnormals.h"

namespace py = pybind11;

namespace {

using Thresholds = std::tuple<double, double, double>;               // loss_min, threshold, recipient_threshold
using Counts = std::tuple<std::int64_t, std::int64_t, std::int64_t>; // pruned, tied, recipients
using Levels = std::tuple<double, double, double, double, double>;

// Calls f with a value of the format that Python knows by this code (rrm_core/formats.py).
template <class Function> auto with_format(int code, Function f) {
    const rrm::cpu::ExactSubnormals exact; // thresholds come and go as doubles
    switch (code) {
    case 0:
        return f(rrm::Float16{});
    case 1:
        return f(rrm::BFloat16{});
    case 2:
        return f(rrm::Float32{});
    case 3:
        return f(rrm::Float64{});
    default:
        throw std::invalid_argument("unknown format code");
    }
}

template <class F> const typename F::Bits *bits(const py::array &losses) {
    return static_cast<const typename F::Bits *>(losses.data());
}

template <class F> const typename F::Weight *weights(const std::optional<py::array> &old) {
    return old ? static_cast<const typename F::Weight *>(old->data()) : nullptr;
}

template <class F>
py::object answer(const rrm::Faults &faults, const std::optional<rrm::Plan<typename F::Bits>> &plan) {
    const auto found = py::make_tuple(faults.n_nan, faults.first_nan, faults.n_low, faults.first_low, faults.n_inf);
    if (!plan) {
        return py::make_tuple(found, py::none(), py::none());
    }
    return py::make_tuple(
        found, Thresholds{F::decode(plan->loss_min), F::decode(plan->threshold), F::decode(plan->recipient_threshold)},
        Counts{plan->n_pruned, plan->n_tied, plan->n_recipients});
}

// Plans, and writes the weights if `out` is given and nothing is wrong with the losses.
py::object plan_and_apply(const py::array &losses, int format, const rrm::Rule &rule, double mu,
                          const std::optional<py::array> &old, std::optional<py::array> out) {
    return with_format(format, [&](auto f) -> py::object {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const auto *before = weights<F>(old);
        auto *after = out ? static_cast<typename F::Weight *>(out->mutable_data()) : nullptr;
        rrm::Plan<typename F::Bits> plan{};
        rrm::Faults faults;
        {
            const py::gil_scoped_release released;
            faults = rrm::cpu::select<F>(c, n, rule, plan);
            if (after != nullptr && !faults.refuse(n, rule.prune_nan)) {
                rrm::cpu::apply<F>(c, n, plan, mu, before, after);
            }
        }
        const bool refused = faults.refuse(n, rule.prune_nan);
        return answer<F>(faults, refused ? std::nullopt : std::optional{plan});
    });
}

void apply(const py::array &losses, int format, const Thresholds &thresholds, const Levels &levels, double mu,
           const std::optional<py::array> &old, py::array out) {
    with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *before = weights<F>(old);
        auto *after = static_cast<typename F::Weight *>(out.mutable_data());
        rrm::Plan<typename F::Bits> plan{};
        plan.threshold = F::key_not_above(std::get<1>(thresholds));
        plan.recipient_threshold = F::key_not_above(std::get<2>(thresholds));
        std::tie(plan.levels.pruned, plan.levels.tied, plan.levels.kept, plan.levels.tied_recipient,
                 plan.levels.kept_recipient) = levels;
        const std::int64_t n = losses.size();
        const py::gil_scoped_release released;
        rrm::cpu::apply<F>(c, n, plan, mu, before, after);
    });
}

std::int64_t count_foreign(const py::array &losses, int format, double loss_min, bool allow_nan) {
    return with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const py::gil_scoped_release released;
        return rrm::cpu::count_foreign<F>(c, n, F::key_not_above(loss_min), allow_nan);
    });
}

Levels levels(std::int64_t n, std::int64_t n_pruned, std::int64_t n_tied, std::int64_t n_recipients,
              std::int64_t removed, rrm::Redistribute redistribute) {
    const auto l = rrm::levels(n, n_pruned, n_tied, n_recipients, removed, redistribute);
    return {l.pruned, l.tied, l.kept, l.tied_recipient, l.kept_recipient};
}

} // namespace

PYBIND11_MODULE(_cpu, m) {
    py::native_enum<rrm::Redistribute>(m, "Redistribute", "enum.Enum")
        .value("recipients", rrm::Redistribute::recipients)
        .value("kept", rrm::Redistribute::kept)
        .value("drop", rrm::Redistribute::drop)
        .finalize();
    py::class_<rrm::Rule>(m, "Rule").def(
        py::init([](std::int64_t rank, double gamma, std::int64_t recipient_rank, std::int64_t quota,
                    rrm::Redistribute redistribute, bool prune_nan) {
            return rrm::Rule{rank, gamma, recipient_rank, quota, redistribute, prune_nan};
        }));
    m.def("plan_and_apply", &plan_and_apply);
    m.def("apply", &apply);
    m.def("count_foreign", &count_foreign);
    m.def("levels", &levels);
}
