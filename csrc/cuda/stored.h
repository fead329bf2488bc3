// The type of a call's stored arguments, found when it runs: which instance of a kernel it takes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <initializer_list>
#include <stdexcept>
#include <string>

#include "../tensor.h"

namespace t2 {

inline const char* name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      return "float32";
    case Dtype::kBfloat16:
      return "bfloat16";
    case Dtype::kFloat16:
      return "float16";
    default:
      return "int8";
  }
}

struct StoredArgument {
  const char* name;
  Dtype dtype;
  bool there;

  template <int Rank>
  StoredArgument(const char* name, const Stored<Rank>& x)
      : name(name), dtype(x.dtype), there(x.data != nullptr) {}
};

// The type that all of them have. The first is always there.
inline Dtype common_dtype(const char* op, std::initializer_list<StoredArgument> arguments) {
  const StoredArgument& first = *arguments.begin();
  for (const StoredArgument& argument : arguments) {
    if (argument.there && argument.dtype != first.dtype) {
      throw std::invalid_argument(std::string(op) + ": " + argument.name + " must be " +
                                  name_of(first.dtype) + ", as " + first.name + " is, got " +
                                  name_of(argument.dtype));
    }
  }
  if (first.dtype == Dtype::kInt8) {
    throw std::invalid_argument(std::string(op) + ": " + first.name +
                                " must be float32, bfloat16 or float16 on CUDA, got int8");
  }
  return first.dtype;
}

// Calls function(an element of that type).
template <typename Function>
void with_type(Dtype dtype, Function function) {
  switch (dtype) {
    case Dtype::kBfloat16:
      return function(__nv_bfloat16{});
    case Dtype::kFloat16:
      return function(__half{});
    default:
      return function(float{});
  }
}

}  // namespace t2
