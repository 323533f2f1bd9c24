// The kernel for trainers in the CUDA module.
#pragma once

#include <pybind11/pybind11.h>

namespace rrm {

void bind_training(const pybind11::module_ &m);

} // namespace rrm
