/* Feed mutated chunks to the fused binning: fuzz_fused SEEDS COUNT RANDOM_SEED; built by test_decode.py.
 *
 * Groups of one to eight frames of one size, some of them hurt. Sound frames must come out as a plain loop bins them,
 * whatever stands beside them; COUNT is that of mutated chunks. */
#include <math.h>

#include "fuzz_chunks.h"
#include "fused.h"

#define MOST_BINS 40
#define SHARES 4 /* internal bins of a bin: none may have more than 4095 pixels */

typedef struct {
    uint8_t *chunk[BIN_GROUP];
    size_t size[BIN_GROUP];
    const seed_chunk *sound[BIN_GROUP]; /* NULL where it was hurt */
    fused_frame frames[BIN_GROUP];
    double signal[BIN_GROUP * MOST_BINS], variance[BIN_GROUP * MOST_BINS], skipped[BIN_GROUP * MOST_BINS],
        skipped_weights[BIN_GROUP * MOST_BINS];
} group;

static void *zeros(size_t n, size_t size) { return calloc(n ? n : 1, size); }

static double number(const void *v, ptrdiff_t i, int type) {
    switch (type) {
    case PIX_U1: return ((const uint8_t *)v)[i];
    case PIX_U2: return ((const uint16_t *)v)[i];
    case PIX_U4: return ((const uint32_t *)v)[i];
    case PIX_I2: return ((const int16_t *)v)[i];
    case PIX_I4: return ((const int32_t *)v)[i];
    case PIX_F4: return ((const float *)v)[i];
    default: return ((const double *)v)[i];
    }
}

/* Bin a sound frame in a plain loop; 0 where the sums differ. Sums of reals are not compared: their order is free. */
static int agrees(const group *g, int f, const seed_chunk *seed, const uint16_t *bins, ptrdiff_t n, ptrdiff_t n_bins,
                  int type, double top) {
    double signal[MOST_BINS] = {0}, variance[MOST_BINS] = {0}, skipped[MOST_BINS] = {0};
    uint8_t *pixels = malloc(seed->expected);
    chunk_walk walk;
    chunk_open(&walk, seed->data, seed->size, seed->expected, seed->elem_size);
    uint8_t *scratch = malloc(2 * walk.block + 1);
    int told = chunk_decode(&walk, pixels, scratch, NULL), same = told == CHUNK_OK && g->frames[f].status == CHUNK_OK;
    for (ptrdiff_t i = 0; i < n; i++) {
        double v = number(pixels, i, type);
        ptrdiff_t bin = bins[i] / SHARES;
        if (bin == n_bins) continue;
        if (v == top || !isfinite(v)) skipped[bin]++;
        else signal[bin] += v, variance[bin] += v > 1 ? v : 1;
    }
    for (ptrdiff_t b = 0; b < n_bins && same; b++) {
        ptrdiff_t at = f * n_bins + b;
        same = g->skipped[at] == skipped[b] && g->skipped_weights[at] == skipped[b];
        if (type < PIX_F4) same &= g->signal[at] == signal[b] && g->variance[at] == variance[b];
    }
    free(scratch);
    free(pixels);
    return same;
}

