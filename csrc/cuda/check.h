// CUDA errors become exceptions that name the call.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#define T2_CUDA_CHECK(call)                                                           \
  do {                                                                                \
    const cudaError_t status = (call);                                                \
    if (status != cudaSuccess) {                                                      \
      throw std::runtime_error(std::string(#call ": ") + cudaGetErrorString(status)); \
    }                                                                                 \
  } while (0)
