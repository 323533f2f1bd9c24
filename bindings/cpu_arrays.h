// Array arguments of the CPU module.
#pragma once

#include <pybind11/numpy.h>

#include <optional>

namespace rrm {

template <class F> const typename F::Bits *bits(const pybind11::array &losses) {
    return static_cast<const typename F::Bits *>(losses.data());
}

template <class F> const typename F::Weight *weights(const std::optional<pybind11::array> &array) {
    return array ? static_cast<const typename F::Weight *>(array->data()) : nullptr;
}

} // namespace rrm
