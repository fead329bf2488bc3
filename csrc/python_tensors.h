// Part of binding.cpp: views of torch tensors, read through their Python attributes, so that no
// torch is needed to build.
#pragma once

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "ops.h"
#include "tensor.h"

namespace t2 {

namespace py = pybind11;

// Two types for one view, so that a CPU function cannot be handed device memory.
template <typename T, int Rank>
struct Host : Tensor<T, Rank> {};
template <typename T, int Rank>
struct Device : Tensor<T, Rank> {};
template <int Rank>
struct DeviceStored : Stored<Rank> {};

template <typename T>
constexpr const char* kDtypeName = "";
template <>
constexpr const char* kDtypeName<float> = "float32";
template <>
constexpr const char* kDtypeName<double> = "float64";
template <>
constexpr const char* kDtypeName<int32_t> = "int32";
template <>
constexpr const char* kDtypeName<int64_t> = "int64";

// torch.float32 and its like, looked up once: dtypes are singletons and compare by identity.
template <typename T>
const py::object& torch_dtype() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> dtype;
  return dtype
      .call_once_and_store_result(
          [] { return py::object(py::module_::import("torch").attr(kDtypeName<T>)); })
      .get_stored();
}

// The attributes read of every tensor, as interned strings: a call reads a dozen of them.
struct Names {
  py::str data_ptr = intern("data_ptr"), shape = intern("shape"), dtype = intern("dtype"),
          is_cpu = intern("is_cpu"), is_cuda = intern("is_cuda"),
          is_contiguous = intern("is_contiguous"), codes = intern("codes"),
          scales = intern("scales");

  static py::str intern(const char* name) {
    return py::reinterpret_steal<py::str>(PyUnicode_InternFromString(name));
  }
};

inline const Names& names() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Names> stored;
  return stored.call_once_and_store_result([] { return Names(); }).get_stored();
}

inline py::object call_method(py::handle object, const py::str& name) {
  PyObject* result = PyObject_CallMethodObjArgs(object.ptr(), name.ptr(), nullptr);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

template <typename T, int Rank>
bool read_tensor(py::handle source, Tensor<T, Rank>& view, const char* device,
                 const py::str& is_device) {
  using Plain = std::remove_const_t<T>;
  if (!py::hasattr(source, names().data_ptr)) return false;
  const py::tuple shape = py::getattr(source, names().shape);
  const py::object dtype = py::getattr(source, names().dtype);
  if (dtype.ptr() != torch_dtype<Plain>().ptr() || shape.size() != Rank ||
      !py::getattr(source, is_device).cast<bool>() ||
      !call_method(source, names().is_contiguous).cast<bool>()) {
    throw py::type_error("expected a dense " + std::string(kDtypeName<Plain>) + " tensor of " +
                         std::to_string(Rank) + " dimensions (" + device + "), got " +
                         std::string(py::str(dtype)) + " " + std::string(py::str(shape)) + " on " +
                         std::string(py::str(source.attr("device"))));
  }
  view.data = reinterpret_cast<T*>(call_method(source, names().data_ptr).cast<uintptr_t>());
  for (int dim = 0; dim < Rank; ++dim) view.sizes[dim] = shape[dim].template cast<int64_t>();
  return true;
}

// The same for memory of any type that is stored.
constexpr std::array<std::pair<const char*, Dtype>, 4> kStoredDtypes{{
    {"float32", Dtype::kFloat32},
    {"bfloat16", Dtype::kBfloat16},
    {"float16", Dtype::kFloat16},
    {"int8", Dtype::kInt8},
}};

inline const std::array<py::object, kStoredDtypes.size()>& stored_dtypes() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<
      std::array<py::object, kStoredDtypes.size()>>
      dtypes;
  return dtypes
      .call_once_and_store_result([] {
        std::array<py::object, kStoredDtypes.size()> found;
        for (size_t i = 0; i < found.size(); ++i) {
          found[i] = py::module_::import("torch").attr(kStoredDtypes[i].first);
        }
        return found;
      })
      .get_stored();
}

