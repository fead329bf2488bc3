// AMX whose unit also multiplies matrices of bfloat16. Products with weights in 16 bits are made
// there, of exact parts, and have bits of their own.
#pragma once

#include "../amx/registers.h"

namespace t2::amxbf16 {

inline bool supported() { return has_tiles(kTileUnit | kTilesOfBytes | kTilesOfBfloat16); }

}  // namespace t2::amxbf16
