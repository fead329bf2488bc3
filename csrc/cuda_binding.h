// Part of binding.cpp: the operations of cuda_ops.h.
#pragma once

#include <pybind11/pybind11.h>

namespace t2 {

void bind_cuda(pybind11::module_& module);

}  // namespace t2
