/* What a kernel asks of the pixels of one frame in one block, whatever their type: are all counts in use 0 to 255, is
   any special (left out or negative), which; and the values as bytes, 32-bit words or doubles.

   `keep` has all bits set where a pixel is in use; what the others hold never matters. Plain loops, which vectorise. */
#ifndef BATLAB_PIXELS_H
#define BATLAB_PIXELS_H
#include <stddef.h>
#include <stdint.h>
#include "clones.h"

#define PIX_BLOCK 2048
#define PIX_PIECE 128 /* pixels looked at one by one where one of them is special */

/* A vector must not lie across two cache lines: that halves the speed of the sums. */
#define PIX_LINE 64
#if defined(__GNUC__) || defined(__clang__)
#define PIX_ALIGNED __attribute__((aligned(PIX_LINE)))
#else
#define PIX_ALIGNED
#endif

static inline void *pix_align(const void *p) {
    return (void *)(((uintptr_t)p + PIX_LINE - 1) & ~(uintptr_t)(PIX_LINE - 1));
}

enum { PIX_U1, PIX_U2, PIX_U4, PIX_I2, PIX_I4, PIX_F4, PIX_F8 };
static const ptrdiff_t pix_item[] = {1, 2, 4, 2, 4, 4, 8};

typedef union {
    uint8_t of1[PIX_BLOCK];
    uint16_t of2[PIX_BLOCK];
    uint32_t of4[PIX_BLOCK];
} pix_keep;

typedef struct {
    int type, has_narrow_overflow; /* the last: one of 0 to 255 */
    const void *overflow;
    ptrdiff_t n_overflow;
} pix_kind;

/* Pixels of a block that are left out, and those below zero, in image order. */
typedef struct {
    ptrdiff_t n_lost, n_negative;
    uint16_t lost[PIX_BLOCK], negative[PIX_BLOCK];
} pix_special;

