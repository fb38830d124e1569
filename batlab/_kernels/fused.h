/* Sums over bins straight from bitshuffle-LZ4 chunks, one frame a chunk: a block is unpacked, turned back and binned
   while it is in cache. Where the planes of all bits above the eighth are empty in the pixels in use, only the lower
   eight are turned back, and these are the bytes that are binned. Damaged input ends a frame, never the process. */
#ifndef BATLAB_FUSED_H
#define BATLAB_FUSED_H
#include "azimuthal.h"
#include "chunk_format.h"
#include "runs.h"

#define FUSED_MOST (1 << 20) /* bytes of a block; larger ones are better decoded first */
#define FUSED_OTHER 1        /* sound so far, but its blocks are larger */
#define FUSED_WORDS (PIX_BLOCK / 64)

typedef struct {
    const uint8_t *chunk;
    size_t size;
    chunk_walk walk;
    uint8_t *planes, *tail; /* the block at hand, still shuffled; the last pixels of all, stored as they are */
    ptrdiff_t first, n;     /* pixels of that block */
    int status;             /* CHUNK_* or FUSED_OTHER */
} fused_frame;

typedef struct {
    uint64_t used[FUSED_WORDS]; /* a bit for each pixel of a window */
    uint8_t gathered[PIX_BLOCK * 8], turned[PIX_BLOCK * 8], planes[PIX_BLOCK * 8];
    double pixels[PIX_BLOCK]; /* room for any type, aligned for all */
    uint8_t flat[PIX_BLOCK];
} fused_window;

static void fused_open(fused_frame *s, ptrdiff_t n_pixels, ptrdiff_t item) {
    s->status = chunk_open(&s->walk, s->chunk, s->size, (size_t)(n_pixels * item), (size_t)item);
    s->first = s->n = 0;
    if (s->status == CHUNK_OK && s->walk.block > FUSED_MOST) s->status = FUSED_OTHER;
}

/* Unpack blocks until pixel `first` is at hand; windows go forward only. */
static void fused_advance(fused_frame *s, ptrdiff_t first, ptrdiff_t item) {
    while (s->status == CHUNK_OK && first >= s->first + s->n && s->walk.left) {
        const uint8_t *packed;
        size_t packed_size, size;
        s->first += s->n;
        s->n = 0;
        s->status = chunk_next(&s->walk, &packed, &packed_size, &size);
        if (s->status == 1) s->status = chunk_unpack(packed, packed_size, s->planes, size, NULL);
        if (s->status == CHUNK_OK) s->n = (ptrdiff_t)size / item;
    }
}

/* Read what follows the last block: up to seven pixels, then the end. */
static void fused_finish(fused_frame *s) {
    const uint8_t *packed;
    size_t packed_size, size;
    if (s->status != CHUNK_OK || s->walk.left) return;
    s->status = chunk_next(&s->walk, &packed, &packed_size, &size);
    s->tail = (uint8_t *)packed;
}

static void fused_bits(const uint8_t *keep, ptrdiff_t n, uint64_t *bits) {
    uint8_t *to = (uint8_t *)bits;
    for (ptrdiff_t i = 0; i < n / 8; i++) {
        uint64_t eight;
        memcpy(&eight, keep + 8 * i, 8);
        /* Byte k is 0 or 255: keep its bit k, then add all bytes up in the highest. */
        to[i] = (uint8_t)(((eight & 0x8040201008040201u) * 0x0101010101010101u) >> 56);
    }
}

BATLAB_CLONES static int fused_is_empty(const uint8_t *restrict plane, ptrdiff_t stride, ptrdiff_t n_planes,
                                        const uint8_t *restrict used, ptrdiff_t n) {
    uint8_t seen = 0;
    for (ptrdiff_t p = 0; p < n_planes; p++, plane += stride)
        for (ptrdiff_t i = 0; i < n; i++) seen |= plane[i] & used[i];
    return seen == 0;
}

static const uint8_t *fused_gather(const fused_frame *s, ptrdiff_t at, ptrdiff_t n, ptrdiff_t n_planes, uint8_t *to) {
    if (at == 0 && n == s->n) return s->planes;
    for (ptrdiff_t p = 0; p < n_planes; p++) memcpy(to + p * (n / 8), s->planes + (p * s->n + at) / 8, (size_t)n / 8);
    return to;
}

typedef uint64_t fused_word __attribute__((may_alias, aligned(1)));

/* Eight planes of n bytes each, `stride` apart, to 8 n bytes: what bitshuffle does for numbers of one byte, where it has
   no vector code (1.3 ms of a 4 Mpix frame). Bit b of a byte of plane k becomes bit k of byte b; little-endian. */
