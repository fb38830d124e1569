/* LZ4 under hidden names. */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LZ4LIB_VISIBILITY __attribute__((visibility("hidden")))
#pragma GCC visibility push(hidden)
#include "lz4/lz4.c"
#pragma GCC visibility pop
