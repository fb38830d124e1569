/* Sums of w y sin(x X) and w y cos(x X) over the points of one frame, for many X. */
#ifndef BATLAB_SINE_TRANSFORM_H
#define BATLAB_SINE_TRANSFORM_H
#include <math.h>
#include <stddef.h>
#include "clones.h"

/* The reduction below keeps angles to 1e-16 up to here; farther out the C library takes over. */
#define SINE_FAR 1e5

static inline double sine_round(double v) {
    const double magic = 6755399441055744.0;
    return (v + magic) - magic;
}

/* Sine and cosine of |a| <= SINE_FAR: quarter turns off in three parts, Taylor's series on [-pi/4, pi/4]. */
static inline void sine_cosine(double a, double *restrict sine, double *restrict cosine) {
    const double turns = sine_round(a * 0.63661977236758134308);
    const double r = ((a - turns * 1.57079632673412561417e+00) - turns * 6.07710050630396597660e-11)
                     - turns * 2.02226624879595063154e-21;
    const double z = r * r;
    double s = -1.0 / 1307674368000.0, c = 1.0 / 20922789888000.0, t;
    const double q = turns - 4.0 * sine_round(turns * 0.25 - 0.375);
    const int odd = q == 1.0 || q == 3.0;
    s = s * z + 1.0 / 6227020800.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    s = r + r * z * s;
    c = c * z - 1.0 / 87178291200.0;
    c = c * z + 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = 1.0 - 0.5 * z + z * z * c;
    t = odd ? c : s;
    c = odd ? s : c;
    *sine = q >= 2.0 ? -t : t;
    *cosine = q == 1.0 || q == 2.0 ? -c : c;
}

/* Add the n points to the sums at X. */
BATLAB_CLONES
static void sine_near(const double *restrict x, const double *restrict wy, ptrdiff_t n, const double *restrict X,
                     ptrdiff_t n_out, double *restrict sine, double *restrict cosine) {
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t j = 0; j < n_out; j++) {
            double s, c;
            sine_cosine(x[i] * X[j], &s, &c);
            sine[j] += wy[i] * s;
            cosine[j] += wy[i] * c;
        }
    }
}

static void sine_far(const double *x, const double *wy, ptrdiff_t n, const double *X, ptrdiff_t n_out, double *sine,
                     double *cosine) {
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t j = 0; j < n_out; j++) {
            sine[j] += wy[i] * sin(x[i] * X[j]);
            cosine[j] += wy[i] * cos(x[i] * X[j]);
        }
    }
}
#endif
