// Memory of a task, handed out piece by piece.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "vector_math.h"

namespace t2::T2_ISA {

// Uninitialised floats on a cache line's boundary. A thread keeps a few that it has freed for its
// next tasks: fresh memory costs a page fault for every 4 KiB, more than many a task.
class Scratch {
 public:
  explicit Scratch(int64_t count) {
    std::vector<Buffer>& free = kept();
    for (Buffer& buffer : free) {
      if (buffer.count < count || buffer.count > 4 * count + kSmall) continue;
      buffer_ = std::move(buffer);
      if (&buffer != &free.back()) buffer = std::move(free.back());
      free.pop_back();
      return;
    }
    void* data = ::operator new(count * sizeof(float), kAlignment);
    buffer_ = {std::unique_ptr<float, Free>(static_cast<float*>(data)), count};
  }
  ~Scratch() {
    std::vector<Buffer>& free = kept();
    if (buffer_.count > kLargest) return;
    if (free.size() == kMost) free.erase(free.begin());
    free.push_back(std::move(buffer_));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* take(int64_t count) {
    float* taken = buffer_.data.get() + used_;
    used_ += count;
    return taken;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  static constexpr size_t kMost = 4;
  static constexpr int64_t kSmall = 1 << 16, kLargest = 1 << 21;  // floats: 256 KiB and 8 MiB
  struct Free {
    void operator()(float* data) const { ::operator delete(data, kAlignment); }
  };
  struct Buffer {
    std::unique_ptr<float, Free> data;
    int64_t count = 0;
  };
  static std::vector<Buffer>& kept() {
    static thread_local std::vector<Buffer> buffers;
    return buffers;
  }

  Buffer buffer_;
  int64_t used_ = 0;
};

}  // namespace t2::T2_ISA
