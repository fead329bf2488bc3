// AVX-512 beside a unit that multiplies matrices of bytes (AMX).
#pragma once

#include "registers.h"

namespace t2::amx {

inline bool supported() { return has_tiles(kTileUnit | kTilesOfBytes); }

}  // namespace t2::amx
