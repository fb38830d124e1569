/* Sums over bins for up to eight frames at a time, block by block; pixels are in image order.

   A pixel of eight frames becomes one vector of eight 32-bit words, value + (value == 0) << 20, which is added to the
   words of its bin: sum and number of zeros at once. `owner` keeps bins below 4096 pixels, so nothing spills. Where a
   value exceeds 255 the words have 64 bits. Integer sums are exact: grouping and order of frames change no bit. */
#ifndef BATLAB_BINNING_H
#define BATLAB_BINNING_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "pixels.h"

#define BIN_BLOCK PIX_BLOCK /* the eight narrow rows of a block and their index fit a first-level cache */
#define BIN_TILE 256   /* pixels spread into words at a time */
#define BIN_GROUP 8    /* frames */
#define BIN_SINGLE 2   /* words of a bin where a frame is alone: neighbouring pixels take turns */
#define BIN_ZERO 20    /* 4095 * 255 < 2^20 */
#define BIN_ZERO_WIDE 48
#define BIN_FEW 16384  /* internal bins: below, neighbouring pixels get words of their own and need not wait */

typedef struct {
    ptrdiff_t n_frames, n_pixels, n_internal, n_bins, n_weights;
    pix_kind kind;
    const void *pixels;   /* (frame, pixel) */
    const char *later;    /* the next block of the first frame, or NULL */
    const uint8_t *mask;  /* (frame, pixel) or NULL */
    const void *bins;     /* (pixel,) of index_size bytes */
    ptrdiff_t index_size;
    const int32_t *owner; /* (n_internal,) */
    const float *weights; /* (weight, pixel) */
    int of_variance;
    uint32_t *words;      /* (copy, internal bin and the spare one, 8): zero before and after a group */
    uint64_t *wide_words; /* likewise */
    double *sums;         /* (internal bin and the spare one, 8): of floats */
    double *signal, *variance, *skipped, *skipped_weights; /* of the first frame of the group; zero before */
} bin_task;

typedef struct {
    uint32_t offset[BIN_BLOCK] PIX_ALIGNED, scale; /* of the words of a pixel's bin: scale times the bin */
    pix_keep keep PIX_ALIGNED;
    pix_special special; /* of one frame */
    uint8_t narrow[BIN_GROUP][BIN_BLOCK] PIX_ALIGNED;
    uint8_t mixed[BIN_BLOCK * BIN_GROUP] PIX_ALIGNED; /* (pixel, frame) */
    uint32_t wide[BIN_GROUP][BIN_BLOCK];
    uint32_t spread[BIN_TILE * BIN_GROUP] PIX_ALIGNED;
    uint64_t wide_spread[BIN_TILE * BIN_GROUP] PIX_ALIGNED;
    double value[BIN_BLOCK] PIX_ALIGNED, variance[BIN_BLOCK]; /* of one frame of floats */
    int is_corrected[BIN_GROUP], is_narrow[BIN_GROUP], has_words, has_wide_words;
} bin_block;

typedef uint32_t bin_vector __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint64_t bin_wide_vector __attribute__((vector_size(64), aligned(8), may_alias));

static inline ptrdiff_t bin_copies(const bin_task *t) { return t->n_internal < BIN_FEW ? 2 : 1; }

/* Offsets and keep of a block, padded to whole eights with the spare bin. Returns whether any pixel is in use, or -1
   where a bin does not exist. */
#define BIN_INDEX(NAME, TYPE)                                                                                         \
    BATLAB_CLONES static int NAME(const TYPE *restrict bins, ptrdiff_t n, uint32_t spare, bin_block *restrict b,      \
                                  ptrdiff_t item, uint32_t scale) {                                                   \
        TYPE lowest = (TYPE)-1, highest = 0;                                                                          \
        ptrdiff_t i;                                                                                                  \
        for (i = 0; i < n; i++) lowest = bins[i] < lowest ? bins[i] : lowest;                                         \
        for (i = 0; i < n; i++) highest = bins[i] > highest ? bins[i] : highest;                                      \
        for (i = 0; i < n; i++) b->offset[i] = scale * (uint32_t)bins[i];                                             \
        for (; i & (BIN_GROUP - 1); i++) b->offset[i] = scale * spare;                                                \
        if (item == 1) for (i = 0; i < n; i++) b->keep.of1[i] = (uint8_t)-(bins[i] != spare);                         \
        else if (item == 2) for (i = 0; i < n; i++) b->keep.of2[i] = (uint16_t)-(bins[i] != spare);                   \
        else for (i = 0; i < n; i++) b->keep.of4[i] = -(uint32_t)(bins[i] != spare);                                  \
        return highest > spare ? -1 : lowest < spare;                                                                 \
    }
