// Takes the place of the CUDA driver's header: tensor maps, encoded as its documentation asks.
#pragma once

#include <cstring>

#include "cuda_runtime.h"

using cuuint32_t = uint32_t;
using cuuint64_t = uint64_t;

enum CUresult { CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_UINT8, CU_TENSOR_MAP_DATA_TYPE_UINT16 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_128B = 3 };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_128B = 2 };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };

struct alignas(128) CUtensorMap {
  static constexpr uint32_t kMaxRank = 5;

  const char* tensor;
  uint64_t sizes[kMaxRank], strides[kMaxRank];  // in elements; in bytes, of an element first
  uint32_t box[kMaxRank];
  uint32_t rank;
  CUtensorMapSwizzle swizzle;
};

inline CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, uint32_t rank,
                                       void* tensor, const uint64_t* sizes, const uint64_t* strides,
                                       const uint32_t* box, const uint32_t* element_strides,
                                       CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                       CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  const auto multiple = [](const void* at, size_t of) {
    return reinterpret_cast<uintptr_t>(at) % of == 0;
  };
  const uint64_t element = type == CU_TENSOR_MAP_DATA_TYPE_UINT8 ? 1 : 2;  // bytes
  if (rank == 0 || rank > CUtensorMap::kMaxRank) return CUDA_ERROR_INVALID_VALUE;
  if (!multiple(map, 64) || !multiple(tensor, 16)) return CUDA_ERROR_INVALID_VALUE;
  *map = {static_cast<const char*>(tensor), {}, {element}, {}, rank, swizzle};
  for (uint32_t i = 0; i < rank; ++i) {
    const bool strided = i > 0 && element_strides[i] != 1;  // of the first nothing is asked
    if (strided) throw std::runtime_error("only elements without a stride are known here");
    if (sizes[i] == 0 || sizes[i] > uint64_t{1} << 32) return CUDA_ERROR_INVALID_VALUE;
    if (box[i] == 0 || box[i] > 256) return CUDA_ERROR_INVALID_VALUE;
    map->sizes[i] = sizes[i];
    map->box[i] = box[i];
    if (i + 1 == rank) break;
    const bool dense_or_padded = strides[i] >= map->strides[i] * sizes[i];
    if (!dense_or_padded || strides[i] % 16 || strides[i] >> 40) return CUDA_ERROR_INVALID_VALUE;
    map->strides[i + 1] = strides[i];
  }
  const uint64_t inner = box[0] * element;
  if (inner % 16) return CUDA_ERROR_INVALID_VALUE;
  if (swizzle == CU_TENSOR_MAP_SWIZZLE_128B && inner > 128) return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

namespace cuda_on_cpu {

// What lies at these coordinates of a tensor, or zeros.
inline void read_element(const CUtensorMap& map, const int64_t* at, char* to) {
  const char* from = map.tensor;
  bool inside = true;
  for (uint32_t i = 0; i < map.rank; ++i) {
    inside = inside && at[i] >= 0 && uint64_t(at[i]) < map.sizes[i];
    from += at[i] * int64_t(map.strides[i]);
  }
  if (inside)
    std::memcpy(to, from, map.strides[0]);
  else
    std::memset(to, 0, map.strides[0]);
}

// The box from these coordinates on, with the swizzle of 128 bytes: chunk c of 16 bytes of row r
// lies at place c ^ (r % 8). Returns its bytes.
inline int copy_swizzled(const CUtensorMap& map, const int64_t (&corner)[3], char* to) {
  const uint32_t inner = map.box[0] * uint32_t(map.strides[0]);
  if (map.rank != 3 || map.swizzle != CU_TENSOR_MAP_SWIZZLE_128B || inner != 128) {
    throw std::runtime_error("only swizzled boxes of three dimensions, 128 bytes wide, are known");
  }
  const uint32_t rows = map.box[1] * map.box[2];
  for (uint32_t row = 0; row < rows; ++row) {
    for (uint32_t i = 0; i < map.box[0]; ++i) {
      const int64_t at[] = {corner[0] + i, corner[1] + row % map.box[1],
                            corner[2] + row / map.box[1]};
      const uint32_t byte = i * uint32_t(map.strides[0]), chunk = byte / 16;
      read_element(map, at, to + row * inner + (chunk ^ row % 8) * 16 + byte % 16);
    }
  }
  return int(rows * inner);
}

}  // namespace cuda_on_cpu

enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess, cudaDriverEntryPointNotFound };
constexpr unsigned long long cudaEnableDefault = 0;

inline cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                                    unsigned long long,
                                                    cudaDriverEntryPointQueryResult* found) {
  const bool known = std::string(name) == "cuTensorMapEncodeTiled";
  *function = known ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointNotFound;
  return cudaSuccess;
}
