// The loops for trainers in the CPU module.
#pragma once

#include <pybind11/pybind11.h>

namespace rrm {

void bind_training(pybind11::module_ &m);

} // namespace rrm
