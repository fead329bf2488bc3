// This instruction set's entry in instruction_sets().
#include "ops.h"

namespace t2::T2_ISA {

InstructionSet entry(const char* name) {
  static const CpuOps ops{
      merge_states,
      linear,
      product,
      pack_weight,
      rms_norm,
      layer_norm,
      rotary_embedding,
      silu_mul,
      gelu,
      hadamard,
      prefill_attention,
      tree_attention,
      shared_prefix_attention,
      store_vectors,
      sample_tokens,
      philox_uniform,
      &decoder_ops(),
  };
  return {name, supported(), &ops};
}

}  // namespace t2::T2_ISA
