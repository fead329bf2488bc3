#include "wgmma_prefix.h"
#include <stdexcept>
namespace t2 {
void launch_wgmma_prefix(const Problem<Float16>&, cudaStream_t) { throw std::runtime_error("no"); }
void launch_wgmma_prefix(const Problem<Bfloat16>&, cudaStream_t) { throw std::runtime_error("no"); }
}