template <int Rank>
bool read_stored(py::handle source, Stored<Rank>& view, const char* device,
                 const py::str& is_device) {
  if (!py::hasattr(source, names().data_ptr)) return false;
  const py::tuple shape = py::getattr(source, names().shape);
  const py::object dtype = py::getattr(source, names().dtype);
  const auto& known = stored_dtypes();
  size_t which = 0;
  while (which < known.size() && known[which].ptr() != dtype.ptr()) ++which;
  if (which == known.size() || shape.size() != Rank ||
      !py::getattr(source, is_device).cast<bool>() ||
      !call_method(source, names().is_contiguous).cast<bool>()) {
    throw py::type_error("expected a dense float32, bfloat16, float16 or int8 tensor of " +
                         std::to_string(Rank) + " dimensions (" + device + "), got " +
                         std::string(py::str(dtype)) + " " + std::string(py::str(shape)) + " on " +
                         std::string(py::str(source.attr("device"))));
  }
  view.data = reinterpret_cast<void*>(call_method(source, names().data_ptr).cast<uintptr_t>());
  view.dtype = kStoredDtypes[which].second;
  for (int dim = 0; dim < Rank; ++dim) view.sizes[dim] = shape[dim].template cast<int64_t>();
  return true;
}

template <int Rank>
bool read_vectors(py::handle source, VectorStore<Rank>& store) {
  const bool quantized = py::hasattr(source, names().codes);
  py::object data =
      quantized ? py::getattr(source, names().codes) : py::reinterpret_borrow<py::object>(source);
  if (!read_stored(data, store.data, "cpu", names().is_cpu)) return false;
  store.scales = nullptr;
  if (quantized != (store.data.dtype == Dtype::kInt8) || store.data.dtype == Dtype::kFloat16) {
    throw py::type_error("vectors are stored as float32, bfloat16, or int8 codes with scales");
  }
  if (!quantized) return true;
  Tensor<float, Rank - 1> scales;
  if (!read_tensor(py::getattr(source, names().scales), scales, "cpu", names().is_cpu)) {
    return false;
  }
  if (!std::equal(scales.sizes, scales.sizes + Rank - 1, store.data.sizes)) {
    throw py::type_error("scales must be one for each vector of codes");
  }
  store.scales = scales.data;
  return true;
}

}  // namespace t2

namespace pybind11::detail {

template <int Rank>
struct type_caster<t2::Stored<Rank>> {
  PYBIND11_TYPE_CASTER(t2::Stored<Rank>, const_name("Tensor"));
  bool load(handle source, bool) {
    return t2::read_stored(source, value, "cpu", t2::names().is_cpu);
  }
};

template <int Rank>
struct type_caster<t2::DeviceStored<Rank>> {
  PYBIND11_TYPE_CASTER(t2::DeviceStored<Rank>, const_name("Tensor"));
  bool load(handle source, bool) {
    return t2::read_stored(source, value, "cuda", t2::names().is_cuda);
  }
};

// A tensor, or codes and their scales: t2engine.ops.QuantizedVectors.
template <int Rank>
struct type_caster<t2::VectorStore<Rank>> {
  PYBIND11_TYPE_CASTER(t2::VectorStore<Rank>, const_name("Vectors"));
  bool load(handle source, bool) { return t2::read_vectors(source, value); }
};

template <typename T, int Rank>
struct type_caster<t2::Host<T, Rank>> {
  using View = t2::Host<T, Rank>;
  PYBIND11_TYPE_CASTER(View, const_name("Tensor"));
  bool load(handle source, bool) {
    return t2::read_tensor(source, value, "cpu", t2::names().is_cpu);
  }
};

template <typename T, int Rank>
struct type_caster<t2::Device<T, Rank>> {
  using View = t2::Device<T, Rank>;
  PYBIND11_TYPE_CASTER(View, const_name("Tensor"));
  bool load(handle source, bool) {
    return t2::read_tensor(source, value, "cuda", t2::names().is_cuda);
  }
};

}  // namespace pybind11::detail