/* WORD: the width of `keep`; ODD: a test for negative counts, or for NaN and infinities, which are left out. */
#define PIX_ANY(NAME, TYPE, WORD, KEEP, ODD, ODD_IS_LOST)                                                             \
    BATLAB_CLONES static int pix_find_##NAME(const pix_kind *k, const TYPE *restrict v, const WORD *restrict keep,    \
                                             const uint8_t *restrict mask, ptrdiff_t n) {                             \
        const TYPE *overflow = (const TYPE *)k->overflow;                                                             \
        WORD found = 0;                                                                                               \
        ptrdiff_t i, j;                                                                                               \
        if (mask)                                                                                                     \
            for (i = 0; i < n; i++) found |= (WORD)-(mask[i] != 0) & keep[i];                                         \
        for (j = 0; j < k->n_overflow; j++) {                                                                         \
            TYPE limit = overflow[j];                                                                                 \
            for (i = 0; i < n; i++) found |= (WORD)-(v[i] == limit) & keep[i];                                        \
        }                                                                                                             \
        for (i = 0; i < n; i++) found |= (WORD)-(ODD(v[i])) & keep[i];                                                \
        return found != 0;                                                                                            \
    }                                                                                                                 \
    static void pix_sift_##NAME(const pix_kind *k, const TYPE *v, const pix_keep *all, const uint8_t *mask,           \
                                ptrdiff_t n, pix_special *special) {                                                  \
        const TYPE *overflow = (const TYPE *)k->overflow;                                                             \
        const WORD *keep = all->KEEP;                                                                                 \
        special->n_lost = special->n_negative = 0;                                                                    \
        if (!pix_find_##NAME(k, v, keep, mask, n)) return;                                                            \
        for (ptrdiff_t first = 0; first < n; first += PIX_PIECE) {                                                    \
            ptrdiff_t stop = n - first < PIX_PIECE ? n : first + PIX_PIECE;                                           \
            if (!pix_find_##NAME(k, v + first, keep + first, mask ? mask + first : NULL, stop - first)) continue;     \
            for (ptrdiff_t i = first; i < stop; i++) {                                                                \
                int is_lost = (mask && mask[i]) || (ODD_IS_LOST && (ODD(v[i])));                                      \
                for (ptrdiff_t j = 0; j < k->n_overflow; j++) is_lost |= v[i] == overflow[j];                         \
                if (!keep[i]) continue;                                                                               \
                if (is_lost) special->lost[special->n_lost++] = (uint16_t)i;                                          \
                else if (ODD(v[i])) special->negative[special->n_negative++] = (uint16_t)i;                           \
            }                                                                                                         \
        }                                                                                                             \
    }                                                                                                                 \
    BATLAB_CLONES static void pix_doubles_##NAME(const TYPE *restrict v, ptrdiff_t n, int of_variance,                \
                                                 double *restrict value, double *restrict variance) {                 \
        for (ptrdiff_t i = 0; i < n; i++) value[i] = (double)v[i];                                                    \
        if (of_variance)                                                                                              \
            for (ptrdiff_t i = 0; i < n; i++) variance[i] = value[i];                                                 \
        else                                                                                                          \
            for (ptrdiff_t i = 0; i < n; i++) variance[i] = value[i] > 1 ? value[i] : 1;                              \
    }

#define PIX_NEVER(v) 0
#define PIX_NEGATIVE(v) ((v) < 0)
#define PIX_NOT_FINITE(v) (!((v) - (v) == 0))
PIX_ANY(u1, uint8_t, uint8_t, of1, PIX_NEVER, 0)
PIX_ANY(u2, uint16_t, uint16_t, of2, PIX_NEVER, 0)
PIX_ANY(u4, uint32_t, uint32_t, of4, PIX_NEVER, 0)
PIX_ANY(i2, int16_t, uint16_t, of2, PIX_NEGATIVE, 0)
PIX_ANY(i4, int32_t, uint32_t, of4, PIX_NEGATIVE, 0)
PIX_ANY(f4, float, uint32_t, of4, PIX_NOT_FINITE, 1)
PIX_ANY(f8, double, uint32_t, of4, PIX_NOT_FINITE, 1)

/* One pass writes the bytes and proves that no count in use is above 255 or negative. */
#define PIX_INTEGER(NAME, WORD)                                                                                       \
    BATLAB_CLONES static int pix_narrow_##NAME(const WORD *restrict v, const WORD *restrict keep, ptrdiff_t n,        \
                                               uint8_t *restrict row) {                                               \
        WORD seen = 0;                                                                                                \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                           \
            seen |= v[i] & keep[i];                                                                                   \
            row[i] = (uint8_t)v[i];                                                                                   \
        }                                                                                                             \
        return seen <= 255;                                                                                           \
    }                                                                                                                 \
    BATLAB_CLONES static void pix_widen_##NAME(const WORD *restrict v, const WORD *restrict keep, ptrdiff_t n,        \
                                               uint32_t *restrict row) {                                              \
        for (ptrdiff_t i = 0; i < n; i++) row[i] = v[i] & keep[i];                                                    \
    }
PIX_INTEGER(1, uint8_t)
PIX_INTEGER(2, uint16_t)
PIX_INTEGER(4, uint32_t)

static int pix_narrow(const pix_kind *k, const void *v, const pix_keep *keep, ptrdiff_t n, uint8_t *row) {
    if (k->type >= PIX_F4) return 0;
    if (pix_item[k->type] == 1) return pix_narrow_1((const uint8_t *)v, keep->of1, n, row);
    if (pix_item[k->type] == 2) return pix_narrow_2((const uint16_t *)v, keep->of2, n, row);
    return pix_narrow_4((const uint32_t *)v, keep->of4, n, row);
}

