/* Sums over bins of pixels that are shared out: each has runs of neighbouring bins with a weight each, in image order.

   A pixel of eight frames becomes eight doubles, and eight more for the variance; both are added, times w and w^2, to
   the sums of every bin of its runs. For one frame and bin the order of additions is that of the runs, whatever the
   grouping; a frame alone goes the same way with one lane. A second copy of the sums, so that neighbouring pixels need
   not wait for each other, costs more than it gains: bins of about a pixel's width leave the cache too soon. */
#ifndef BATLAB_RUNS_H
#define BATLAB_RUNS_H
#include <string.h>
#include "pixels.h"

#define RUN_TILE 256
#define RUN_GROUP 8

typedef struct {
    ptrdiff_t n_frames, n_pixels, n_bins, n_weights;
    pix_kind kind;
    const void *pixels;
    const char *later; /* the next block of the first frame, or NULL */
    const uint8_t *mask; /* (frame, pixel) or NULL */
    const uint32_t *first;
    const uint16_t *pixel, *length;
    const float *weight;
    const int64_t *run_start, *entry_start;
    const float *weights;
    const uint8_t *powers;
    int of_variance;
    double *sums; /* (bin, signal and variance of eight frames): zero before and after a group */
    double *signal, *variance, *skipped, *skipped_weights; /* of the first frame of the group */
} run_task;

typedef struct {
    pix_keep keep PIX_ALIGNED;
    pix_special special;
    uint8_t is_used[PIX_BLOCK], narrow[RUN_GROUP][PIX_BLOCK] PIX_ALIGNED, mixed[RUN_TILE * RUN_GROUP];
    double value[RUN_GROUP][PIX_BLOCK] PIX_ALIGNED, variance[RUN_GROUP][PIX_BLOCK];
    double tile_value[RUN_TILE * RUN_GROUP] PIX_ALIGNED, tile_variance[RUN_TILE * RUN_GROUP]; /* (pixel, frame) */
    int is_narrow;
} run_block;

typedef double run_vector __attribute__((vector_size(64), aligned(8), may_alias));
typedef double run_half __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t run_words __attribute__((vector_size(32), aligned(8), may_alias));
typedef double run_pair __attribute__((vector_size(16), aligned(8), may_alias));

/* Doubles of one copy of the sums: three bins more than there are: absent ones are written with 0. */
static inline ptrdiff_t run_size(ptrdiff_t n_bins, ptrdiff_t lanes) { return (n_bins + 3) * 2 * lanes; }

static inline ptrdiff_t run_blocks(const run_task *t) { return (t->n_pixels + PIX_BLOCK - 1) / PIX_BLOCK; }

static inline ptrdiff_t run_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Whether all runs of a block stay inside it, the bins and the weights, with pixels in order. */
BATLAB_CLONES static int run_fits(const run_task *t, ptrdiff_t block, ptrdiff_t n) {
    const ptrdiff_t start = t->run_start[block], stop = t->run_start[block + 1];
    const uint32_t n_bins = (uint32_t)t->n_bins;
    const uint16_t highest = (uint16_t)(n - 1);
    uint16_t outside = 0;
    uint32_t bad = 0;
    int64_t total = 0;
    ptrdiff_t r;
    for (r = start; r < stop; r++) outside |= t->pixel[r] > highest;
    for (r = start + 1; r < stop; r++) outside |= t->pixel[r] < t->pixel[r - 1];
    for (r = start; r < stop; r++) bad |= (t->first[r] > n_bins) | (t->length[r] > n_bins - t->first[r]);
    for (ptrdiff_t piece = start; piece < stop; piece += 65536) { /* of which a 32-bit sum cannot overflow */
        uint32_t sum = 0;
        for (r = piece; r < run_least(stop, piece + 65536); r++) sum += t->length[r];
        total += sum;
    }
    return !bad && !outside && total == t->entry_start[block + 1] - t->entry_start[block];
}

BATLAB_CLONES static void run_keep(const run_task *t, run_block *b, ptrdiff_t block, ptrdiff_t n) {
    ptrdiff_t item = pix_item[t->kind.type], i;
    memset(b->is_used, 0, (size_t)n);
    for (ptrdiff_t r = t->run_start[block]; r < t->run_start[block + 1]; r++) b->is_used[t->pixel[r]] = 255;
    if (item == 1) memcpy(b->keep.of1, b->is_used, (size_t)n);
    else if (item == 2) for (i = 0; i < n; i++) b->keep.of2[i] = (uint16_t)-(b->is_used[i] != 0);
    else for (i = 0; i < n; i++) b->keep.of4[i] = -(uint32_t)(b->is_used[i] != 0);
}

