/* Sums over bins of the frames of one thread, whatever the type of their pixels. */
#ifndef BATLAB_AZIMUTHAL_H
#define BATLAB_AZIMUTHAL_H
#include "binning.h"

static inline ptrdiff_t bin_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static void bin_start(bin_block *b) {
    memset(b->narrow, 0, sizeof b->narrow);
    memset(b->wide, 0, sizeof b->wide);
    memset(b->is_corrected, 0, sizeof b->is_corrected);
    b->has_words = b->has_wide_words = 0;
}

/* A group of at most eight frames of integers; 0, or -1 where a bin does not exist. */
static int bin_integers(bin_task *t, bin_block *b) {
    ptrdiff_t item = pix_item[t->kind.type];
    int is_used = 0, is_plain = t->n_frames == 1 && t->index_size == 2 && !t->mask && !t->kind.has_narrow_overflow;
    bin_start(b);
    for (ptrdiff_t first = 0; first < t->n_pixels && is_used >= 0; first += BIN_BLOCK) {
        ptrdiff_t n = bin_least(BIN_BLOCK, t->n_pixels - first);
        if (is_plain && (is_used = bin_alone(t, b, first, n)) != 0) continue;
        is_used = bin_load_index(t, first, n, b);
        if (is_used <= 0) continue;
        for (ptrdiff_t f = 0; f < t->n_frames; f++) {
            const char *v = (const char *)t->pixels + (f * t->n_pixels + first) * item;
            bin_load_row(t, b, f, first, n, v);
        }
        t->later = (const char *)t->pixels + (first + n) * item;
        bin_add_block(t, b, (n + BIN_GROUP - 1) & ~(ptrdiff_t)(BIN_GROUP - 1));
    }
    bin_flush(t, b);
    return is_used < 0 ? -1 : 0;
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

static void bin_real_row(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n, const void *v,
                         int is_few) {
    pix_sift(&t->kind, v, &b->keep, t->mask ? t->mask + f * t->n_pixels + first : NULL, n, &b->special);
    bin_leave_out(t, b, f, first);
    pix_doubles(&t->kind, v, n, t->of_variance, &b->special, b->value, b->variance);
    bin_add_pairs(b->value, b->variance, b->offset, t->sums, is_few, n);
}

/* A group of frames of real numbers, one after the other; 0, or -1 where a bin does not exist. Doubles are added in
   four lanes by the position of the pixel, so that their order does not depend on the grouping. */
static int bin_reals(const bin_task *t, bin_block *b) {
    ptrdiff_t item = pix_item[t->kind.type];
    int is_few = t->n_internal < BIN_FEW;
    for (ptrdiff_t f = 0; f < t->n_frames; f++) {
        for (ptrdiff_t first = 0; first < t->n_pixels; first += BIN_BLOCK) {
            ptrdiff_t n = bin_least(BIN_BLOCK, t->n_pixels - first);
            int is_used = bin_load_index(t, first, n, b);
            if (is_used < 0) return -1;
            if (is_used) bin_real_row(t, b, f, first, n, (const char *)t->pixels + (f * t->n_pixels + first) * item,
                                      is_few);
        }
        bin_flush_pairs(t, f, is_few);
    }
    return 0;
}

/* Bytes of scratch of a thread; `words`, `wide_words` and `sums` (numbers a thread) stand apart, zero at first. */
static inline ptrdiff_t bin_scratch(void) { return (ptrdiff_t)sizeof(bin_block) + PIX_LINE; }

static inline ptrdiff_t bin_words(const bin_task *t) { return bin_copies(t) * (t->n_internal + 1) * BIN_GROUP; }

/* The task of frames `start` to `stop`; `t` holds what belongs to the first frame and thread. */
static bin_task bin_part(const bin_task *t, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t thread) {
    bin_task part = *t;
    part.n_frames = stop - start;
    part.later = NULL;
    if (t->pixels) part.pixels = (const char *)t->pixels + start * t->n_pixels * pix_item[t->kind.type];
    if (t->mask) part.mask = t->mask + start * t->n_pixels;
    part.signal += start * t->n_bins;
    part.variance += start * t->n_bins;
    part.skipped += start * t->n_bins;
    if (t->skipped_weights) part.skipped_weights += start * t->n_weights * t->n_bins;
    if (t->kind.type >= PIX_F4) part.sums += thread * (t->n_internal + 1) * BIN_GROUP;
    else {
        part.words += thread * bin_words(t);
        part.wide_words += thread * bin_words(t);
    }
    return part;
}

static bin_block *bin_block_of(uint8_t *scratch, ptrdiff_t thread) {
    return (bin_block *)pix_align(scratch + thread * bin_scratch());
}

static int bin_group(const bin_task *t, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t thread, uint8_t *scratch) {
    bin_task group = bin_part(t, start, stop, thread);
    bin_block *block = bin_block_of(scratch, thread);
    return t->kind.type < PIX_F4 ? bin_integers(&group, block) : bin_reals(&group, block);
}
#endif
