// What the .cu files were compiled for; T2_CUDA_ARCHITECTURES comes from CMakeLists.txt.
#include "../cuda_ops.h"

namespace t2 {

std::vector<std::string> cuda_architectures() { return {T2_CUDA_ARCHITECTURES}; }

}  // namespace t2