/* What the lost pixels of a frame would have weighed. */
static void run_leave_out(const run_task *t, const run_block *b, ptrdiff_t f, ptrdiff_t block) {
    ptrdiff_t r = t->run_start[block], stop = t->run_start[block + 1], entry = t->entry_start[block];
    for (ptrdiff_t j = 0; j < b->special.n_lost; j++) {
        ptrdiff_t i = b->special.lost[j];
        for (; r < stop && t->pixel[r] < i; r++) entry += t->length[r];
        for (; r < stop && t->pixel[r] == i; r++)
            for (ptrdiff_t e = 0; e < t->length[r]; e++, entry++) {
                double w = t->weight[entry];
                ptrdiff_t bin = t->first[r] + e;
                t->skipped[f * t->n_bins + bin] += w;
                for (ptrdiff_t k = 0; k < t->n_weights; k++)
                    t->skipped_weights[(f * t->n_weights + k) * t->n_bins + bin] +=
                        (t->powers[k] == 2 ? w * w : w) * t->weights[k * t->n_pixels + block * PIX_BLOCK + i];
            }
    }
}

/* One frame of a block: a row of bytes if all counts are 0 to 255 and none is lost (then 1), else a row of doubles. */
static int run_row(const run_task *t, run_block *b, ptrdiff_t f, ptrdiff_t block, ptrdiff_t n, const void *v) {
    const uint8_t *mask = t->mask ? t->mask + f * t->n_pixels + block * PIX_BLOCK : NULL;
    int is_narrow = !t->of_variance && pix_narrow(&t->kind, v, &b->keep, n, b->narrow[f]);
    if (is_narrow && !mask && !t->kind.has_narrow_overflow) return 1;
    pix_sift(&t->kind, v, &b->keep, mask, n, &b->special);
    if (is_narrow && b->special.n_lost == 0) return 1;
    run_leave_out(t, b, f, block);
    pix_doubles(&t->kind, v, n, t->of_variance, &b->special, b->value[f], b->variance[f]);
    return 0;
}

BATLAB_CLONES static void run_spread_counts(const uint8_t *restrict counts, double *restrict value, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) value[i] = counts[i];
}

BATLAB_CLONES static void run_spread(const uint8_t *restrict counts, double *restrict value, double *restrict variance,
                                     ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        value[i] = counts[i];
        variance[i] = counts[i] > 1 ? counts[i] : 1;
    }
}

BATLAB_CLONES static void run_mix(const double (*restrict rows)[PIX_BLOCK], ptrdiff_t first, ptrdiff_t n,
                                  double *restrict mixed) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (int k = 0; k < RUN_GROUP; k++) mixed[RUN_GROUP * i + k] = rows[k][first + i];
}

/* Asks for what is needed a block from here: runs, their weights, and the pixels of every frame. */
PIX_INLINE void run_ask(const run_task *t, const uint32_t *first, const uint16_t *pixel, const uint16_t *length,
                        const float *weight) {
    const ptrdiff_t item = pix_item[t->kind.type];
    PIX_ASK(first + PIX_BLOCK);
    PIX_ASK(pixel + PIX_BLOCK);
    PIX_ASK(length + PIX_BLOCK);
    for (int k = 0; k < 3; k++) PIX_ASK(weight + 5 * PIX_BLOCK / 2 + k * PIX_ASKED); /* two to three a run */
    pix_ask(t->later, t->n_frames, t->n_pixels * item, item, *pixel);
}

/* Runs from `r` on, of pixels below `end`; `least` is the number of bins that every run is taken to have: absent ones
   get a weight of 0, which changes no sum and costs less than a branch that cannot be foreseen. Returns the next
   run. */
