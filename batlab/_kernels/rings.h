/* One ring of one frame: averages, outliers and quantiles of pixels that have been gathered into plain arrays. */
#ifndef BATLAB_RINGS_H
#define BATLAB_RINGS_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "clones.h"

#define RINGS_LANES 8
#define RINGS_INSERTION 48

typedef struct {
    double *x, *omega, *signal, *variance; /* corrected intensity, its weight, weighted counts and their variance */
    int32_t *where;                        /* place in the ring's list of pixels */
    uint64_t *keys, *spare;                /* for sorting: intensity above, place below */
} rings_ring;

enum { RINGS_NO_ERRORS, RINGS_PROPAGATED, RINGS_AZIMUTHAL, RINGS_HYBRID };
enum { RINGS_ALL, RINGS_SIGMA_CLIP, RINGS_QUANTILE };

typedef struct {
    int model, clip, max_iterations;
    double low, high; /* the threshold, or the quantiles */
} rings_wish;

/* A fixed number of lanes, added up in a fixed order: vectors without leave to reorder sums. */
static inline double rings_total(const double *lanes) {
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

static BATLAB_CLONES double rings_sum(const double *values, ptrdiff_t n) {
    double lanes[RINGS_LANES] = {0};
    ptrdiff_t i = 0, k;
    for (; i + RINGS_LANES <= n; i += RINGS_LANES)
        for (k = 0; k < RINGS_LANES; k++) lanes[k] += values[i + k];
    for (k = 0; i < n; i++, k++) lanes[k] += values[i];
    return rings_total(lanes);
}

static BATLAB_CLONES double rings_squares(const double *values, ptrdiff_t n) {
    double lanes[RINGS_LANES] = {0};
    ptrdiff_t i = 0, k;
    for (; i + RINGS_LANES <= n; i += RINGS_LANES)
        for (k = 0; k < RINGS_LANES; k++) lanes[k] += values[i + k] * values[i + k];
    for (k = 0; i < n; i++, k++) lanes[k] += values[i] * values[i];
    return rings_total(lanes);
}

/* Sum of (omega (x - mean))^2, x no lower than `low` and no higher than `high`. */
static BATLAB_CLONES double rings_scatter(const double *x, const double *omega, ptrdiff_t n, double mean, double low,
                                          double high) {
    double lanes[RINGS_LANES] = {0}, d;
    ptrdiff_t i = 0, k;
    for (; i + RINGS_LANES <= n; i += RINGS_LANES)
        for (k = 0; k < RINGS_LANES; k++) {
            d = x[i + k] < low ? low : x[i + k];
            d = omega[i + k] * ((d > high ? high : d) - mean);
            lanes[k] += d * d;
        }
    for (k = 0; i < n; i++, k++) {
        d = x[i] < low ? low : x[i];
        d = omega[i] * ((d > high ? high : d) - mean);
        lanes[k] += d * d;
    }
    return rings_total(lanes);
}

/* Mean of x, no lower than `low` and no higher than `high`. */
static double rings_clamped_mean(const double *x, const double *omega, ptrdiff_t n, double low, double high) {
    double sum = 0.0, weight = 0.0, d;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        d = x[i] < low ? low : x[i];
        sum += omega[i] * (d > high ? high : d);
        weight += omega[i];
    }
    return sum / weight;
}

static BATLAB_CLONES void rings_divide(const double *signal, const double *omega, ptrdiff_t n, double *x) {
    ptrdiff_t i;
    for (i = 0; i < n; i++) x[i] = signal[i] / omega[i];
}

static BATLAB_CLONES ptrdiff_t rings_outliers(const double *x, ptrdiff_t n, double mean, double limit) {
    ptrdiff_t i, found = 0;
    for (i = 0; i < n; i++) found += fabs(x[i] - mean) > limit;
    return found;
}

/* Keep the pixels within `limit` of the mean, in their order; mark the others. */
static ptrdiff_t rings_clip(const rings_ring *ring, ptrdiff_t n, double mean, double limit, int has_variance,
                            const uint32_t *pixel, uint8_t *clipped) {
    ptrdiff_t i, kept = 0;
    for (i = 0; i < n; i++) {
        if (fabs(ring->x[i] - mean) > limit) {
            if (clipped) clipped[pixel[ring->where[i]]] = 1;
            continue;
        }
        ring->x[kept] = ring->x[i];
        ring->omega[kept] = ring->omega[i];
        ring->signal[kept] = ring->signal[i];
        if (has_variance) ring->variance[kept] = ring->variance[i];
        ring->where[kept++] = ring->where[i];
    }
    return kept;
}