BIN_INDEX(bin_index_2, uint16_t)
BIN_INDEX(bin_index_4, uint32_t)

static int bin_load_index(const bin_task *t, ptrdiff_t first, ptrdiff_t n, bin_block *b) {
    uint32_t spare = (uint32_t)t->n_internal;
    const ptrdiff_t item = pix_item[t->kind.type];
    b->scale = t->n_frames == 1 && t->kind.type < PIX_F4 ? BIN_SINGLE : BIN_GROUP;
    if (t->index_size == 2) return bin_index_2((const uint16_t *)t->bins + first, n, spare, b, item, b->scale);
    return bin_index_4((const uint32_t *)t->bins + first, n, spare, b, item, b->scale);
}

/* What the lost pixels of a frame would have weighed. */
static void bin_leave_out(const bin_task *t, const bin_block *b, ptrdiff_t f, ptrdiff_t first) {
    for (ptrdiff_t j = 0; j < b->special.n_lost; j++) {
        ptrdiff_t i = b->special.lost[j], bin = t->owner[b->offset[i] / b->scale];
        t->skipped[f * t->n_bins + bin] += 1;
        for (ptrdiff_t k = 0; k < t->n_weights; k++)
            t->skipped_weights[(f * t->n_weights + k) * t->n_bins + bin] += t->weights[k * t->n_pixels + first + i];
    }
}

/* Special pixels stand as 0 in a row, which gives them a variance of one; put right what that makes wrong. */
static void bin_correct(const bin_task *t, bin_block *b, ptrdiff_t f, const void *v) {
    const pix_special *s = &b->special;
    for (ptrdiff_t j = 0; j < s->n_lost; j++) {
        b->wide[f][s->lost[j]] = 0;
        t->variance[f * t->n_bins + t->owner[b->offset[s->lost[j]] / b->scale]] -= !t->of_variance;
    }
    for (ptrdiff_t j = 0; j < s->n_negative; j++) {
        ptrdiff_t i = s->negative[j], at = f * t->n_bins + t->owner[b->offset[i] / b->scale];
        double value = t->kind.type == PIX_I2 ? ((const int16_t *)v)[i] : ((const int32_t *)v)[i];
        b->wide[f][i] = 0;
        t->signal[at] += value;
        if (t->of_variance) t->variance[at] += value;
    }
    b->is_corrected[f] = 1;
}

BATLAB_CLONES static int bin_renarrow(const uint32_t *restrict wide, ptrdiff_t n, uint8_t *restrict narrow) {
    uint32_t seen = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        seen |= wide[i];
        narrow[i] = (uint8_t)wide[i];
    }
    return seen <= 255;
}

/* Row of one frame from the pixels `v` of this block: bytes where all counts are 0 to 255, else 32-bit words. */
static void bin_load_row(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n, const void *v) {
    const uint8_t *mask = t->mask ? t->mask + f * t->n_pixels + first : NULL;
    ptrdiff_t i;
    b->is_narrow[f] = pix_narrow(&t->kind, v, &b->keep, n, b->narrow[f]);
    if (!b->is_narrow[f] || mask || t->kind.has_narrow_overflow) {
        int is_special = pix_sift(&t->kind, v, &b->keep, mask, n, &b->special);
        if (!b->is_narrow[f] || is_special) {
            pix_widen(&t->kind, v, &b->keep, n, b->wide[f]);
            if (is_special) {
                bin_leave_out(t, b, f, first);
                bin_correct(t, b, f, v);
                b->is_narrow[f] = bin_renarrow(b->wide[f], n, b->narrow[f]);
            }
        }
    }
    for (i = n; i & (BIN_GROUP - 1); i++) {
        b->narrow[f][i] = 0;
        b->wide[f][i] = 0;
    }
}

BATLAB_CLONES static void bin_spread(const uint8_t *restrict mixed, uint32_t *restrict words, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t value = mixed[i];
        words[i] = value == 0 ? (uint32_t)1 << BIN_ZERO : value;
    }
}

BATLAB_CLONES static void bin_spread_wide(const uint32_t (*restrict rows)[BIN_BLOCK], uint64_t *restrict words,
                                          ptrdiff_t first, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (int k = 0; k < BIN_GROUP; k++) {
            uint64_t value = rows[k][first + i];
            words[BIN_GROUP * i + k] = value == 0 ? (uint64_t)1 << BIN_ZERO_WIDE : value;
        }
}

/* n is a multiple of eight; odd pixels go to the second copy of the words, where there is one. `start` is where they
   stand in their block. */
