// Conversions between Python and the kernels: formats, rules, plans. Shared by all compiled backends.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "../csrc/ordered_key.h"
#include "../csrc/plan.h"

namespace rrm {

// Calls f with a value of the format that has this code in Python (rrm_core/definition/formats.py).
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

inline Redistribute parse_redistribute(const std::string &name) {
    if (name == "kept") {
        return Redistribute::kept;
    }
    if (name == "drop") {
        return Redistribute::drop;
    }
    if (name == "recipients") {
        return Redistribute::recipients;
    }
    // A way to redistribute that Python has and the kernels lack must not become another one.
    throw pybind11::value_error("no such way to redistribute: " + name);
}

// The class is local to the module, so that several modules can define it.
inline void bind_rule(const pybind11::module_ &m) {
    pybind11::class_<Rule>(m, "Rule", pybind11::module_local())
        .def(pybind11::init([](std::int64_t rank, double gamma, std::int64_t recipient_rank, std::int64_t quota,
                               const std::string &redistribute, bool prune_nan) {
            return Rule{rank, gamma, recipient_rank, quota, parse_redistribute(redistribute), prune_nan};
        }));
}

using LevelsTuple = std::tuple<double, double, double, double, double>;

inline LevelsTuple levels_to_tuple(const Levels &l) {
    return {l.pruned, l.tied, l.kept, l.tied_recipient, l.kept_recipient};
}

inline Levels levels_from_tuple(const LevelsTuple &t) {
    return {std::get<0>(t), std::get<1>(t), std::get<2>(t), std::get<3>(t), std::get<4>(t)};
}

// The invalid old weights; None if there are none.
inline pybind11::object invalid_weights_to_python(const InvalidWeights &invalid) {
    if (invalid.n == 0) {
        return pybind11::none();
    }
    return pybind11::make_tuple(invalid.n, invalid.first, invalid.value);
}

// The counts of non-finite losses if those make the n losses invalid, the plan otherwise, and the invalid old weights
// if there are any; None for each of the others. The order of the fields is in _cpu.pyi.
inline pybind11::tuple outcome_to_python(const NonFiniteCounts &non_finite, const Plan &plan,
                                         const InvalidWeights &invalid_weights, std::int64_t n, bool prune_nan) {
    if (non_finite.is_invalid(n, prune_nan)) {
        return pybind11::make_tuple(pybind11::make_tuple(non_finite.n_nan, non_finite.first_nan, non_finite.n_neg_inf,
                                                         non_finite.first_neg_inf, non_finite.n_pos_inf),
                                    pybind11::none(), pybind11::none());
    }
    return pybind11::make_tuple(pybind11::none(),
                                pybind11::make_tuple(non_finite.n_nan, plan.loss_min, plan.threshold,
                                                     plan.recipient_threshold, plan.n_pruned, plan.n_tied,
                                                     plan.n_recipients, plan.removed, levels_to_tuple(plan.levels)),
                                invalid_weights_to_python(invalid_weights));
}

} // namespace rrm
