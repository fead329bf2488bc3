// The same unit as amx.
#pragma once

#include "../amx/code_tile.h"