#define BIN_ADD(NAME, TYPE, VECTOR)                                                                                   \
    BATLAB_CLONES static void NAME(const bin_task *t, const TYPE *restrict spread, const uint32_t *restrict offset,   \
                                   TYPE *restrict words, ptrdiff_t second, ptrdiff_t start, ptrdiff_t n) {            \
        const ptrdiff_t item = pix_item[t->kind.type], frame = t->n_pixels * item;                                    \
        for (ptrdiff_t q = 0; q < n; q += PIX_ASKED) {                                                                \
            const ptrdiff_t stop = n - q < PIX_ASKED ? n : q + PIX_ASKED;                                             \
            pix_ask(t->later, t->n_frames, frame, item, start + q);                                                   \
            for (ptrdiff_t i = q; i < stop; i += 2) {                                                                 \
                *(VECTOR *)(words + offset[i]) += *(const VECTOR *)(spread + BIN_GROUP * i);                          \
                *(VECTOR *)(words + second + offset[i + 1]) += *(const VECTOR *)(spread + BIN_GROUP * (i + 1));       \
            }                                                                                                         \
        }                                                                                                             \
    }
BIN_ADD(bin_add_words, uint32_t, bin_vector)
BIN_ADD(bin_add_wide_words, uint64_t, bin_wide_vector)

/* One frame alone: `spread` has a word a pixel. */
#define BIN_ADD_SINGLE(NAME, TYPE)                                                                                    \
    static void NAME(const TYPE *restrict spread, const uint32_t *restrict offset, TYPE *restrict words,              \
                     ptrdiff_t n) {                                                                                   \
        for (ptrdiff_t i = 0; i < n; i += BIN_GROUP)                                                                  \
            for (int k = 0; k < BIN_GROUP; k++) words[(size_t)offset[i + k] + (k & 1)] += spread[i + k];              \
    }
BIN_ADD_SINGLE(bin_add_single, uint32_t)
BIN_ADD_SINGLE(bin_add_single_wide, uint64_t)

BATLAB_CLONES static void bin_spread_single_wide(const uint32_t *restrict row, uint64_t *restrict words, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) words[i] = row[i] == 0 ? (uint64_t)1 << BIN_ZERO_WIDE : row[i];
}

/* A frame alone in one pass, without rows or offsets: 1, or 0 where a count in use is above 255 and nothing was added,
   or -1 where a bin does not exist. The second loop is scalar: pixels of one bin must wait for each other. */
#define BIN_ALONE(NAME, TYPE)                                                                                         \
    BATLAB_CLONES static int bin_see_##NAME(const TYPE *restrict v, const uint16_t *restrict bins, uint32_t spare,    \
                                            uint32_t *restrict spread, ptrdiff_t n) {                                 \
        uint32_t seen = 0, highest = 0;                                                                               \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                           \
            const uint32_t bin = bins[i], value = (uint32_t)v[i] & -(uint32_t)(bin != spare);                         \
            highest = bin > highest ? bin : highest;                                                                  \
            seen |= value;                                                                                            \
            spread[i] = value | (uint32_t)(value == 0) << BIN_ZERO;                                                   \
        }                                                                                                             \
        return highest > spare ? -1 : seen <= 255;                                                                    \
    }
BIN_ALONE(1, uint8_t)
BIN_ALONE(2, uint16_t)
BIN_ALONE(4, uint32_t)

static int bin_alone(const bin_task *t, bin_block *b, ptrdiff_t first, ptrdiff_t n) {
    const uint16_t *restrict bins = (const uint16_t *)t->bins + first;
    const uint32_t spare = (uint32_t)t->n_internal, *restrict spread = b->spread;
    const ptrdiff_t item = pix_item[t->kind.type];
    const void *v = (const char *)t->pixels + first * item;
    uint32_t *restrict words = t->words;
    int is_done = item == 1   ? bin_see_1((const uint8_t *)v, bins, spare, b->spread, n)
                  : item == 2 ? bin_see_2((const uint16_t *)v, bins, spare, b->spread, n)
                              : bin_see_4((const uint32_t *)v, bins, spare, b->spread, n);
    if (is_done != 1) return is_done;
    ptrdiff_t q = 0, i;
    for (; q + PIX_ASKED <= n; q += PIX_ASKED) {
        PIX_ASK((const char *)v + (n + q) * item);
        PIX_ASK(bins + n + q);
        for (i = q; i < q + PIX_ASKED; i += 2) {
            words[BIN_SINGLE * (size_t)bins[i]] += spread[i];
            words[BIN_SINGLE * (size_t)bins[i + 1] + 1] += spread[i + 1];
        }
    }
    for (i = q; i < n; i++) words[BIN_SINGLE * (size_t)bins[i]] += spread[i];
    b->has_words = 1;
    return 1;
}