#define RUN_ADD(NAME, LANES, LEAST, BOTH, ADD)                                                                        \
    BATLAB_CLONES static ptrdiff_t NAME(const run_task *t, const double *restrict value,                              \
                                        const double *restrict variance, double *restrict sums, ptrdiff_t r,          \
                                        ptrdiff_t stop, ptrdiff_t *entry, ptrdiff_t begin, ptrdiff_t end) {           \
        (void)variance;                                                                                               \
        static const double present[4][3] = {{0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {1, 1, 1}};                             \
        const ptrdiff_t last = t->entry_start[run_blocks(t)] - LEAST;                                                 \
        const uint32_t *restrict firsts = t->first;                                                                   \
        const uint16_t *restrict pixels = t->pixel, *restrict lengths = t->length;                                    \
        const float *restrict weights = t->weight;                                                                    \
        ptrdiff_t next = *entry;                                                                                      \
        for (; r < stop && pixels[r] < end; r++) {                                                                    \
            const ptrdiff_t i = pixels[r] - begin, length = lengths[r];                                               \
            const float *weight = weights + next;                                                                     \
            double *at = sums + (ptrdiff_t)firsts[r] * 2 * LANES;                                                     \
            ptrdiff_t e = 0;                                                                                          \
            BOTH                                                                                                      \
            if (LANES > 1 && r % PIX_ASKED == 0) run_ask(t, firsts + r, pixels + r, lengths + r, weight);             \
            if (next <= last) {                                                                                       \
                const double *is_there = present[length < 3 ? length : 3];                                            \
                for (; e < LEAST; e++) {                                                                              \
                    const double w = weight[e] * is_there[e];                                                         \
                    ADD                                                                                               \
                }                                                                                                     \
            }                                                                                                         \
            for (; e < length; e++) {                                                                                 \
                const double w = weight[e];                                                                           \
                ADD                                                                                                   \
            }                                                                                                         \
            next += length;                                                                                           \
        }                                                                                                             \
        *entry = next;                                                                                                \
        return r;                                                                                                     \
    }
#define RUN_BOTH_GROUP                                                                                                \
    const run_vector counts = *(const run_vector *)(value + RUN_GROUP * i);                                           \
    const run_vector squares = *(const run_vector *)(variance + RUN_GROUP * i);
#define RUN_ADD_GROUP                                                                                                 \
    *(run_vector *)(at + 2 * RUN_GROUP * e) += w * counts;                                                            \
    *(run_vector *)(at + 2 * RUN_GROUP * e + RUN_GROUP) += (w * w) * squares;
/* Counts of a narrow block: max(counts, 1) is made here, which is cheaper than to write and read it. In halves: gcc
   compares no vector that is longer than a register. */
#define RUN_BOTH_NARROW                                                                                               \
    const run_vector counts = *(const run_vector *)(value + RUN_GROUP * i);                                           \
    union { run_half half[2]; run_vector whole; } one_or_more;                                                        \
    for (int k = 0; k < 2; k++) {                                                                                     \
        const run_half one = {1, 1, 1, 1}, some = *(const run_half *)(value + RUN_GROUP * i + 4 * k);                 \
        const run_words is_more = (run_words)(some > one);                                                            \
        one_or_more.half[k] = (run_half)(((run_words)some & is_more) | ((run_words)one & ~is_more));                  \
    }                                                                                                                 \
    const run_vector squares = one_or_more.whole;
#define RUN_BOTH_SINGLE const run_pair both = {value[i], variance[i]};
#define RUN_ADD_SINGLE *(run_pair *)(at + 2 * e) += (run_pair){w, w * w} * both;
RUN_ADD(run_add_narrow_2, RUN_GROUP, 2, RUN_BOTH_NARROW, RUN_ADD_GROUP)
RUN_ADD(run_add_narrow_3, RUN_GROUP, 3, RUN_BOTH_NARROW, RUN_ADD_GROUP)
RUN_ADD(run_add_2, RUN_GROUP, 2, RUN_BOTH_GROUP, RUN_ADD_GROUP)
RUN_ADD(run_add_3, RUN_GROUP, 3, RUN_BOTH_GROUP, RUN_ADD_GROUP)
RUN_ADD(run_add_single_2, 1, 2, RUN_BOTH_SINGLE, RUN_ADD_SINGLE)
RUN_ADD(run_add_single_3, 1, 3, RUN_BOTH_SINGLE, RUN_ADD_SINGLE)

static void run_add_block(const run_task *t, run_block *b, ptrdiff_t block, ptrdiff_t n) {
    ptrdiff_t r = t->run_start[block], stop = t->run_start[block + 1], entry = t->entry_start[block];
    int is_long = 5 * (stop - r) < 2 * (t->entry_start[block + 1] - entry);
    if (t->n_frames == 1) {
        if (b->is_narrow) run_spread(b->narrow[0], b->value[0], b->variance[0], n);
        (is_long ? run_add_single_3 : run_add_single_2)(t, b->value[0], b->variance[0], t->sums, r, stop, &entry, 0, n);
        return;
    }
    for (ptrdiff_t first = 0; first < n && r < stop; first += RUN_TILE) {
        ptrdiff_t m = run_least(RUN_TILE, n - first);
        if (b->is_narrow) {
            pix_mix((const uint8_t(*)[PIX_BLOCK])b->narrow, first, m, b->mixed);
            run_spread_counts(b->mixed, b->tile_value, RUN_GROUP * m);
            r = (is_long ? run_add_narrow_3 : run_add_narrow_2)(t, b->tile_value, NULL, t->sums, r, stop, &entry,
                                                                first, first + m);
        } else {
            run_mix((const double(*)[PIX_BLOCK])b->value, first, m, b->tile_value);
            run_mix((const double(*)[PIX_BLOCK])b->variance, first, m, b->tile_variance);
            r = (is_long ? run_add_3 : run_add_2)(t, b->tile_value, b->tile_variance, t->sums, r, stop, &entry, first,
                                                  first + m);
        }
    }
}

/* All frames of a block; where one needs doubles, all get them. */
static void run_load(const run_task *t, run_block *b, ptrdiff_t block, ptrdiff_t n) {
    ptrdiff_t item = pix_item[t->kind.type], first = block * PIX_BLOCK, f;
    int is_narrow[RUN_GROUP];
    b->is_narrow = 1;
    for (f = 0; f < t->n_frames; f++) {
        const char *v = (const char *)t->pixels + (f * t->n_pixels + first) * item;
        is_narrow[f] = run_row(t, b, f, block, n, v);
        b->is_narrow &= is_narrow[f];
    }
    for (f = 0; f < t->n_frames && !b->is_narrow; f++)
        if (is_narrow[f]) run_spread(b->narrow[f], b->value[f], b->variance[f], n);
}

static void run_flush(const run_task *t) {
    ptrdiff_t width = t->n_frames == 1 ? 1 : RUN_GROUP;
    for (ptrdiff_t bin = 0; bin < t->n_bins; bin++)
        for (ptrdiff_t f = 0; f < t->n_frames; f++) {
            const double *at = t->sums + 2 * width * bin + f;
            t->signal[f * t->n_bins + bin] = at[0];
            t->variance[f * t->n_bins + bin] = at[width];
        }
    memset(t->sums, 0, (size_t)run_size(t->n_bins, width) * sizeof(double));
}

static inline ptrdiff_t run_scratch(void) { return (ptrdiff_t)sizeof(run_block) + PIX_LINE; }

static inline ptrdiff_t run_sums(ptrdiff_t n_bins) {
    return run_size(n_bins, RUN_GROUP);
}

/* The task of frames `start` to `stop`; `t` holds what belongs to the first frame and thread. */
static run_task run_part(const run_task *t, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t thread) {
    run_task part = *t;
    part.n_frames = stop - start;
    part.later = NULL;
    if (t->pixels) part.pixels = (const char *)t->pixels + start * t->n_pixels * pix_item[t->kind.type];
    if (t->mask) part.mask = t->mask + start * t->n_pixels;
    part.signal += start * t->n_bins;
    part.variance += start * t->n_bins;
    part.skipped += start * t->n_bins;
    if (t->skipped_weights) part.skipped_weights += start * t->n_weights * t->n_bins;
    part.sums += thread * run_sums(t->n_bins);
    return part;
}

static run_block *run_block_of(uint8_t *scratch, ptrdiff_t thread) {
    return (run_block *)pix_align(scratch + thread * run_scratch());
}

/* 0, or -1 where a run is wrong. */
static int run_group(const run_task *t, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t thread, uint8_t *scratch) {
    run_task group = run_part(t, start, stop, thread);
    run_block *b = run_block_of(scratch, thread);
    int status = 0;
    memset(b, 0, sizeof *b);
    for (ptrdiff_t block = 0; block * PIX_BLOCK < t->n_pixels && status == 0; block++) {
        ptrdiff_t n = run_least(PIX_BLOCK, t->n_pixels - block * PIX_BLOCK);
        if (!run_fits(t, block, n)) status = -1;
        if (status || t->run_start[block] == t->run_start[block + 1]) continue;
        run_keep(t, b, block, n);
        run_load(&group, b, block, n);
        group.later = (const char *)group.pixels + (block * PIX_BLOCK + n) * pix_item[t->kind.type];
        run_add_block(&group, b, block, n);
    }
    run_flush(&group);
    return status;
}
#endif
