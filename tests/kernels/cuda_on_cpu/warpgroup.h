// Takes the place of csrc/cuda/hopper/warpgroup.h: the same functions, as the PTX ISA describes the
// instructions. Products read their operands and write their sums as late as they may, or at once,
// and so do copies of boxes; or they are slow. Setting numbers of registers does nothing.
#pragma once

#include <cuda.h>

#include <map>

#include "../ptx.h"

namespace cuda_on_cpu {

// A phase completes with its last arrival and its last byte, and the next begins.
struct Barrier {
  int count, pending, phase, bytes;  // bytes: expected, but for those that have come
  unsigned maker;
  bool fenced;  // copies know of it

  void come(int arrivals, int more_bytes) {
    pending -= arrivals;
    bytes += more_bytes;
    if (pending < 0) throw std::runtime_error("more arrivals than a barrier counts");
    if (std::abs(bytes) >= 1 << 20) throw std::runtime_error("more bytes than a barrier counts");
    if (pending > 0 || bytes != 0) return;
    pending = count;
    ++phase;
  }
};
inline std::map<uint32_t, Barrier> barriers;

inline Barrier& barrier_at(uint32_t address) {
  if (address % 8) throw std::runtime_error("misaligned barrier");
  return barriers.at(address);
}

inline void expect_fenced() {
  if (running->unfenced) throw std::runtime_error("shared memory announced without a fence");
}

// Threads of a block that wait for each other: those of this phase that have come.
struct Meeting {
  int come, phase;
};
inline Meeting meetings[16];

// An operand B in shared memory, by its descriptor: bits 0-13 start address, 16-29 leading and
// 32-45 stride byte offset, all without their last four bits; 49-51 base offset; 62-63 swizzle.
struct Descriptor {
  uint64_t bits;

  uint32_t field(int first) const { return uint32_t(bits >> first & 0x3fff) << 4; }

  void check() const {
    if (bits >> 62 != 1) throw std::runtime_error("only the 128-byte swizzle is known here");
    if (bits >> 49 & 7) throw std::runtime_error("a base offset is not known here");
  }

  // The canonical layouts of 16-bit elements, in bytes. K-major: ((8, n), k) at ((128, stride), 2).
  // N-major: ((64, n), (8, k)) at ((2, leading), (128, stride)). Then the swizzle: bits 4 to 6 of
  // the address are combined with bits 7 to 9.
  uint16_t element(unsigned k, unsigned n, bool n_major) const {
    const uint32_t k_major_at = n % 8 * 128 + n / 8 * field(32) + 2 * k;
    const uint32_t n_major_at = n % 64 * 2 + n / 64 * field(16) + k % 8 * 128 + k / 8 * field(32);
    const uint32_t at = field(0) + (n_major ? n_major_at : k_major_at);
    return element_of(at_shared(at ^ (at >> 7 & 7) << 4), 0);
  }
};

// What one thread has of a product, and how it makes it together with its warp.
struct Product {
  const uint32_t* a;
  std::function<void(unsigned turn)> add;
};
inline std::vector<std::vector<Product>> products(1024);  // of each fiber, not yet made

inline void make(const Product& product) {
  const unsigned turn = meet([&](Lane& lane, unsigned at) {
    for (unsigned i = 0; i < 4; ++i) lane.words[at][i] = product.a[i];
  });
  product.add(turn);
}

}  // namespace cuda_on_cpu