/* Integers only; unused pixels become 0. */
static void pix_widen(const pix_kind *k, const void *v, const pix_keep *keep, ptrdiff_t n, uint32_t *row) {
    if (pix_item[k->type] == 1) pix_widen_1((const uint8_t *)v, keep->of1, n, row);
    else if (pix_item[k->type] == 2) pix_widen_2((const uint16_t *)v, keep->of2, n, row);
    else pix_widen_4((const uint32_t *)v, keep->of4, n, row);
}

/* Whether any pixel in use is left out or negative; then also which. */
static int pix_sift(const pix_kind *k, const void *v, const pix_keep *keep, const uint8_t *mask, ptrdiff_t n,
                    pix_special *special) {
    switch (k->type) {
    case PIX_U1: pix_sift_u1(k, (const uint8_t *)v, keep, mask, n, special); break;
    case PIX_U2: pix_sift_u2(k, (const uint16_t *)v, keep, mask, n, special); break;
    case PIX_U4: pix_sift_u4(k, (const uint32_t *)v, keep, mask, n, special); break;
    case PIX_I2: pix_sift_i2(k, (const int16_t *)v, keep, mask, n, special); break;
    case PIX_I4: pix_sift_i4(k, (const int32_t *)v, keep, mask, n, special); break;
    case PIX_F4: pix_sift_f4(k, (const float *)v, keep, mask, n, special); break;
    default: pix_sift_f8(k, (const double *)v, keep, mask, n, special); break;
    }
    return special->n_lost + special->n_negative > 0;
}

/* Values, and max(value, 1) or where `of_variance` the values again; 0 for both where a pixel is lost. */
static void pix_doubles(const pix_kind *k, const void *v, ptrdiff_t n, int of_variance, const pix_special *special,
                        double *value, double *variance) {
    switch (k->type) {
    case PIX_U1: pix_doubles_u1((const uint8_t *)v, n, of_variance, value, variance); break;
    case PIX_U2: pix_doubles_u2((const uint16_t *)v, n, of_variance, value, variance); break;
    case PIX_U4: pix_doubles_u4((const uint32_t *)v, n, of_variance, value, variance); break;
    case PIX_I2: pix_doubles_i2((const int16_t *)v, n, of_variance, value, variance); break;
    case PIX_I4: pix_doubles_i4((const int32_t *)v, n, of_variance, value, variance); break;
    case PIX_F4: pix_doubles_f4((const float *)v, n, of_variance, value, variance); break;
    default: pix_doubles_f8((const double *)v, n, of_variance, value, variance); break;
    }
    for (ptrdiff_t j = 0; j < special->n_lost; j++) value[special->lost[j]] = variance[special->lost[j]] = 0;
}

/* From eight rows to (pixel, frame). */
BATLAB_CLONES static void pix_mix(const uint8_t (*restrict rows)[PIX_BLOCK], ptrdiff_t first, ptrdiff_t n,
                                  uint8_t *restrict mixed) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (int k = 0; k < 8; k++) mixed[8 * i + k] = rows[k][first + i];
}

/* Lines of memory are asked for long before they are needed, a few at a time between other work: many at once would
   have to wait for each other. gcc does not inline into a clone by itself, and a call costs more than what it does. */
#if defined(__GNUC__) || defined(__clang__)
#define PIX_ASK(p) __builtin_prefetch((p), 0, 2)
#define PIX_INLINE static inline __attribute__((always_inline))
#else
#define PIX_ASK(p) (void)(p)
#define PIX_INLINE static inline
#endif
#define PIX_ASKED 16 /* pixels that are asked for at a time: a line of 32-bit counts */

/* Pixel `i` and its line of every frame; `later` is where the next block of the first frame starts, or NULL. */
PIX_INLINE void pix_ask(const char *later, ptrdiff_t n_frames, ptrdiff_t frame, ptrdiff_t item, ptrdiff_t i) {
    if (later)
        for (ptrdiff_t f = 0; f < n_frames; f++) PIX_ASK(later + f * frame + i * item);
}
#endif
