// CUDA backend of t2engine/ops/rope_append.py.
#include <stdexcept>

#include "../cuda_ops.h"
#include "check.h"
#include "elements.h"
#include "stored.h"
#include "warp.h"

namespace t2 {
namespace {

constexpr int kWarpsPerBlock = 4;

template <typename T>
struct Arguments {
  T* out;                    // [num_kv_heads, rows, sharers, head_dim]
  const T* qkv;              // [rows, num_heads + 2 num_kv_heads, head_dim]
  const T* bias;             // as a row of qkv, or null
  const T* q_norm;           // [head_dim], or null
  const T* k_norm;           // [head_dim], or null
  const float* cos;          // [positions, half]
  const float* sin;          // [positions, half]
  const int64_t* position;   // [rows]
  const int64_t* time;       // [rows]
  const int64_t* alive;      // [rows]
  const int64_t* row_chunk;  // [ring, rows]
  T* slab_k;                 // [chunks, num_kv_heads, slab_size, head_dim]
  T* slab_v;                 // [chunks, num_kv_heads, slab_size, head_dim]
  int64_t rows, positions, ring, slab_size;
  int num_heads, num_kv_heads, sharers, head_dim, half;
  float eps;
};

// Where a row's newest key goes, of this key head. Only for a row that is alive.
template <typename T>
__device__ T* slot_of(const Arguments<T>& a, T* slab, int64_t row, int kv_head) {
  const int64_t time = a.time[row];
  const int64_t chunk = a.row_chunk[time / a.slab_size % a.ring * a.rows + row];
  return slab +
         ((chunk * a.num_kv_heads + kv_head) * a.slab_size + time % a.slab_size) * a.head_dim;
}

// Where head `head` of a row goes: of the queries, of the keys, or of the values.
template <typename T>
__device__ T* target_of(const Arguments<T>& a, int64_t row, int head) {
  if (head < a.num_heads) {
    const int64_t group = head / a.sharers * a.rows + row;
    return a.out + (group * a.sharers + head % a.sharers) * a.head_dim;
  }
  const int kv_head = head - a.num_heads;
  return kv_head < a.num_kv_heads ? slot_of(a, a.slab_k, row, kv_head)
                                  : slot_of(a, a.slab_v, row, kv_head - a.num_kv_heads);
}

// One warp per (row, head) of qkv; a lane owns pairs of features that rotate together, then
// features that do not rotate. Grid: rows, blocks of heads.
template <typename T>
__global__ void __launch_bounds__(kWarpLanes* kWarpsPerBlock)
    rope_append_kernel(const Arguments<T> a) {
  const int64_t row = blockIdx.x;
  const int head = int(blockIdx.y * kWarpsPerBlock + threadIdx.y), lane = threadIdx.x;
  if (head >= a.num_heads + 2 * a.num_kv_heads) return;
  if (head >= a.num_heads && a.alive[row] == 0) return;
  const bool is_value = head >= a.num_heads + a.num_kv_heads;
  const int half = is_value ? 0 : a.half;

  const T* const from =
      a.qkv + row * a.head_dim * (a.num_heads + 2 * a.num_kv_heads) + int64_t(head) * a.head_dim;
  const T* const bias = a.bias == nullptr ? nullptr : a.bias + int64_t(head) * a.head_dim;
  const T* const norm = is_value ? nullptr : head < a.num_heads ? a.q_norm : a.k_norm;
  const auto biased = [&](int d) {
    return bias == nullptr ? to_float(from[d]) : to_float(from[d]) + to_float(bias[d]);
  };
  float factor = 1;
  if (norm != nullptr) {
    float sum = 0;
    for (int d = lane; d < a.head_dim; d += kWarpLanes) sum = fmaf(biased(d), biased(d), sum);
    factor = rsqrtf(sum_of_warp(sum) / float(a.head_dim) + a.eps);
  }
  const auto scaled = [&](int d) {
    return norm == nullptr ? biased(d) : biased(d) * factor * to_float(norm[d]);
  };

  T* const to = target_of(a, row, head);
  // A row that is not alive may stand anywhere: the bounds keep the read inside the table.
  const int64_t position = max(int64_t(0), min(a.position[row], a.positions - 1)) * int64_t(a.half);
  for (int i = lane; i < half; i += kWarpLanes) {
    const float low = scaled(i), high = scaled(i + half);
    const float cos = a.cos[position + i], sin = a.sin[position + i];
    to[i] = from_float<T>(low * cos - high * sin);
    to[i + half] = from_float<T>(high * cos + low * sin);
  }
  for (int d = 2 * half + lane; d < a.head_dim; d += kWarpLanes) to[d] = from_float<T>(scaled(d));
}

}  // namespace

void rope_append_cuda(Stored<4> out, Stored<2> qkv, Stored<1> bias, Stored<1> q_norm,
                      Stored<1> k_norm, Tensor<const float, 2> cos, Tensor<const float, 2> sin,
                      Tensor<const int64_t, 1> position, Tensor<const int64_t, 1> time,
                      Tensor<const int64_t, 1> alive, Tensor<const int64_t, 2> row_chunk,
                      Stored<4> slab_k, Stored<4> slab_v, float eps, void* stream) {
  const Dtype dtype = common_dtype("rope_append", {{"qkv", qkv},
                                                   {"bias", bias},
                                                   {"q_norm", q_norm},
                                                   {"k_norm", k_norm},
                                                   {"slab_k", slab_k},
                                                   {"slab_v", slab_v},
                                                   {"out", out}});
  const int64_t rows = qkv.size(0);
  if (rows == 0 || qkv.size(1) == 0) return;
  const int num_kv_heads = int(out.size(0)), sharers = int(out.size(2));
  const int num_heads = num_kv_heads * sharers, head_dim = int(out.size(3));
  if (cos.size(0) == 0 && cos.size(1) > 0) {
    throw std::invalid_argument("rope_append: cos and sin must have a row for every position");
  }
  const dim3 block(kWarpLanes, kWarpsPerBlock);
  const int blocks = (num_heads + 2 * num_kv_heads + kWarpsPerBlock - 1) / kWarpsPerBlock;
  with_type(dtype, [&](auto element) {
    using T = decltype(element);
    const auto in = [](Stored<1> x) { return static_cast<const T*>(x.data); };
    const Arguments<T> arguments{static_cast<T*>(out.data),
                                 static_cast<const T*>(qkv.data),
                                 in(bias),
                                 in(q_norm),
                                 in(k_norm),
                                 cos.data,
                                 sin.data,
                                 position.data,
                                 time.data,
                                 alive.data,
                                 row_chunk.data,
                                 static_cast<T*>(slab_k.data),
                                 static_cast<T*>(slab_v.data),
                                 rows,
                                 cos.size(0),
                                 row_chunk.size(0),
                                 slab_k.size(2),
                                 num_heads,
                                 num_kv_heads,
                                 sharers,
                                 head_dim,
                                 int(cos.size(1)),
                                 eps};
    rope_append_kernel<T>
        <<<dim3(unsigned(rows), unsigned(blocks)), block, 0, static_cast<cudaStream_t>(stream)>>>(
            arguments);
  });
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
