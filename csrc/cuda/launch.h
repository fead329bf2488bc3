// The grid and shared memory of a kernel's launch.
#pragma once

#include "check.h"

namespace t2 {

template <typename Kernel, typename... Arguments>
void launch(Kernel kernel, dim3 grid, int threads, size_t shared_bytes, cudaStream_t stream,
            const Arguments&... arguments) {
  T2_CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)));
  kernel<<<grid, threads, shared_bytes, stream>>>(arguments...);
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
