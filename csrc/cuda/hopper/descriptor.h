// How wgmma finds its right operand in shared memory: the PTX ISA's matrix descriptor.
#pragma once

#include <cstdint>

namespace t2 {

// Describes the right operand of group_multiply in warpgroup.h, in shared memory, in panels of rows
// of 128 bytes. Eight rows from a multiple of 1024 bytes on are an atom, in which 16 bytes of row r
// lie at place (their own ^ r). next_panel: bytes from 64 columns to the next 64, where rows are of
// columns.
__device__ inline uint64_t describe(uint32_t address, int next_panel) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kNextAtom = uint64_t{1024 >> 4} << 32;
  return kSwizzle128 | kNextAtom | uint64_t(next_panel >> 4) << 16 | (address & 0x3ffff) >> 4;
}

}  // namespace t2
