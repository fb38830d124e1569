/* Rows of a band matrix times the curves of a few frames: each row is one run of weights. */
#ifndef BATLAB_BAND_H
#define BATLAB_BAND_H
#include <stddef.h>
#include "clones.h"

#define BAND_TOGETHER 4
#define BAND_LANES 8

/* v: BAND_TOGETHER curves; out: as many, m numbers each. The order of the sums is that of one frame alone. */
BATLAB_CLONES
static void band_rows(const double *const *v, const ptrdiff_t *first, const ptrdiff_t *start, const double *weights,
                      ptrdiff_t m, double *const *out) {
    const double *v0 = v[0], *v1 = v[1], *v2 = v[2], *v3 = v[3];
    for (ptrdiff_t j = 0; j < m; j++) {
        const double *restrict w = weights + start[j];
        const ptrdiff_t n = start[j + 1] - start[j], whole = n - n % BAND_LANES;
        const double *restrict a = v0 + first[j], *restrict b = v1 + first[j];
        const double *restrict c = v2 + first[j], *restrict d = v3 + first[j];
        double s[BAND_TOGETHER][BAND_LANES] = {{0}}, sums[BAND_TOGETHER];
        for (ptrdiff_t t = 0; t < whole; t += BAND_LANES)
            for (int l = 0; l < BAND_LANES; l++) {
                s[0][l] += w[t + l] * a[t + l];
                s[1][l] += w[t + l] * b[t + l];
                s[2][l] += w[t + l] * c[t + l];
                s[3][l] += w[t + l] * d[t + l];
            }
        for (ptrdiff_t t = whole; t < n; t++) {
            s[0][t - whole] += w[t] * a[t];
            s[1][t - whole] += w[t] * b[t];
            s[2][t - whole] += w[t] * c[t];
            s[3][t - whole] += w[t] * d[t];
        }
        for (int f = 0; f < BAND_TOGETHER; f++) {
            for (int l = 0; l < 4; l++) s[f][l] += s[f][l + 4];
            sums[f] = (s[f][0] + s[f][2]) + (s[f][1] + s[f][3]);
            out[f][j] = sums[f];
        }
    }
}
#endif
