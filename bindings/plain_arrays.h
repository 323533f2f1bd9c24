// Plain arrays: what the kernels can read and write as they are. A call with other arrays is checked, converted or
// refused in Python, which explains what is wrong.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <functional>
#include <optional>

#include "../csrc/ordered_key.h"
#include "convert.h"

namespace rrm {

// The code of the format that an array holds, for `with_format`; nullopt if it is not a vector in contiguous, aligned
// memory, has no elements, or is of another type. bfloat16 comes as its bits.
inline std::optional<int> plain_format(const pybind11::array &array) {
    constexpr int half_type = 23; // NumPy's number for float16, which C++ lacks
    constexpr int plain =
        pybind11::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_;
    const pybind11::dtype type = array.dtype();
    if (array.ndim() != 1 || array.size() == 0 || (array.flags() & plain) != plain || type.byteorder() != '=') {
        return std::nullopt;
    }
    switch (type.num()) {
    case half_type:
        return 0;
    case pybind11::detail::npy_api::NPY_USHORT_:
        return 1;
    case pybind11::detail::npy_api::NPY_FLOAT_:
        return 2;
    case pybind11::detail::npy_api::NPY_DOUBLE_:
        return 3;
    default:
        return std::nullopt;
    }
}

// Whether two contiguous arrays share memory.
inline bool overlap(const pybind11::array &a, const pybind11::array &b) {
    const auto *const a_begin = static_cast<const char *>(a.data());
    const auto *const b_begin = static_cast<const char *>(b.data());
    const std::less<> before;
    return before(a_begin, b_begin + b.nbytes()) && before(b_begin, a_begin + a.nbytes());
}

using OptionalArray = std::optional<pybind11::array>;

// The format of the losses if all arrays are plain and fit together: old weights and `out` of the losses' length and of
// the weights' type; `out` writable, and with memory of its own or that of the old weights. Otherwise nullopt.
inline std::optional<int> plain_call_format(const pybind11::array &losses, const OptionalArray &old_weights,
                                            const OptionalArray &out) {
    const std::optional<int> format = plain_format(losses);
    if (!format) {
        return std::nullopt;
    }
    const int weights_format = *format == 3 ? 3 : 2;
    const auto fits = [&](const pybind11::array &weights) {
        return plain_format(weights) == weights_format && weights.size() == losses.size();
    };
    if (old_weights && !fits(*old_weights)) {
        return std::nullopt;
    }
    if (out) {
        const bool in_place = old_weights && out->data() == old_weights->data();
        if (!fits(*out) || !out->writeable() || overlap(*out, losses) ||
            (old_weights && !in_place && overlap(*out, *old_weights))) {
            return std::nullopt;
        }
    }
    return format;
}

} // namespace rrm