static int binned(group *g, int n_frames, const seed_chunk *seed, int is_split) {
    static const int types[9][3] = {[1] = {PIX_U1, PIX_U1, PIX_U1}, [2] = {PIX_U2, PIX_I2, PIX_U2},
                                    [4] = {PIX_U4, PIX_I4, PIX_F4}, [8] = {PIX_F8, PIX_F8, PIX_F8}};
    static const double tops[] = {255, 65535, 4294967295.0, 32767, 2147483647, NAN, NAN};
    int type = types[seed->elem_size][draw(3)];
    ptrdiff_t n = (ptrdiff_t)(seed->expected / seed->elem_size), n_bins = 1 + (ptrdiff_t)draw(MOST_BINS), runs = 0;
    ptrdiff_t n_blocks = (n + PIX_BLOCK - 1) / PIX_BLOCK, unused = (ptrdiff_t)draw(4);
    uint16_t *bins = malloc(2 * n), *pixel = malloc(2 * n), *length = malloc(2 * n);
    uint32_t *first = malloc(4 * n);
    int32_t *owner = malloc(4 * n_bins * SHARES);
    float *weights = malloc(4 * n), *weight = malloc(4 * n);
    int64_t *starts = zeros(n_blocks + 1, 8);
    uint8_t powers = 1, limit[8];
    uint64_t all = type == PIX_I2 ? 0x7FFF : type == PIX_I4 ? 0x7FFFFFFF : ~(uint64_t)0;
    memcpy(limit, &all, 8);
    for (ptrdiff_t b = 0; b < n_bins * SHARES; b++) owner[b] = (int32_t)(b / SHARES);
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t bin = (uint32_t)draw(n_bins);
        int is_used = draw(4) >= (uint64_t)unused;
        bins[i] = (uint16_t)(is_used ? bin * SHARES + i * SHARES / n : n_bins * SHARES);
        weights[i] = weight[i] = 1;
        if (is_used) first[runs] = bin, pixel[runs] = (uint16_t)(i % PIX_BLOCK), length[runs++] = 1;
        if ((i + 1) % PIX_BLOCK == 0 || i + 1 == n) starts[i / PIX_BLOCK + 1] = runs;
    }
    pix_kind kind = {.type = type, .has_narrow_overflow = type == PIX_U1, .overflow = limit,
                     .n_overflow = type < PIX_F4};
    bin_task whole = {.n_frames = n_frames, .n_pixels = n, .n_internal = n_bins * SHARES, .n_bins = n_bins,
                      .n_weights = 1, .kind = kind, .bins = bins, .index_size = 2, .owner = owner, .weights = weights,
                      .signal = g->signal, .variance = g->variance, .skipped = g->skipped,
                      .skipped_weights = g->skipped_weights};
    run_task split = {.n_frames = n_frames, .n_pixels = n, .n_bins = n_bins, .n_weights = 1, .kind = kind,
                      .first = first, .pixel = pixel, .length = length, .weight = weight, .run_start = starts,
                      .entry_start = starts, .weights = weights, .powers = &powers, .signal = g->signal,
                      .variance = g->variance, .skipped = g->skipped, .skipped_weights = g->skipped_weights};
    size_t largest = 64;
    for (int f = 0; f < n_frames; f++) {
        g->frames[f] = (fused_frame){.chunk = g->chunk[f], .size = g->size[f]};
        fused_open(&g->frames[f], n, (ptrdiff_t)seed->elem_size);
        if (g->frames[f].status == CHUNK_OK && g->frames[f].walk.block > largest) largest = g->frames[f].walk.block;
    }
    whole.words = zeros(bin_words(&whole), 4);
    whole.wide_words = zeros(bin_words(&whole), 8);
    whole.sums = zeros((n_bins * SHARES + 1) * BIN_GROUP, 8);
    split.sums = zeros(run_sums(n_bins), 8);
    uint8_t *scratch = malloc(is_split ? run_scratch() : bin_scratch()), *windows = malloc(fused_scratch());
    uint8_t *planes = malloc(BIN_GROUP * largest);
    int told = fused_group(&whole, is_split ? &split : NULL, g->frames, 0, n_frames, 0, scratch, windows, planes,
                           (ptrdiff_t)largest);
    if (told) fprintf(stderr, "the bins were refused\n");
    for (int f = 0; f < n_frames && !told; f++)
        if (g->sound[f] && g->frames[f].status != FUSED_OTHER &&
            !agrees(g, f, g->sound[f], bins, n, n_bins, type, tops[type])) {
            fprintf(stderr, "frame %d of %d, type %d, %td pixels, %td bins, split %d, status %d: other sums\n", f,
                    n_frames, type, n, n_bins, is_split, g->frames[f].status);
            told = 1;
        }
    void *used[] = {bins, pixel, length, first, owner, weights, weight, starts, whole.words, whole.wide_words,
                    whole.sums, split.sums, scratch, windows, planes};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) free(used[i]);
    return told;
}

int main(int argc, char **argv) {
    size_t n_seeds = 0;
    seed_chunk *seeds = argc == 4 ? seeds_of(argv[1], &n_seeds) : NULL;
    long count = argc == 4 ? atol(argv[2]) : 0, done = 0, told[7] = {0};
    if (!n_seeds) return 2;
    state = 0x9E3779B97F4A7C15u ^ strtoull(argv[3], NULL, 10);
    while (done < count) {
        const seed_chunk *one = &seeds[draw(n_seeds)];
        group *g = calloc(1, sizeof *g);
        int n_frames = 1 + (int)draw(BIN_GROUP);
        for (int f = 0; f < n_frames; f++) {
            const seed_chunk *seed = &seeds[draw(n_seeds)];
            if (seed->elem_size != one->elem_size || seed->expected != one->expected) seed = one;
            g->sound[f] = draw(3) ? NULL : seed;
            g->chunk[f] = g->sound[f] ? copied(seed->data, g->size[f] = seed->size)
                                      : mutated(seed, &seeds[draw(n_seeds)], &g->size[f]);
            done += !g->sound[f];
        }
        if (binned(g, n_frames, one, (int)draw(2))) _Exit(3); /* what is still held is no leak */
        for (int f = 0; f < n_frames; f++) {
            told[g->frames[f].status == FUSED_OTHER ? 6 : -g->frames[f].status]++;
            free(g->chunk[f]);
        }
        free(g);
    }
    printf("%ld %ld %ld %ld %ld %ld %ld\n", told[0], told[1], told[2], told[3], told[4], told[5], told[6]);
    for (size_t i = 0; i < n_seeds; i++) free(seeds[i].data);
    free(seeds);
    return 0;
}
