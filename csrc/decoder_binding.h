// The native step's part of the binding.
#pragma once

#include <pybind11/pybind11.h>

#include "ops.h"

namespace t2 {

void bind_decoder_classes(pybind11::module_& module);

// One maker for each instruction set.
void bind_decoder(pybind11::module_& module, const CpuOps& ops);

}  // namespace t2
