/* The blocks of an HDF5 chunk in bitshuffle with LZ4 or Zstd, or in the LZ4 filter: nothing outside the chunk is read.
 *
 * Both begin with the size in bytes when unpacked (8 bytes, big-endian) and that of a full block (4 bytes); each block
 * with its packed length (4 bytes). bshuf_h5filter.c and bitshuffle_core.c of bitshuffle, H5Zlz4.c of hdf5_plugins. */
#ifndef BATLAB_CHUNK_FORMAT_H
#define BATLAB_CHUNK_FORMAT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vendor/lz4/lz4.h"
#include "vendor/unshuffle.h"

enum {
    CHUNK_OK = 0,
    CHUNK_SHORT = -1,   /* it ends before its last block does */
    CHUNK_SIZE = -2,    /* it states another size than the file does */
    CHUNK_BLOCK = -3,   /* a block size that cannot be */
    CHUNK_DAMAGED = -4, /* a block that cannot be unpacked to its size */
    CHUNK_LONG = -5     /* bytes are left over */
};

typedef size_t (*chunk_zstd)(void *out, size_t out_size, const void *in, size_t size);

typedef struct {
    const uint8_t *at; /* the next block's header */
    const uint8_t *end;
    size_t block;      /* bytes of a full block when unpacked, at most `left` */
    size_t left;       /* bytes of the blocks to come when unpacked */
    size_t tail;       /* bytes after the last block that are stored as they are */
    size_t elem_size;  /* of bitshuffle; 0 in the LZ4 filter, which does not shuffle */
} chunk_walk;

static inline uint64_t chunk_big_endian(const uint8_t *at, int n) {
    uint64_t value = 0;
    for (int i = 0; i < n; i++) value = value << 8 | at[i];
    return value;
}

/* Read a chunk's header; `expected` is its size in bytes when unpacked. Returns CHUNK_OK or what is wrong. */
static inline int chunk_open(chunk_walk *walk, const uint8_t *chunk, size_t size, size_t expected, size_t elem_size) {
    size_t unit = elem_size ? 8 * elem_size : 1;
    if (size < 12) return CHUNK_SHORT;
    if (chunk_big_endian(chunk, 8) != expected) return CHUNK_SIZE;
    walk->block = (size_t)chunk_big_endian(chunk + 8, 4);
    /* bshuf_default_block_size, for elements of 1, 2, 4 or 8 bytes. */
    if (elem_size && walk->block == 0) walk->block = 8192;
    if ((walk->block == 0 && expected > 0) || walk->block % unit) return CHUNK_BLOCK;
    walk->at = chunk + 12;
    walk->end = chunk + size;
    walk->tail = expected % unit;
    walk->left = expected - walk->tail;
    if (walk->block > walk->left) walk->block = walk->left;
    walk->elem_size = elem_size;
    return walk->block > INT_MAX ? CHUNK_BLOCK : CHUNK_OK;
}

/* Find the next block. Returns 1, or 0 where there is none (the tail is then at `*packed`), or what is wrong. */
static inline int chunk_next(chunk_walk *walk, const uint8_t **packed, size_t *packed_size, size_t *size) {
    size_t room = (size_t)(walk->end - walk->at);
    if (walk->left == 0) {
        *packed = walk->at;
        *packed_size = *size = walk->tail;
        if (room < walk->tail) return CHUNK_SHORT;
        /* What follows the LZ4 filter's blocks is ignored, as HDF5's own does. */
        return room > walk->tail && walk->elem_size ? CHUNK_LONG : 0;
    }
    if (room < 4) return CHUNK_SHORT;
    *packed_size = (size_t)chunk_big_endian(walk->at, 4);
    if (*packed_size > room - 4) return CHUNK_SHORT;
    if (*packed_size > INT_MAX) return CHUNK_DAMAGED;
    *packed = walk->at + 4;
    *size = walk->left < walk->block ? walk->left : walk->block;
    walk->at += 4 + *packed_size;
    walk->left -= *size;
    return 1;
}

/* Unpack one block of LZ4, or of Zstd where `zstd` is its ZSTD_decompress, to exactly `size` bytes. */
static inline int chunk_unpack(const uint8_t *packed, size_t packed_size, uint8_t *out, size_t size, chunk_zstd zstd) {
    if (zstd) return zstd(out, size, packed, packed_size) == size ? CHUNK_OK : CHUNK_DAMAGED;
    int got = LZ4_decompress_safe((const char *)packed, (char *)out, (int)packed_size, (int)size);
    return got >= 0 && (size_t)got == size ? CHUNK_OK : CHUNK_DAMAGED;
}

/* Unpack all blocks to `out`. `scratch` has 2 * walk->block bytes (none in the LZ4 filter), aligned to 8. */
static inline int chunk_decode(chunk_walk *walk, uint8_t *out, uint8_t *scratch, chunk_zstd zstd) {
    const uint8_t *packed;
    size_t packed_size, size, block = walk->block;
    int state;
    while ((state = chunk_next(walk, &packed, &packed_size, &size)) == 1) {
        if (walk->elem_size) {
            if (chunk_unpack(packed, packed_size, scratch, size, zstd) < 0) return CHUNK_DAMAGED;
            if (batlab_untrans_bits(scratch, out, scratch + block, size / walk->elem_size, walk->elem_size) < 0)
                return CHUNK_DAMAGED;
        } else if (packed_size == size) { /* stored as it was */
            memcpy(out, packed, size);
        } else if (chunk_unpack(packed, packed_size, out, size, zstd) < 0) {
            return CHUNK_DAMAGED;
        }
        out += size;
    }
    if (state == 0 && size) memcpy(out, packed, size);
    return state;
}

#endif
