/* From the pixels of one frame to a row of the block: bytes where all counts are 0 to 255, else 32-bit words.

   One pass over the pixels writes the bytes and proves that none in use is larger, negative or an overflow value; only
   a block that fails, or is masked in this frame, is looked at again. Pixels never in use may hold anything. */
#ifndef BATLAB_BINNING_VALUES_H
#define BATLAB_BINNING_VALUES_H
#include "binning.h"

#define BIN_PIECE 128 /* pixels looked at one by one where one of them is special */

/* TYPE of the pixels, WORD the unsigned type as wide, KEEP the masks of that width, NEGATIVE a test for signed ones. */
#define BIN_VALUES(NAME, TYPE, WORD, KEEP, NEGATIVE)                                                                  \
    BATLAB_CLONES static int bin_narrow_##NAME(const TYPE *restrict v, const WORD *restrict keep, ptrdiff_t n,        \
                                               uint8_t *restrict row) {                                               \
        WORD seen = 0;                                                                                                \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                           \
            seen |= (WORD)v[i] & keep[i];                                                                             \
            row[i] = (uint8_t)v[i];                                                                                   \
        }                                                                                                             \
        return seen <= 255;                                                                                           \
    }                                                                                                                 \
    BATLAB_CLONES static int bin_special_##NAME(const TYPE *restrict v, const WORD *restrict keep,                    \
                                                const uint8_t *restrict mask, ptrdiff_t n, const TYPE *overflow,      \
                                                ptrdiff_t n_overflow) {                                               \
        WORD found = 0;                                                                                               \
        ptrdiff_t i, k;                                                                                               \
        if (mask)                                                                                                     \
            for (i = 0; i < n; i++) found |= (WORD)-(mask[i] != 0) & keep[i];                                         \
        for (k = 0; k < n_overflow; k++) {                                                                            \
            TYPE limit = overflow[k];                                                                                 \
            for (i = 0; i < n; i++) found |= (WORD)-(v[i] == limit) & keep[i];                                        \
        }                                                                                                             \
        for (i = 0; i < n; i++) found |= (WORD)-(v[i] NEGATIVE) & keep[i];                                            \
        return found != 0;                                                                                            \
    }                                                                                                                 \
    BATLAB_CLONES static uint32_t bin_widen_##NAME(const TYPE *restrict v, const WORD *restrict keep, ptrdiff_t n,    \
                                                   uint32_t *restrict row) {                                          \
        uint32_t seen = 0;                                                                                            \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                           \
            row[i] = (uint32_t)(WORD)(v[i] & keep[i]);                                                                \
            seen |= row[i];                                                                                           \
        }                                                                                                             \
        return seen;                                                                                                  \
    }                                                                                                                 \
    static void bin_clean_##NAME(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t i,          \
                                 ptrdiff_t stop, const TYPE *v, const uint8_t *mask) {                                \
        const TYPE *overflow = (const TYPE *)t->overflow;                                                             \
        for (; i < stop; i++) {                                                                           \
            int is_out = mask && mask[i];                                                                             \
            if (!b->keep.KEEP[i]) continue;                                                                           \
            for (ptrdiff_t k = 0; k < t->n_overflow; k++) is_out |= v[i] == overflow[k];                              \
            if (is_out) bin_leave_out(t, b, f, first + i, i);                                                         \
            else if (v[i] NEGATIVE) bin_add_negative(t, b, f, i, (double)v[i]);                                       \
            else continue;                                                                                            \
            b->wide[f][i] = 0;                                                                                        \
        }                                                                                                             \
    }                                                                                                                 \
    static void bin_row_##NAME(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n,            \
                               const TYPE *v) {                                                                       \
        const uint8_t *mask = t->mask ? t->mask + f * t->n_pixels + first : NULL;                                     \
        uint32_t seen = 0;                                                                                            \
        b->is_narrow[f] = bin_narrow_##NAME(v, b->keep.KEEP, n, b->narrow[f]);                                        \
        if (b->is_narrow[f] && !mask && !t->has_narrow_overflow) return;                                              \
        int is_special = bin_special_##NAME(v, b->keep.KEEP, mask, n, (const TYPE *)t->overflow, t->n_overflow);      \
        if (b->is_narrow[f] && !is_special) return;                                                                   \
        seen = bin_widen_##NAME(v, b->keep.KEEP, n, b->wide[f]);                                                      \
        if (is_special) {                                                                                             \
            for (ptrdiff_t i = 0; i < n; i += BIN_PIECE) {                                                            \
                ptrdiff_t m = n - i < BIN_PIECE ? n - i : BIN_PIECE;                                                  \
                if (bin_special_##NAME(v + i, b->keep.KEEP + i, mask ? mask + i : NULL, m,                            \
                                       (const TYPE *)t->overflow, t->n_overflow))                                     \
                    bin_clean_##NAME(t, b, f, first, i, i + m, v, mask);                                              \
            }                                                                                                         \
            seen = 0;                                                                                                 \
            for (ptrdiff_t i = 0; i < n; i++) seen |= b->wide[f][i];                                                  \
        }                                                                                                             \
        b->is_narrow[f] = seen <= 255;                                                                                \
        if (b->is_narrow[f])                                                                                          \
            for (ptrdiff_t i = 0; i < n; i++) b->narrow[f][i] = (uint8_t)b->wide[f][i];                               \
    }