BATLAB_CLONES static void fused_turn(const uint8_t *restrict planes, ptrdiff_t stride, ptrdiff_t n,
                                     uint8_t *restrict out) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (int k = 0; k < 8; k++) out[8 * i + k] = planes[k * stride + i];
    for (ptrdiff_t i = 0; i < n; i++) {
        uint64_t x = *(const fused_word *)(out + 8 * i), t;
        t = (x ^ (x >> 7)) & 0x00aa00aa00aa00aau;
        x ^= t ^ (t << 7);
        t = (x ^ (x >> 14)) & 0x0000cccc0000ccccu;
        x ^= t ^ (t << 14);
        t = (x ^ (x >> 28)) & 0x00000000f0f0f0f0u;
        *(fused_word *)(out + 8 * i) = x ^ t ^ (t << 28);
    }
}

/* The counts of a window as bytes, if no pixel in use is above 255; 0 where that is not so or cannot be told so. */
static int fused_narrow(const fused_frame *s, const fused_window *w, ptrdiff_t first, ptrdiff_t n, ptrdiff_t item,
                        uint8_t *row) {
    ptrdiff_t at = first - s->first;
    if (s->status != CHUNK_OK || n % 8 || at + n > s->n) return 0;
    if (!fused_is_empty(s->planes + s->n + at / 8, s->n / 8, 8 * (item - 1), (const uint8_t *)w->used, n / 8)) return 0;
    fused_turn(s->planes + at / 8, s->n / 8, n / 8, row);
    return 1;
}

/* The pixels of a window as they are; it may reach over several blocks, and the pixels behind the last one. */
static const void *fused_pixels(fused_frame *s, fused_window *w, ptrdiff_t first, ptrdiff_t n, ptrdiff_t item) {
    uint8_t *to = (uint8_t *)w->pixels;
    ptrdiff_t done = 0;
    while (done < n && s->status == CHUNK_OK && (s->walk.left || first + done < s->first + s->n)) {
        fused_advance(s, first + done, item);
        ptrdiff_t at = first + done - s->first, m = bin_least(n - done, s->n - at);
        if (s->status != CHUNK_OK) break;
        m -= m % 8;
        const uint8_t *planes = fused_gather(s, at, m, 8 * item, w->gathered);
        if (batlab_untrans_bits(planes, to + done * item, w->turned, (size_t)m, (size_t)item) < 0)
            s->status = CHUNK_DAMAGED;
        done += m;
    }
    if (done < n) {
        fused_finish(s);
        if (s->status == CHUNK_OK) memcpy(to + done * item, s->tail, (size_t)((n - done) * item));
    }
    if (s->status != CHUNK_OK) memset(to, 0, (size_t)(n * item));
    return to;
}

/* Bring the window at `first` of a frame to hand; whether it is worth looking at the high planes alone. */
static int fused_reach(fused_frame *s, const pix_kind *kind, const uint8_t *mask, ptrdiff_t first, ptrdiff_t item) {
    fused_advance(s, first, item);
    return s->status == CHUNK_OK && kind->type < PIX_F4 && !mask && !kind->has_narrow_overflow;
}

static int fused_whole(const bin_task *t, bin_block *b, fused_frame *frames, fused_window *w) {
    ptrdiff_t item = pix_item[t->kind.type], n;
    int is_used = 0;
    bin_start(b);
    for (ptrdiff_t first = 0; first < t->n_pixels && is_used >= 0; first += n) {
        n = bin_least(BIN_BLOCK, t->n_pixels - first);
        is_used = bin_load_index(t, first, n, b);
        if (is_used <= 0) continue;
        for (ptrdiff_t i = 0; i < n; i++) w->flat[i] = (uint8_t)-(b->offset[i] != b->scale * (uint32_t)t->n_internal);
        fused_bits(w->flat, n, w->used);
        for (ptrdiff_t f = 0; f < t->n_frames; f++) {
            fused_frame *s = frames + f;
            int is_narrow = fused_reach(s, &t->kind, t->mask, first, item) && s->n &&
                            fused_narrow(s, w, first, n, item, b->narrow[f]);
            if (is_narrow) b->is_narrow[f] = 1;
            else if (s->status == CHUNK_OK) bin_load_row(t, b, f, first, n, fused_pixels(s, w, first, n, item));
            else {
                memset(b->narrow[f], 0, sizeof b->narrow[f]);
                b->is_narrow[f] = 1;
            }
        }
        bin_add_block(t, b, (n + BIN_GROUP - 1) & ~(ptrdiff_t)(BIN_GROUP - 1));
    }
    bin_flush(t, b);
    return is_used < 0 ? -1 : 0;
}

