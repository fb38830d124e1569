/* From the sums of one frame to its means. */
#ifndef BATLAB_MEANS_H
#define BATLAB_MEANS_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include "clones.h"

/* Large arrays start at the same place of their pages, and a first-level cache holds eight such lines: so few arrays
   at a time, and some bins at a time, what goes from loop to loop staying in the cache. */
#define MEANS_BLOCK 512

/* COUNT: the type of the number of pixels left. A bin that has lost all but a `residue` of its pixels has none. */
#define MEANS_ROW(NAME, COUNT)                                                                                        \
    BATLAB_CLONES static void NAME(ptrdiff_t n_bins, const double *restrict signal, const double *restrict variance,  \
                                   const double *restrict skipped, const double *restrict skipped_weight,             \
                                   const double *restrict n_pixels, const double *restrict total, double monitor,     \
                                   double residue, double *restrict mean, double *restrict sigma,                     \
                                   double *restrict normalization, COUNT *restrict left) {                            \
        double count[MEANS_BLOCK], divisor[MEANS_BLOCK];                                                              \
        for (ptrdiff_t first = 0; first < n_bins; first += MEANS_BLOCK) {                                             \
            const ptrdiff_t n = n_bins - first < MEANS_BLOCK ? n_bins - first : MEANS_BLOCK;                          \
            ptrdiff_t i;                                                                                              \
            for (i = 0; i < n; i++) {                                                                                 \
                const double whole = n_pixels[first + i], kept = whole - skipped[first + i];                          \
                count[i] = kept > residue * whole ? kept : 0.0;                                                       \
            }                                                                                                         \
            for (i = 0; i < n; i++) left[first + i] = (COUNT)count[i];                                                \
            for (i = 0; i < n; i++) {                                                                                 \
                const double weight = (total[first + i] - skipped_weight[first + i]) * monitor;                       \
                const double kept = count[i] > 0 ? weight : 0.0;                                                      \
                normalization[first + i] = kept;                                                                      \
                divisor[i] = kept > 0 ? kept : NAN;                                                                   \
            }                                                                                                         \
            for (i = 0; i < n; i++) mean[first + i] = signal[first + i] / divisor[i];                                 \
            for (i = 0; i < n; i++) sigma[first + i] = sqrt(variance[first + i]) / divisor[i];                        \
        }                                                                                                             \
    }
MEANS_ROW(means_of_whole, int32_t)
MEANS_ROW(means_of_parts, double)
#endif
