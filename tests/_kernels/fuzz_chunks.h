/* What the fuzzing drivers share: sound chunks from a file, and mutations of them.
 *
 * The file holds, for each: element size, unpacked and packed size (8 bytes each, little-endian), then the chunk. */
#ifndef FUZZ_CHUNKS_H
#define FUZZ_CHUNKS_H
#include <stdio.h>
#include <stdlib.h>

#include "chunk_format.h"

typedef struct {
    uint64_t elem_size, expected, size;
    uint8_t *data;
} seed_chunk;

static uint64_t state;

static uint64_t draw(uint64_t n) { /* xorshift64*, 0 to n - 1 */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return n ? (state * 2685821657736338717u >> 16) % n : 0;
}

static void put_big_endian(uint8_t *at, uint64_t value, int n) {
    for (int i = n - 1; i >= 0; i--, value >>= 8) at[i] = (uint8_t)value;
}

/* Numbers on which sizes break: near a power of two, near the true one, or any. */
static uint64_t odd_number(uint64_t near) {
    switch (draw(4)) {
    case 0: return ((uint64_t)1 << draw(64)) - draw(3) + 1;
    case 1: return near + draw(33) - 16;
    case 2: return draw(65536);
    default: return draw((uint64_t)1 << 62);
    }
}

/* Return a copy of exactly n bytes; none at all where n is 0, for malloc(0) may give one. */
static uint8_t *copied(const uint8_t *from, size_t n) {
    uint8_t *out = n ? malloc(n) : NULL;
    if (n) memcpy(out, from, n);
    return out;
}

static uint8_t *mutated(const seed_chunk *seed, const seed_chunk *other, size_t *size) {
    size_t room = seed->size + other->size + 64, n = seed->size;
    uint8_t *work = malloc(room), *out;
    memcpy(work, seed->data, n);
    for (uint64_t times = 1 + draw(4); times > 0; times--) {
        size_t at = draw(n), length;
        switch (draw(8)) {
        case 0: /* flip bits */
        case 1:
            if (n) work[at] ^= (uint8_t)(1u << draw(8));
            break;
        case 2: /* another byte */
            if (n) work[at] = (uint8_t)(draw(3) ? draw(256) : 255);
            break;
        case 3: /* truncate */
            n = draw(4) ? at : n - (n ? 1 + draw(n < 16 ? n : 16) : 0);
            break;
        case 4: /* extend */
            for (length = draw(64); length > 0 && n < room; length--) work[n++] = (uint8_t)draw(256);
            break;
        case 5: /* splice a piece of another chunk in */
            length = draw(other->size + 1);
            if (length > room - at) length = room - at;
            memcpy(work + at, other->data + draw(other->size - length + 1), length);
            if (at + length > n) n = at + length;
            break;
        case 6: /* the header */
            if (n >= 12 && draw(2)) put_big_endian(work, odd_number(seed->expected), 8);
            else if (n >= 12) put_big_endian(work + 8, odd_number(8192) & (draw(2) ? ~(uint64_t)0 : ~(uint64_t)63), 4);
            break;
        default: /* the length of the first block, or of any */
            if (n >= 16) put_big_endian(draw(2) ? work + 12 : work + draw(n - 4), odd_number(seed->size), 4);
        }
    }
    out = copied(work, n);
    free(work);
    *size = n;
    return out;
}

static seed_chunk *seeds_of(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    seed_chunk *seeds = NULL, one;
    for (*n = 0; file && fread(&one, 8, 3, file) == 3; ++*n) {
        one.data = malloc(one.size);
        if (fread(one.data, 1, one.size, file) != one.size) exit(2);
        seeds = realloc(seeds, (*n + 1) * sizeof *seeds);
        seeds[*n] = one;
    }
    if (file) fclose(file);
    return seeds;
}

#endif
