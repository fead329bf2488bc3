// Part of the binding: the native step's model and caches as Python objects. They keep the tensors
// that they borrow.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "decoder.h"

namespace t2 {

struct NativeDecoder {
  const DecoderOps* ops;
  Decoder model;
  pybind11::object kept;  // every tensor of the model
  pybind11::object rotary;
};

struct NativeCache {
  std::vector<LayerCache> layers;
  pybind11::object kept;
};

// parts: the model's sizes and tensors, by the names of csrc/decoder.h.
std::unique_ptr<NativeDecoder> make_decoder(const CpuOps& ops, const pybind11::dict& parts);

void set_rotary(NativeDecoder& native, const pybind11::object& cos, const pybind11::object& sin);

// layers: a tuple (prefix_k, prefix_v, suffix_k, suffix_v) each, of pairs (data, scales).
std::unique_ptr<NativeCache> make_cache(const pybind11::list& layers);

}  // namespace t2
