/* Rows of a band matrix times the curves of a few frames: each row is one run of weights. */
#ifndef BATLAB_BAND_H
#define BATLAB_BAND_H
#include <stddef.h>
#include "clones.h"

#define BAND_TOGETHER 4
#define BAND_LANES 8
#define BAND_SUM(s) ((((s)[0] + (s)[4]) + ((s)[2] + (s)[6])) + (((s)[1] + (s)[5]) + ((s)[3] + (s)[7])))

/* v: BAND_TOGETHER curves; out: as many, m numbers each. The order of a frame's sums is the same in any company. */
BATLAB_CLONES
static void band_rows(const double *const *v, const ptrdiff_t *first, const ptrdiff_t *start, const double *weights,
                      ptrdiff_t m, double *const *out) {
    for (ptrdiff_t j = 0; j < m; j++) {
        const double *restrict w = weights + start[j];
        const ptrdiff_t n = start[j + 1] - start[j], whole = n - n % BAND_LANES;
        const double *restrict a = v[0] + first[j], *restrict b = v[1] + first[j];
        const double *restrict c = v[2] + first[j], *restrict d = v[3] + first[j];
        double sa[BAND_LANES] = {0}, sb[BAND_LANES] = {0}, sc[BAND_LANES] = {0}, sd[BAND_LANES] = {0};
        double ra = 0.0, rb = 0.0, rc = 0.0, rd = 0.0;
        for (ptrdiff_t t = 0; t < whole; t += BAND_LANES) {
            for (int l = 0; l < BAND_LANES; l++) sa[l] += w[t + l] * a[t + l];
            for (int l = 0; l < BAND_LANES; l++) sb[l] += w[t + l] * b[t + l];
            for (int l = 0; l < BAND_LANES; l++) sc[l] += w[t + l] * c[t + l];
            for (int l = 0; l < BAND_LANES; l++) sd[l] += w[t + l] * d[t + l];
        }
        for (ptrdiff_t t = whole; t < n; t++) {
            ra += w[t] * a[t];
            rb += w[t] * b[t];
            rc += w[t] * c[t];
            rd += w[t] * d[t];
        }
        out[0][j] = ra + BAND_SUM(sa);
        out[1][j] = rb + BAND_SUM(sb);
        out[2][j] = rc + BAND_SUM(sc);
        out[3][j] = rd + BAND_SUM(sd);
    }
}
#endif
