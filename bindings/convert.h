// How Python sees formats, rules and answers: the same in every compiled backend.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "../csrc/ordered_key.h"
#include "../csrc/plan.h"

namespace rrm {

// Calls f with a value of the format that Python knows by this code (rrm_core/formats.py).
template <class Function> auto with_format(int code, Function f) {
    switch (code) {
    case 0:
        return f(Float16{});
    case 1:
        return f(BFloat16{});
    case 2:
        return f(Float32{});
    case 3:
        return f(Float64{});
    default:
        throw std::invalid_argument("unknown format code");
    }
}

inline Redistribute redistribute_called(const std::string &name) {
    if (name == "kept") {
        return Redistribute::kept;
    }
    return name == "drop" ? Redistribute::drop : Redistribute::recipients;
}

// Local to the module, so that several modules can have it.
inline void bind_rule(const pybind11::module_ &m) {
    pybind11::class_<Rule>(m, "Rule", pybind11::module_local())
        .def(pybind11::init([](std::int64_t rank, double gamma, std::int64_t recipient_rank, std::int64_t quota,
                               const std::string &redistribute, bool prune_nan) {
            return Rule{rank, gamma, recipient_rank, quota, redistribute_called(redistribute), prune_nan};
        }));
}

using LevelsTuple = std::tuple<double, double, double, double, double>;

inline LevelsTuple as_tuple(const Levels &l) {
    return {l.pruned, l.tied, l.kept, l.tied_recipient, l.kept_recipient};
}

inline Levels levels_of(const LevelsTuple &t) {
    return {std::get<0>(t), std::get<1>(t), std::get<2>(t), std::get<3>(t), std::get<4>(t)};
}

// Either what is wrong with n losses, or what was found of them; see _cpu.pyi.
inline pybind11::tuple answer(const NonFiniteCounts &faults, const Plan &plan, std::int64_t n, bool prune_nan) {
    if (faults.is_invalid(n, prune_nan)) {
        return pybind11::make_tuple(
            pybind11::make_tuple(faults.n_nan, faults.first_nan, faults.n_neg_inf, faults.first_neg_inf, faults.n_inf),
            pybind11::none());
    }
    return pybind11::make_tuple(pybind11::none(),
                                pybind11::make_tuple(faults.n_nan, plan.loss_min, plan.threshold,
                                                     plan.recipient_threshold, plan.n_pruned, plan.n_tied,
                                                     plan.n_recipients, plan.removed, as_tuple(plan.levels)));
}

} // namespace rrm