namespace t2 {

inline void barrier_init(uint32_t barrier, int count) {
  cuda_on_cpu::barriers[barrier] = {count, count, 0, 0, cuda_on_cpu::running->number, false};
}

inline void barrier_arrive(uint32_t barrier) {
  cuda_on_cpu::expect_fenced();
  cuda_on_cpu::barrier_at(barrier).come(1, 0);
}

inline void barrier_expect(uint32_t barrier, int bytes) {
  cuda_on_cpu::expect_fenced();
  cuda_on_cpu::barrier_at(barrier).come(1, bytes);
}

inline void barrier_wait(uint32_t barrier, int parity) {
  const auto done = [=] { return cuda_on_cpu::barrier_at(barrier).phase % 2 != parity; };
  cuda_on_cpu::wait_until(done);
  // Some threads go on late: the others may not count on them.
  const bool late =
      !cuda_on_cpu::settings.copies_land_early && cuda_on_cpu::settings.order() % 64 == 0;
  if (late) cuda_on_cpu::pause(cuda_on_cpu::settings.order() % 64);
}

inline void copy_box(uint32_t to, const CUtensorMap& map, int column, int row, int head,
                     uint32_t barrier) {
  using namespace cuda_on_cpu;
  if (to % 1024) throw std::runtime_error("misaligned box");
  if (!barrier_at(barrier).fenced) throw std::runtime_error("a barrier without a fence");
  const auto land = [=] {
    const int64_t corner[] = {column, row, head};
    barrier_at(barrier).come(0, -copy_swizzled(map, corner, at_shared(to)));
  };
  if (settings.copies_land_early) return land();
  const bool slow = settings.order() % 2;
  flights.push_back({slow ? turn + settings.order() % 128 : UINT64_MAX, land});
}

inline void store_zeros(uint32_t address) {
  if (address % 16) throw std::runtime_error("misaligned store");
  std::memset(cuda_on_cpu::at_shared(address), 0, 16);
  cuda_on_cpu::running->unfenced = true;
}

inline void fence_for_products() {
  cuda_on_cpu::running->unfenced = false;
  for (auto& [address, barrier] : cuda_on_cpu::barriers) {
    if (barrier.maker == cuda_on_cpu::running->number) barrier.fenced = true;
  }
}

template <int kNumber, int kThreads>
void sync_threads() {
  cuda_on_cpu::expect_fenced();
  cuda_on_cpu::Meeting& meeting = cuda_on_cpu::meetings[kNumber];
  if (++meeting.come == kThreads) {
    meeting = {0, meeting.phase + 1};
    return;
  }
  const int phase = meeting.phase;
  cuda_on_cpu::wait_until([&meeting, phase] { return meeting.phase != phase; });
}

template <int kRegisters>
void raise_registers() {}
template <int kRegisters>
void lower_registers() {}

template <typename... Operands>
void products_begin(Operands&...) {
  cuda_on_cpu::wait_for(cuda_on_cpu::Wait::kWarpgroup);
}

template <int kTiles>
void products_end(float (&)[kTiles][4]) {
  cuda_on_cpu::wait_for(cuda_on_cpu::Wait::kWarpgroup);
  auto& open = cuda_on_cpu::products[cuda_on_cpu::running->number];
  for (const cuda_on_cpu::Product& product : open) cuda_on_cpu::make(product);
  open.clear();
}

// D: element i of a thread (of N / 2) at row g of the warp's sixteen, or g + 8 for i % 4 >= 2, and
// column i / 4 * 8 + 2 t + i % 2. A: as in mma.m16n8k16.
template <typename T, bool kByRows, int kTiles>
void group_multiply(float (&sum)[kTiles][4], const uint32_t (&a)[4], uint64_t b, bool add) {
  using namespace cuda_on_cpu;
  const Descriptor descriptor{b};
  descriptor.check();
  float (*const to)[4] = sum;
  const auto multiply = [=](unsigned turn) {
    const unsigned group = lane_number() / 4, place = lane_number() % 4;
    float left[2][16];
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned half = 0; half < 2; ++half) {
        left[half][k] = element_of_a<T>(group + 8 * half, k, turn);
      }
    }
    for (unsigned tile = 0; tile < kTiles; ++tile) {
      for (unsigned i = 0; i < 4; ++i) {
        float value = add ? to[tile][i] : 0;
        for (unsigned k = 0; k < 16; ++k) {
          const uint16_t right = descriptor.element(k, tile * 8 + 2 * place + i % 2, kByRows);
          value += left[i / 2][k] * to_float(T{right});
        }
        to[tile][i] = value;
      }
    }
  };
  const Product product{a, multiply};
  if (settings.copies_land_early) {
    make(product);
  } else {
    products[running->number].push_back(product);
  }
}

}  // namespace t2