/* Order of the pixels by intensity in single precision, equal ones as they stand; the places are left in `keys`. */
static void rings_sort(const rings_ring *ring, ptrdiff_t n) {
    ptrdiff_t count[4][256], i, j, k, sum, here;
    uint64_t *keys = ring->keys, *spare = ring->spare, *swap, key;
    uint32_t bits;
    float value;
    for (i = 0; i < n; i++) {
        value = (float)ring->x[i] + 0.0f; /* -0 becomes 0 */
        memcpy(&bits, &value, 4);
        bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
        keys[i] = (uint64_t)bits << 32 | (uint32_t)i;
    }
    if (n <= RINGS_INSERTION) {
        for (i = 1; i < n; i++) {
            key = keys[i];
            for (j = i; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
            keys[j] = key;
        }
        return;
    }
    memset(count, 0, sizeof count);
    for (i = 0; i < n; i++)
        for (k = 0; k < 4; k++) count[k][keys[i] >> (32 + 8 * k) & 255]++;
    for (k = 0; k < 4; k++) {
        if (count[k][keys[0] >> (32 + 8 * k) & 255] == n) continue;
        for (sum = 0, i = 0; i < 256; i++) {
            here = count[k][i];
            count[k][i] = sum;
            sum += here;
        }
        for (i = 0; i < n; i++) spare[count[k][keys[i] >> (32 + 8 * k) & 255]++] = keys[i];
        swap = keys;
        keys = spare;
        spare = swap;
    }
    if (keys != ring->keys) memcpy(ring->keys, keys, (size_t)n * sizeof *keys);
}

/* Which pixels, in the order of `keys`, lie between the quantiles: [first, last). */
static void rings_between(const rings_ring *ring, ptrdiff_t n, double low, double high, ptrdiff_t *first,
                          ptrdiff_t *last) {
    double total = 0.0, lower, upper;
    int touching, inside;
    ptrdiff_t i;
    for (i = 0; i < n; i++) total += ring->omega[ring->keys[i] & 0xffffffffu];
    low *= total;
    high *= total;
    /* Whole pixels; where the range holds none, those that it touches. */
    for (touching = 0; touching < 2; touching++) {
        *first = *last = 0;
        for (upper = 0.0, i = 0; i < n; i++) {
            lower = upper;
            upper += ring->omega[ring->keys[i] & 0xffffffffu];
            inside = touching ? upper >= low && lower <= high
                              : (low <= lower && upper <= high) || (low >= lower && high <= upper);
            if (!inside) continue;
            if (*last == 0) *first = i;
            *last = i + 1;
        }
        if (*last) return;
    }
}

/* Move the pixels between [first, last) of `keys` to the front, in their old order, and mark the others. */
static ptrdiff_t rings_choose(const rings_ring *ring, ptrdiff_t n, ptrdiff_t first, ptrdiff_t last, int has_variance,
                              const uint32_t *pixel, uint8_t *clipped) {
    uint8_t *chosen = (uint8_t *)ring->spare;
    ptrdiff_t i, kept = 0;
    memset(chosen, 0, (size_t)n);
    for (i = first; i < last; i++) chosen[ring->keys[i] & 0xffffffffu] = 1;
    for (i = 0; i < n; i++) {
        if (!chosen[i]) {
            if (clipped) clipped[pixel[ring->where[i]]] = 1;
            continue;
        }
        ring->omega[kept] = ring->omega[i];
        ring->signal[kept] = ring->signal[i];
        if (has_variance) ring->variance[kept] = ring->variance[i];
        ring->where[kept++] = ring->where[i];
    }
    return kept;
}

/* Chauvenet's criterion: a pixel is an outlier where less than half a one so far away is expected among n. */
static double rings_threshold(double wanted, double n) {
    double chauvenet = sqrt(2.0 * log((n > 3.0 ? n : 3.0) / sqrt(2.0 * 3.14159265358979323846)));
    return wanted > chauvenet ? wanted : chauvenet;
}

/* How many pixels these are; a pixel that is split counts with its part in the ring. */
static double rings_count(const rings_ring *ring, ptrdiff_t n, const float *coefficient) {
    double count = 0.0;
    ptrdiff_t i;
    if (!coefficient) return (double)n;
    for (i = 0; i < n; i++) count += coefficient[ring->where[i]];
    return count;
}

static double rings_median(const rings_ring *ring, ptrdiff_t n) {
    ptrdiff_t first, last;
    rings_sort(ring, n);
    rings_between(ring, n, 0.5, 0.5, &first, &last);
    return ring->x[ring->keys[first] & 0xffffffffu];
}

static ptrdiff_t rings_sigma_clip(const rings_ring *ring, ptrdiff_t n, const rings_wish *wish, const uint32_t *pixel,
                                  const float *coefficient, uint8_t *clipped) {
    int has_variance = wish->model == RINGS_PROPAGATED || wish->model == RINGS_HYBRID, iteration;
    double centre, square, limit, median;
    ptrdiff_t found;
    for (iteration = 0; iteration < wish->max_iterations && n > 0; iteration++) {
        centre = rings_sum(ring->signal, n) / rings_sum(ring->omega, n);
        square = wish->model == RINGS_PROPAGATED ? rings_sum(ring->variance, n)
                                                 : rings_scatter(ring->x, ring->omega, n, centre, -INFINITY, INFINITY);
        limit = rings_threshold(wish->low, rings_count(ring, n, coefficient));
        limit *= sqrt(square / rings_squares(ring->omega, n));
        found = rings_outliers(ring->x, n, centre, limit);
        /* Without a scale, or with NaN, nothing is an outlier. */
        if (!(limit > 0.0) || !found) break;
        if (wish->model == RINGS_PROPAGATED && 20 * found > n) {
            /* Strong spots carry the mean away from all other pixels: then the median is the ring. */
            median = rings_median(ring, n);
            if (fabs(centre - median) > 0.25 * limit && 2 * rings_outliers(ring->x, n, median, limit) < found)
                centre = median;
        }
        n = rings_clip(ring, n, centre, limit, has_variance, pixel, clipped);
    }
    return n;
}

/* Signal, variance, normalisation, number of pixels and of those left out, of one ring whose pixels are gathered. */
static void rings_reduce(const rings_ring *ring, ptrdiff_t n, const rings_wish *wish, const uint32_t *pixel,
                         const float *coefficient, uint8_t *clipped, double *out) {
    int has_variance = wish->model == RINGS_PROPAGATED || wish->model == RINGS_HYBRID;
    double before = rings_count(ring, n, coefficient), low = -INFINITY, high = INFINITY, square = 0.0;
    ptrdiff_t kept = n, first, last;
    memset(out, 0, 5 * sizeof *out);
    if (n == 0) return;
    if (wish->clip != RINGS_ALL || wish->model == RINGS_AZIMUTHAL) rings_divide(ring->signal, ring->omega, n, ring->x);
    if (wish->clip == RINGS_SIGMA_CLIP) kept = rings_sigma_clip(ring, n, wish, pixel, coefficient, clipped);
    if (wish->clip == RINGS_QUANTILE) {
        rings_sort(ring, n);
        rings_between(ring, n, wish->low, wish->high, &first, &last);
        low = ring->x[ring->keys[first] & 0xffffffffu];
        high = ring->x[ring->keys[last - 1] & 0xffffffffu];
    }
    if (wish->model == RINGS_AZIMUTHAL)
        square = rings_scatter(ring->x, ring->omega, kept,
                               rings_clamped_mean(ring->x, ring->omega, kept, low, high), low, high);
    if (wish->clip == RINGS_QUANTILE) kept = rings_choose(ring, n, first, last, has_variance, pixel, clipped);
    out[0] = rings_sum(ring->signal, kept);
    out[1] = has_variance ? rings_sum(ring->variance, kept) : square;
    out[2] = rings_sum(ring->omega, kept);
    out[3] = rings_count(ring, kept, coefficient);
    out[4] = kept == n ? 0.0 : before - out[3];
    /* One pixel has no scatter to judge by. */
    if (wish->model == RINGS_AZIMUTHAL && kept == 1) out[1] = NAN;
}
#endif
