/* Rows of a band matrix times the curves of a few frames: each row is one run of weights. */
#ifndef BATLAB_BAND_H
#define BATLAB_BAND_H
#include <stddef.h>
#include "clones.h"

#define BAND_TOGETHER 8

/* v: BAND_TOGETHER curves of n points; out: as many of m; side: room for n BAND_TOGETHER numbers. The curves are laid
   side by side, so that one weight meets all of them at once; a frame's sum has the same order in any company. */
BATLAB_CLONES
static void band_rows(const double *const *v, ptrdiff_t n, const ptrdiff_t *first, const ptrdiff_t *start,
                      const double *weights, ptrdiff_t m, double *restrict side, double *const *out) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (int f = 0; f < BAND_TOGETHER; f++) side[i * BAND_TOGETHER + f] = v[f][i];
    for (ptrdiff_t j = 0; j < m; j++) {
        const double *restrict w = weights + start[j];
        const double *restrict s = side + first[j] * BAND_TOGETHER;
        const ptrdiff_t length = start[j + 1] - start[j];
        double even[BAND_TOGETHER] = {0}, odd[BAND_TOGETHER] = {0};
        ptrdiff_t t = 0;
        for (; t + 1 < length; t += 2) {
            for (int f = 0; f < BAND_TOGETHER; f++) even[f] += w[t] * s[t * BAND_TOGETHER + f];
            for (int f = 0; f < BAND_TOGETHER; f++) odd[f] += w[t + 1] * s[(t + 1) * BAND_TOGETHER + f];
        }
        if (t < length)
            for (int f = 0; f < BAND_TOGETHER; f++) even[f] += w[t] * s[t * BAND_TOGETHER + f];
        for (int f = 0; f < BAND_TOGETHER; f++) out[f][j] = even[f] + odd[f];
    }
}
#endif
