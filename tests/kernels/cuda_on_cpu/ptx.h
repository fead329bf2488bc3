// Takes the place of csrc/cuda/ptx.h: the same functions, as the PTX ISA describes the
// instructions. A warp's fibers meet at each, leave what the others read of them, and meet again
// only at the next: two places take turns, so that nobody overwrites what is still being read.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstring>
#include <type_traits>

#include "../tensor.h"

namespace cuda_on_cpu {

// Shared memory's own addresses start where nothing is aligned to more than an address must be.
constexpr uint32_t kSharedBase = 16;

inline uint32_t shared_address(const void* at) {
  const auto offset = static_cast<const char*>(at) - reinterpret_cast<const char*>(t2::shared);
  return kSharedBase + uint32_t(offset);
}
inline char* at_shared(uint32_t address) {
  return reinterpret_cast<char*>(t2::shared) + address - kSharedBase;
}

// What a fiber leaves for its warp.
struct Lane {
  std::array<uint32_t, 6> words[2];
  const void* row[2];
  unsigned turn = 0;
};
inline std::vector<Lane> lanes(1024);

// The lane `other` of the running fiber's warp.
inline Lane& lane_of(unsigned other) {
  return lanes[running->number / kWarpSize * kWarpSize + other];
}
inline unsigned lane_number() { return running->number % kWarpSize; }

// All lanes have left their part once this returns; in which of the two places.
template <typename Leave>
unsigned meet(const Leave& leave) {
  Lane& lane = lane_of(lane_number());
  const unsigned turn = lane.turn++ % 2;
  leave(lane, turn);
  wait_for(Wait::kWarp);
  return turn;
}

template <typename T>
float element(uint32_t word, unsigned half) {
  return t2::to_float(T{uint16_t(word >> 16 * half)});
}

inline uint16_t element_of(const void* row, unsigned column) {
  uint16_t bits;
  std::memcpy(&bits, static_cast<const char*>(row) + 2 * column, 2);
  return bits;
}

// ldmatrix .m8n8.x4: lanes 8 i to 8 i + 7 name the rows of matrix i. Thread T gets the elements
// 2 T and 2 T + 1 of each, counted row by row, or column by column when transposed.
inline void ldmatrix(uint32_t (&to)[4], const void* from, bool transposed) {
  if (shared_address(from) % 16) throw std::runtime_error("misaligned row of a matrix");
  const unsigned turn = meet([&](Lane& lane, unsigned at) { lane.row[at] = from; });
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    uint32_t word = 0;
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned number = 2 * lane_number() + i, major = number / 8, minor = number % 8;
      const unsigned row = transposed ? minor : major, column = transposed ? major : minor;
      word |= uint32_t{element_of(lane_of(8 * matrix + row).row[turn], column)} << 16 * i;
    }
    to[matrix] = word;
  }
}

// A of mma.m16n8k16: element i of a thread (two to a register) is at row g, or g + 8 for i of 2, 3,
// 6, 7, and column 2 t + i % 2, 8 further for i >= 4; g is the group of four, t the place in it.
template <typename T>
float element_of_a(unsigned row, unsigned column, unsigned turn) {
  const unsigned thread = row % 8 * 4 + column % 8 / 2;
  const unsigned i = column / 8 * 4 + row / 8 * 2 + column % 2;
  return element<T>(lane_of(thread).words[turn][i / 2], i % 2);
}

// B: row 2 t + i % 2, 8 further for i >= 2; column g.
template <typename T>
float element_of_b(unsigned row, unsigned column, unsigned turn) {
  const unsigned thread = column * 4 + row % 8 / 2, i = row / 8 * 2 + row % 2;
  return element<T>(lane_of(thread).words[turn][4 + i / 2], i % 2);
}

}  // namespace cuda_on_cpu

namespace t2 {

inline uint32_t shared_address(const void* at) { return cuda_on_cpu::shared_address(at); }

inline float exp2_fast(float x) { return std::exp2(x); }

template <typename T>
uint32_t pack(float low, float high) {
  const auto bits = [](float x) -> uint32_t {
    if constexpr (std::is_same_v<T, Bfloat16>)
      return to_bfloat16(x).bits;
    else
      return to_float16(x).bits;
  };
  return bits(low) | bits(high) << 16;
}

inline void load_matrices(uint32_t (&to)[4], const void* row) {
  cuda_on_cpu::ldmatrix(to, row, false);
}
inline void load_transposed(uint32_t (&to)[4], const void* row) {
  cuda_on_cpu::ldmatrix(to, row, true);
}

// C and D: element i at row g, g + 8 for i >= 2, and column 2 t + i % 2.
template <typename T>
void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  using namespace cuda_on_cpu;
  const unsigned turn =
      meet([&](Lane& lane, unsigned at) { lane.words[at] = {a[0], a[1], a[2], a[3], b0, b1}; });
  const unsigned group = lane_number() / 4, place = lane_number() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = group + i / 2 * 8, column = 2 * place + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      sum[i] += element_of_a<T>(row, k, turn) * element_of_b<T>(k, column, turn);
    }
  }
}

}  // namespace t2
