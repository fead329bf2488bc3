// Tensor maps: how the device finds boxes of a tensor that it copies to shared memory by itself.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "../check.h"

namespace t2 {

// The driver's function, asked for by name: linked, it would bind the library to a driver.
inline decltype(&cuTensorMapEncodeTiled) find_encode_tiled() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  T2_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                 cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess) {
    throw std::runtime_error("cuTensorMapEncodeTiled: the driver is older than CUDA 12.0");
  }
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
}

// Boxes of box_rows rows and 64 columns of a dense tensor [heads, rows, columns] of 16-bit
// elements, which starts at a multiple of 16 bytes. Boxes come swizzled as descriptor.h has it, as
// bits without a type, with zeros for rows past the tensor's: the next head's are not read.
inline CUtensorMap map_boxes(const void* tensor, int64_t heads, int64_t rows, int64_t columns,
                             int box_rows) {
  const cuuint64_t sizes[] = {cuuint64_t(columns), cuuint64_t(rows), cuuint64_t(heads)};
  const cuuint64_t strides[] = {2 * sizes[0], 2 * sizes[0] * sizes[1]};  // bytes
  const cuuint32_t box[] = {64, cuuint32_t(box_rows), 1};
  const cuuint32_t every[] = {1, 1, 1};
  CUtensorMap map;
  const CUresult status = find_encode_tiled()(
      &map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 3, const_cast<void*>(tensor), sizes, strides, box,
      every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw std::runtime_error("cuTensorMapEncodeTiled: CUresult " + std::to_string(int(status)));
  }
  return map;
}

}  // namespace t2
