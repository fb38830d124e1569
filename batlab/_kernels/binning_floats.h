/* Sums of one frame of real numbers: doubles, four lanes by pixel position, so that order never depends on grouping. */
#ifndef BATLAB_BINNING_FLOATS_H
#define BATLAB_BINNING_FLOATS_H
#include <math.h>
#include "binning.h"

#define BIN_FLOATS(NAME, TYPE)                                                                                        \
    BATLAB_CLONES static int bin_special_##NAME(const TYPE *restrict v, const uint32_t *restrict keep,                \
                                                const uint8_t *restrict mask, ptrdiff_t n, const TYPE *overflow,      \
                                                ptrdiff_t n_overflow) {                                               \
        uint32_t found = 0;                                                                                           \
        ptrdiff_t i, k;                                                                                               \
        if (mask)                                                                                                     \
            for (i = 0; i < n; i++) found |= -(uint32_t)(mask[i] != 0) & keep[i];                                     \
        for (k = 0; k < n_overflow; k++) {                                                                            \
            TYPE limit = overflow[k];                                                                                 \
            for (i = 0; i < n; i++) found |= -(uint32_t)(v[i] == limit) & keep[i];                                    \
        }                                                                                                             \
        for (i = 0; i < n; i++) found |= -(uint32_t)!(v[i] - v[i] == 0) & keep[i];                                    \
        return found != 0;                                                                                            \
    }                                                                                                                 \
    static void bin_clean_##NAME(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n,          \
                                 const TYPE *v, const uint8_t *mask, double *value, double *variance) {               \
        const TYPE *overflow = (const TYPE *)t->overflow;                                                             \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                           \
            int is_out = !(v[i] - v[i] == 0) || (mask && mask[i]);                                                    \
            for (ptrdiff_t k = 0; k < t->n_overflow; k++) is_out |= v[i] == overflow[k];                              \
            if (!is_out) continue;                                                                                    \
            value[i] = variance[i] = 0;                                                                               \
            if (b->keep.of4[i]) bin_leave_out(t, b, f, first + i, i);                                                 \
        }                                                                                                             \
    }                                                                                                                 \
    BATLAB_CLONES static void bin_convert_##NAME(const TYPE *restrict v, ptrdiff_t n, int of_variance,                \
                                                 double *restrict value, double *restrict variance) {                 \
        for (ptrdiff_t i = 0; i < n; i++) value[i] = v[i];                                                            \
        /* max(v, 1) without a branch; a NaN gets 1 and is cleaned. */                                                \
        if (of_variance) for (ptrdiff_t i = 0; i < n; i++) variance[i] = value[i];                                    \
        else for (ptrdiff_t i = 0; i < n; i++) variance[i] = value[i] > 1 ? value[i] : 1;                             \
    }                                                                                                                 \
    static void bin_row_##NAME(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n,            \
                               const TYPE *v, double *value, double *variance) {                                      \
        const uint8_t *mask = t->mask ? t->mask + f * t->n_pixels + first : NULL;                                     \
        bin_convert_##NAME(v, n, t->of_variance, value, variance);                                                    \
        if (bin_special_##NAME(v, b->keep.of4, mask, n, (const TYPE *)t->overflow, t->n_overflow))                    \
            bin_clean_##NAME(t, b, f, first, n, v, mask, value, variance);                                            \
    }
BIN_FLOATS(f4, float)
BIN_FLOATS(f8, double)

/* Value and variance of the pixels of one frame in a block; 0 and 0 where a pixel in use is left out. */
static void bin_load_doubles(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n, const void *v,
                             double *value, double *variance) {
    if (t->type == BIN_F4) bin_row_f4(t, b, f, first, n, (const float *)v, value, variance);
    else bin_row_f8(t, b, f, first, n, (const double *)v, value, variance);
}

typedef double bin_pair __attribute__((vector_size(16), aligned(8), may_alias));

/* Four lanes of (sum, variance) a bin, or one where there are very many bins. */
BATLAB_CLONES static void bin_add_pairs(const double *restrict value, const double *restrict variance,
                                        const uint32_t *restrict offset, double *restrict sums, int is_few,
                                        ptrdiff_t n) {
    if (is_few)
        for (ptrdiff_t i = 0; i < n; i++)
            *(bin_pair *)(sums + offset[i] + 2 * (i & 3)) += (bin_pair){value[i], variance[i]};
    else
        for (ptrdiff_t i = 0; i < n; i++) *(bin_pair *)(sums + offset[i] / 4) += (bin_pair){value[i], variance[i]};
}

/* From the lanes of all internal bins to the sums of their owners; the lanes are zero again afterwards. */
static void bin_flush_pairs(const bin_task *t, ptrdiff_t f, int is_few) {
    ptrdiff_t i = 0, k, width = is_few ? 8 : 2;
    while (i < t->n_internal) {
        double sum = 0, variance = 0;
        ptrdiff_t owner = t->owner[i];
        do {
            for (k = 0; k < width; k += 2) {
                sum += t->sums[width * i + k];
                variance += t->sums[width * i + k + 1];
            }
            i++;
        } while (i < t->n_internal && t->owner[i] == owner);
        t->signal[f * t->n_bins + owner] = sum;
        t->variance[f * t->n_bins + owner] = variance;
    }
    memset(t->sums, 0, (size_t)((t->n_internal + 1) * width) * sizeof(double));
}

/* A group of frames of real numbers, one after the other; 0, or -1 where a bin does not exist. */
static int bin_reals(const bin_task *t, bin_block *b, ptrdiff_t item) {
    int is_few = t->n_internal < BIN_FEW;
    for (ptrdiff_t f = 0; f < t->n_frames; f++) {
        for (ptrdiff_t first = 0; first < t->n_pixels; first += BIN_BLOCK) {
            ptrdiff_t n = t->n_pixels - first < BIN_BLOCK ? t->n_pixels - first : BIN_BLOCK;
            int is_used = bin_load_index(t, first, n, b);
            if (is_used < 0) return -1;
            if (is_used == 0) continue;
            bin_load_doubles(t, b, f, first, n, (const char *)t->pixels + (f * t->n_pixels + first) * item, b->value,
                             b->variance);
            bin_add_pairs(b->value, b->variance, b->offset, t->sums, is_few, n);
        }
        bin_flush_pairs(t, f, is_few);
    }
    return 0;
}
#endif
