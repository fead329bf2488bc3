// CUDA backend of t2engine/ops/step_update.py.
#include "../cuda_ops.h"
#include "check.h"
#include "elements.h"
#include "philox.h"
#include "stored.h"
#include "warp.h"

namespace t2 {
namespace {

constexpr int kWarpsPerBlock = 4;

struct Arguments {
  const int64_t* token;           // [rows]
  int64_t* alive;                 // [rows]
  int64_t* drawn;                 // [rows]
  int64_t* position;              // [rows]
  int64_t* first;                 // [rows]
  int64_t* last;                  // [rows]
  int64_t* drawn_tokens;          // [ring, rows]
  char* hidden;                   // [rows, row_bytes]
  double* uniform;                // [rows]
  const int64_t* max_new_tokens;  // [rows]
  const int64_t* end_set;         // [rows]
  const int64_t* end_bounds;      // [end sets + 1]
  const int64_t* end_ids;         // [any]
  const int64_t* seed;            // [rows]
  const int64_t* prompt;          // [rows]
  const int64_t* sample;          // [rows]
  const char* embed;              // [vocab_size, row_bytes]
  int64_t rows, ring, row_bytes;
};

// Copies a row [row_bytes] by a warp.
template <typename Word>
__device__ void copy_row(char* to, const char* from, int64_t row_bytes, int lane) {
  auto* const words_to = reinterpret_cast<Word*>(to);
  const auto* const words = reinterpret_cast<const Word*>(from);
  const int64_t count = row_bytes / int64_t(sizeof(Word));
#pragma unroll 4
  for (int64_t i = lane; i < count; i += kWarpLanes) words_to[i] = words[i];
}

// Whether `token` ends the row, to all lanes of its warp.
__device__ inline bool is_an_end(const Arguments& a, int64_t row, int64_t token, int lane) {
  const int64_t set = a.end_set[row], stop = a.end_bounds[set + 1];
  bool found = false;
  for (int64_t i = a.end_bounds[set] + lane; i < stop; i += kWarpLanes) {
    found |= a.end_ids[i] == token;
  }
  return __ballot_sync(kAllLanes, found) != 0;
}

// One warp per row: its first lane keeps the row's numbers, all copy its next input.
template <typename Word>  // that rows of embed and hidden are made of
__global__ void __launch_bounds__(kWarpLanes* kWarpsPerBlock)
    step_update_kernel(const Arguments a) {
  const int64_t row = int64_t(blockIdx.x) * kWarpsPerBlock + threadIdx.y;
  const int lane = threadIdx.x;
  if (row >= a.rows || a.alive[row] == 0) return;
  const int64_t token = a.token[row], drawn = a.drawn[row] + 1;
  const bool goes_on = !is_an_end(a, row, token, lane) && drawn != a.max_new_tokens[row];
  __syncwarp();  // every lane has read what the first one writes
  if (lane == 0) {
    const int64_t step = a.last[row];
    a.drawn_tokens[step % a.ring * a.rows + row] = token;
    a.drawn[row] = drawn;
    if (goes_on) {
      a.position[row] += 1;
      a.last[row] = step + 1;
      a.uniform[row] = uniform_of(a.seed[row], a.prompt[row], a.sample[row], drawn);
    } else {
      a.alive[row] = 0;
      a.first[row] = 0;
      a.last[row] = -1;
    }
  }
  if (!goes_on) return;
  copy_row<Word>(a.hidden + row * a.row_bytes, a.embed + token * a.row_bytes, a.row_bytes, lane);
}

}  // namespace

void step_update_cuda(Tensor<const int64_t, 1> token, Tensor<int64_t, 1> alive,
                      Tensor<int64_t, 1> drawn, Tensor<int64_t, 1> position,
                      Tensor<int64_t, 1> first, Tensor<int64_t, 1> last,
                      Tensor<int64_t, 2> drawn_tokens, Stored<2> hidden, Tensor<double, 1> uniform,
                      Tensor<const int64_t, 1> max_new_tokens, Tensor<const int64_t, 1> end_set,
                      Tensor<const int64_t, 1> end_bounds, Tensor<const int64_t, 1> end_ids,
                      Tensor<const int64_t, 1> seed, Tensor<const int64_t, 1> prompt,
                      Tensor<const int64_t, 1> sample, Stored<2> embed, void* stream) {
  const Dtype dtype = common_dtype("step_update", {{"embed", embed}, {"hidden", hidden}});
  const int64_t rows = token.size(0);
  if (rows == 0) return;
  const int64_t row_bytes = embed.size(1) * (dtype == Dtype::kFloat32 ? 4 : 2);
  const Arguments a{token.data,
                    alive.data,
                    drawn.data,
                    position.data,
                    first.data,
                    last.data,
                    drawn_tokens.data,
                    static_cast<char*>(hidden.data),
                    uniform.data,
                    max_new_tokens.data,
                    end_set.data,
                    end_bounds.data,
                    end_ids.data,
                    seed.data,
                    prompt.data,
                    sample.data,
                    static_cast<const char*>(embed.data),
                    rows,
                    drawn_tokens.size(0),
                    row_bytes};
  const bool aligned =
      rows_are_aligned(hidden.data, row_bytes) && rows_are_aligned(embed.data, row_bytes);
  const dim3 block(kWarpLanes, kWarpsPerBlock);
  const auto blocks = unsigned((rows + kWarpsPerBlock - 1) / kWarpsPerBlock);
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  if (aligned) {
    step_update_kernel<uint4><<<blocks, block, 0, cuda_stream>>>(a);
  } else {
    step_update_kernel<uint16_t><<<blocks, block, 0, cuda_stream>>>(a);
  }
  T2_CUDA_CHECK(cudaGetLastError());
}

}  // namespace t2
