/* bitshuffle with what every machine of this kind has: SSE2 on x86-64, NEON on arm64, else plain C. */
#define UNSHUFFLE_SUFFIX _portable
#include "unshuffle_build.h"