BIN_VALUES(u1, uint8_t, uint8_t, of1, != v[i])
BIN_VALUES(u2, uint16_t, uint16_t, of2, != v[i])
BIN_VALUES(u4, uint32_t, uint32_t, of4, != v[i])
BIN_VALUES(i2, int16_t, uint16_t, of2, < 0)
BIN_VALUES(i4, int32_t, uint32_t, of4, < 0)

/* Row of one frame from pixels `v`, those of this block; tails are padded with zeros to whole eights. */
static void bin_load_row(const bin_task *t, bin_block *b, ptrdiff_t f, ptrdiff_t first, ptrdiff_t n, const void *v) {
    switch (t->type) {
    case BIN_U1: bin_row_u1(t, b, f, first, n, (const uint8_t *)v); break;
    case BIN_U2: bin_row_u2(t, b, f, first, n, (const uint16_t *)v); break;
    case BIN_U4: bin_row_u4(t, b, f, first, n, (const uint32_t *)v); break;
    case BIN_I2: bin_row_i2(t, b, f, first, n, (const int16_t *)v); break;
    default: bin_row_i4(t, b, f, first, n, (const int32_t *)v); break;
    }
    for (ptrdiff_t i = n; i & (BIN_GROUP - 1); i++) {
        b->narrow[f][i] = 0;
        b->wide[f][i] = 0;
    }
}

static inline void bin_prefetch(const char *p, ptrdiff_t size) {
#if defined(__GNUC__) || defined(__clang__)
    for (ptrdiff_t i = 0; i < size; i += 64) __builtin_prefetch(p + i, 0, 2);
#endif
}

/* A group of at most eight frames of integers; 0, or -1 where a bin does not exist. */
static int bin_integers(const bin_task *t, bin_block *b, ptrdiff_t item) {
    memset(b->narrow, 0, sizeof b->narrow);
    memset(b->wide, 0, sizeof b->wide);
    memset(b->is_corrected, 0, sizeof b->is_corrected);
    b->has_words = b->has_wide_words = 0;
    int status = 0;
    for (ptrdiff_t first = 0; first < t->n_pixels && status == 0; first += BIN_BLOCK) {
        ptrdiff_t n = t->n_pixels - first < BIN_BLOCK ? t->n_pixels - first : BIN_BLOCK;
        ptrdiff_t next = t->n_pixels - first - n < BIN_BLOCK ? t->n_pixels - first - n : BIN_BLOCK;
        int is_used = bin_load_index(t, first, n, b);
        if (is_used < 0) status = -1;
        if (is_used <= 0) continue;
        for (ptrdiff_t f = 0; f < t->n_frames; f++) {
            const char *v = (const char *)t->pixels + (f * t->n_pixels + first) * item;
            bin_prefetch(v + n * item, next * item);
            bin_load_row(t, b, f, first, n, v);
        }
        bin_add_block(t, b, (n + BIN_GROUP - 1) & ~(ptrdiff_t)(BIN_GROUP - 1));
    }
    bin_flush(t, b);
    return status;
}
#endif