static int fused_reals(const bin_task *t, bin_block *b, fused_frame *frames, fused_window *w) {
    ptrdiff_t item = pix_item[t->kind.type], n;
    int is_few = t->n_internal < BIN_FEW;
    for (ptrdiff_t f = 0; f < t->n_frames; f++) {
        for (ptrdiff_t first = 0; first < t->n_pixels && frames[f].status == CHUNK_OK; first += n) {
            n = bin_least(BIN_BLOCK, t->n_pixels - first);
            int is_used = bin_load_index(t, first, n, b);
            if (is_used < 0) return -1;
            if (is_used == 0) continue;
            fused_advance(frames + f, first, item);
            if (frames[f].status != CHUNK_OK) continue;
            bin_real_row(t, b, f, first, n, fused_pixels(frames + f, w, first, n, item), is_few);
        }
        bin_flush_pairs(t, f, is_few);
    }
    return 0;
}

static int fused_split(const run_task *t, run_block *b, fused_frame *frames, fused_window *w) {
    ptrdiff_t item = pix_item[t->kind.type], n_blocks = run_blocks(t);
    int status = 0;
    memset(b, 0, sizeof *b);
    for (ptrdiff_t block = 0; block < n_blocks && status == 0; block++) {
        ptrdiff_t first = block * PIX_BLOCK, n = bin_least(PIX_BLOCK, t->n_pixels - first);
        int is_narrow[RUN_GROUP], all = !t->of_variance;
        if (!run_fits(t, block, n)) status = -1;
        if (status || t->run_start[block] == t->run_start[block + 1]) continue;
        run_keep(t, b, block, n);
        fused_bits(b->is_used, n, w->used);
        for (ptrdiff_t f = 0; f < t->n_frames; f++) {
            fused_frame *s = frames + f;
            is_narrow[f] = fused_reach(s, &t->kind, t->mask, first, item) && s->n &&
                           fused_narrow(s, w, first, n, item, b->narrow[f]);
            if (!is_narrow[f] && s->status == CHUNK_OK) {
                const void *v = fused_pixels(s, w, first, n, item);
                is_narrow[f] = run_row(t, b, f, block, n, v) && !t->of_variance;
            } else if (!is_narrow[f]) {
                memset(b->narrow[f], 0, sizeof b->narrow[f]);
                is_narrow[f] = 1;
            }
            all &= is_narrow[f];
        }
        for (ptrdiff_t f = 0; f < t->n_frames && !all; f++)
            if (is_narrow[f]) run_spread(b->narrow[f], b->value[f], b->variance[f], n);
        b->is_narrow = all;
        run_add_block(t, b, block, n);
    }
    run_flush(t);
    return status;
}
static inline ptrdiff_t fused_scratch(void) { return (ptrdiff_t)sizeof(fused_window) + PIX_LINE; }

/* Frames `start` to `stop`, whole pixels or, where `split` is given, shared ones. `planes` has eight times `largest`
   bytes a thread. 0, or -1 where bins or runs are wrong. */
static int fused_group(const bin_task *whole, const run_task *split, fused_frame *frames, ptrdiff_t start,
                       ptrdiff_t stop, ptrdiff_t thread, uint8_t *scratch, uint8_t *windows, uint8_t *planes,
                       ptrdiff_t largest) {
    fused_window *w = (fused_window *)pix_align(windows + thread * fused_scratch());
    ptrdiff_t item = pix_item[split ? split->kind.type : whole->kind.type], f;
    ptrdiff_t n_pixels = split ? split->n_pixels : whole->n_pixels;
    int status;
    for (f = start; f < stop; f++) {
        /* A block that is one window is done with before the next frame's: one buffer then stays in cache. */
        int is_window = frames[f].walk.block == (size_t)(PIX_BLOCK * item);
        frames[f].planes = is_window ? w->planes : planes + (thread * BIN_GROUP + f - start) * largest;
    }
    if (split) {
        run_task part = run_part(split, start, stop, thread);
        status = fused_split(&part, run_block_of(scratch, thread), frames + start, w);
    } else {
        bin_task part = bin_part(whole, start, stop, thread);
        bin_block *b = bin_block_of(scratch, thread);
        status = (part.kind.type < PIX_F4 ? fused_whole : fused_reals)(&part, b, frames + start, w);
    }
    for (f = start; f < stop; f++) { /* what no pixel in use needed must be sound as well */
        fused_advance(frames + f, n_pixels, item);
        fused_finish(frames + f);
    }
    return status;
}
#endif
