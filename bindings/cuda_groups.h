// The functions of rrm_core._cuda for losses with groups.
#pragma once

#include <pybind11/pybind11.h>

namespace rrm {

void bind_groups(pybind11::module_ &m);

} // namespace rrm
