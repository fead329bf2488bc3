// The prefix part of slab_attention.cu in 16-bit types on Hopper alone, by wgmma: compiled apart,
// for other devices cannot assemble it.
#pragma once

#include <cuda_runtime.h>

#include "../../tensor.h"
#include "../attention_problem.h"

namespace t2 {

// Items of 128 queries; head_dim is 64 or 128, prefix_k and prefix_v start at multiples of 16
// bytes.
void launch_wgmma_prefix(const Problem<Float16>& p, cudaStream_t stream);
void launch_wgmma_prefix(const Problem<Bfloat16>& p, cudaStream_t stream);

}  // namespace t2