/* Rows of the block, narrow or wide, to the words of their bins. */
static void bin_add_block(const bin_task *t, bin_block *b, ptrdiff_t n) {
    ptrdiff_t second = (bin_copies(t) - 1) * (t->n_internal + 1) * BIN_GROUP, q, f, i;
    int is_narrow = 1;
    for (f = 0; f < t->n_frames; f++) is_narrow &= b->is_narrow[f];
    b->has_words |= is_narrow;
    b->has_wide_words |= !is_narrow;
    if (is_narrow && t->n_frames == 1) {
        bin_spread(b->narrow[0], b->spread, n);
        bin_add_single(b->spread, b->offset, t->words, n);
    } else if (is_narrow) {
        pix_mix((const uint8_t(*)[PIX_BLOCK])b->narrow, 0, n, b->mixed);
        for (q = 0; q < n; q += BIN_TILE) {
            ptrdiff_t m = n - q < BIN_TILE ? n - q : BIN_TILE;
            bin_spread(b->mixed + BIN_GROUP * q, b->spread, BIN_GROUP * m);
            bin_add_words(t, b->spread, b->offset + q, t->words, second, q, m);
        }
    } else {
        for (f = 0; f < t->n_frames; f++)
            if (b->is_narrow[f])
                for (i = 0; i < n; i++) b->wide[f][i] = b->narrow[f][i];
        if (t->n_frames == 1) {
            bin_spread_single_wide(b->wide[0], b->wide_spread, n);
            bin_add_single_wide(b->wide_spread, b->offset, t->wide_words, n);
        } else
            for (q = 0; q < n; q += BIN_TILE) {
                ptrdiff_t m = n - q < BIN_TILE ? n - q : BIN_TILE;
                bin_spread_wide((const uint32_t(*)[BIN_BLOCK])b->wide, b->wide_spread, q, m);
                bin_add_wide_words(t, b->wide_spread, b->offset + q, t->wide_words, second, q, m);
            }
    }
}

/* Add sum and number of zeros of one internal bin, for each lane; leaves the words zero. */
#define BIN_TAKE(NAME, TYPE, ZERO)                                                                                    \
    static inline void NAME(TYPE *words, ptrdiff_t width, int64_t *sum, int64_t *zeros) {                             \
        for (ptrdiff_t k = 0; k < width; k++) {                                                                       \
            TYPE word = words[k];                                                                                     \
            sum[k] += (int64_t)(word & (((TYPE)1 << ZERO) - 1));                                                      \
            zeros[k] += (int64_t)(word >> ZERO);                                                                      \
            words[k] = 0;                                                                                             \
        }                                                                                                             \
    }
BIN_TAKE(bin_take, uint32_t, BIN_ZERO)
BIN_TAKE(bin_take_wide, uint64_t, BIN_ZERO_WIDE)

/* From the words of all internal bins to the sums of their owners; the words are zero again afterwards. */
BATLAB_CLONES static void bin_flush(const bin_task *t, const bin_block *b) {
    ptrdiff_t width = t->n_frames == 1 ? BIN_SINGLE : BIN_GROUP, copies = t->n_frames == 1 ? 1 : bin_copies(t);
    ptrdiff_t size = (t->n_internal + 1) * width, i = 0, f, k;
    while (i < t->n_internal) {
        int64_t sum[BIN_GROUP] = {0}, zeros[BIN_GROUP] = {0};
        ptrdiff_t owner = t->owner[i];
        do {
            for (k = 0; k < copies; k++) {
                if (b->has_words) bin_take(t->words + k * size + i * width, width, sum, zeros);
                if (b->has_wide_words) bin_take_wide(t->wide_words + k * size + i * width, width, sum, zeros);
            }
            i++;
        } while (i < t->n_internal && t->owner[i] == owner);
        if (t->n_frames == 1) {
            sum[0] += sum[1];
            zeros[0] += zeros[1];
        }
        for (f = 0; f < t->n_frames; f++) {
            ptrdiff_t at = f * t->n_bins + owner;
            double signal = (double)sum[f], variance = signal + (t->of_variance ? 0.0 : (double)zeros[f]);
            /* Read only what was written before: fresh zero pages stay untouched until here. */
            t->signal[at] = b->is_corrected[f] ? t->signal[at] + signal : signal;
            t->variance[at] = b->is_corrected[f] ? t->variance[at] + variance : variance;
        }
    }
    for (k = 1; k <= copies; k++) {
        if (b->has_words) memset(t->words + k * size - width, 0, (size_t)width * sizeof(uint32_t));
        if (b->has_wide_words) memset(t->wide_words + k * size - width, 0, (size_t)width * sizeof(uint64_t));
    }
}
#endif
