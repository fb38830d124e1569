/* A group of frames of one thread, whatever the type of its pixels. */
#ifndef BATLAB_AZIMUTHAL_H
#define BATLAB_AZIMUTHAL_H
#include "binning_floats.h"
#include "binning_values.h"

static const ptrdiff_t bin_item[] = {1, 2, 4, 2, 4, 4, 8};

/* Bytes of scratch of a thread; `words`, `wide_words` and `sums` (numbers a thread) stand apart, zero at first. */
static inline ptrdiff_t bin_scratch(void) { return (ptrdiff_t)sizeof(bin_block) + 64; }

static inline ptrdiff_t bin_words(const bin_task *t) { return bin_copies(t) * (t->n_internal + 1) * BIN_GROUP; }

/* Frames `start` to `stop` of all; `t` holds what belongs to the first frame and the first thread. */
static int bin_group(const bin_task *t, ptrdiff_t start, ptrdiff_t stop, ptrdiff_t thread, uint8_t *scratch) {
    bin_task group = *t;
    bin_block *block = (bin_block *)(((uintptr_t)(scratch + thread * bin_scratch()) + 63) & ~(uintptr_t)63);
    ptrdiff_t item = bin_item[t->type];
    group.n_frames = stop - start;
    group.pixels = (const char *)t->pixels + start * t->n_pixels * item;
    if (t->mask) group.mask = t->mask + start * t->n_pixels;
    group.signal += start * t->n_bins;
    group.variance += start * t->n_bins;
    group.skipped += start * t->n_bins;
    if (t->skipped_weights) group.skipped_weights += start * t->n_weights * t->n_bins;
    group.words += thread * bin_words(t);
    group.wide_words += thread * bin_words(t);
    group.sums += thread * (t->n_internal + 1) * BIN_GROUP;
    return t->type < BIN_F4 ? bin_integers(&group, block, item) : bin_reals(&group, block, item);
}
#endif
