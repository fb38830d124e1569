/* The sum over all pairs of a crystal of their Gaussian peaks, one model at a time. */
#ifndef BATLAB_PAIRS_H
#define BATLAB_PAIRS_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define PAIRS_REACH 6.0    /* sigmas: beyond, a peak holds 2e-9 of its area */
#define PAIRS_SAME 1e-3    /* angstrom: atoms that share a place are no pair */
#define PAIRS_LEAST (1.0 / 36.0) /* of step squared, least variance of a peak: narrower ones fall between points */

#define PAIRS_SHELLS 1024  /* distances that are remembered; a power of 2 */
#define PAIRS_EQUAL 1e-10  /* angstrom, and of a variance: pairs that differ by less are one peak */

typedef struct {
    const double *cell;                           /* 3 rows: a, b, c, cartesian */
    const double *centres, *centre_u, *centre_w;  /* n_centres times 3, 6 (xx yy zz xy xz yz), 1 */
    const double *others, *other_u, *other_w;
    ptrdiff_t n_centres, n_others;
    double delta1, delta2, qbroad, step;
    ptrdiff_t n_points;
    double *out; /* n_points, at 0, step, 2 step ... */
} pairs_task;

/* Add area times a Gaussian at r with this variance. From the grid point next to r outwards, each value is the
   last one times a factor that itself shrinks by a constant factor: three exponentials a peak. */
static inline void pairs_peak(const pairs_task *t, double r, double variance, double area) {
    const double h = t->step, sigma = sqrt(variance), inverse = 1.0 / variance;
    const ptrdiff_t centre = (ptrdiff_t)(r / h + 0.5), reach = (ptrdiff_t)(PAIRS_REACH * sigma / h) + 1;
    const ptrdiff_t low = centre - reach < 0 ? 0 : centre - reach;
    const ptrdiff_t high = centre + reach > t->n_points - 1 ? t->n_points - 1 : centre + reach;
    const double x = (double)centre * h - r;
    const double top = area * 0.39894228040143267794 / sigma * exp(-0.5 * x * x * inverse);
    const double shrink = exp(-h * h * inverse), first = sqrt(shrink);
    const double tilt = exp(-x * h * inverse);
    double value = top, factor = first * tilt;
    for (ptrdiff_t k = centre; k <= high; k++) {
        if (k >= 0) t->out[k] += value;
        value *= factor;
        factor *= shrink;
    }
    value = top;
    factor = first / tilt;
    for (ptrdiff_t k = centre - 1; k >= low; k--) {
        value *= factor;
        factor *= shrink;
        if (k < t->n_points) t->out[k] += value;
    }
}

/* A shell of neighbours is one peak: pairs of one distance and variance are gathered in a table with one place for each
   hash of the distance. Who finds another there draws that one, and takes its place. */
typedef struct {
    double r, variance, area;
} pairs_shell;

static inline void pairs_gather(const pairs_task *t, pairs_shell *shells, double r, double variance, double area) {
    const uint32_t key = (uint32_t)(r * 1e6 + 0.5) * 2654435761u;
    pairs_shell *s = shells + (key >> 22) % PAIRS_SHELLS;
    if (s->r > 0.0) {
        if (fabs(s->r - r) < PAIRS_EQUAL && fabs(s->variance - variance) < PAIRS_EQUAL * variance) {
            s->area += area;
            return;
        }
        pairs_peak(t, s->r, s->variance, s->area);
    }
    s->r = r, s->variance = variance, s->area = area;
}

static inline double pairs_project(const double *u, const double *v, const double *d) {
    return ((u[0] + v[0]) * d[0] * d[0] + (u[1] + v[1]) * d[1] * d[1] + (u[2] + v[2]) * d[2] * d[2]
            + 2.0 * ((u[3] + v[3]) * d[0] * d[1] + (u[4] + v[4]) * d[0] * d[2] + (u[5] + v[5]) * d[1] * d[2]));
}

static inline void pairs_line(const pairs_task *t, pairs_shell *shells, ptrdiff_t i, ptrdiff_t j, const double *base,
                              double longest) {
    const double *c = t->cell + 6;
    const double cc = c[0] * c[0] + c[1] * c[1] + c[2] * c[2];
    const double along = (base[0] * c[0] + base[1] * c[1] + base[2] * c[2]) / cc;
    const double square = base[0] * base[0] + base[1] * base[1] + base[2] * base[2];
    const double room = (longest * longest - square) / cc + along * along;
    if (!(room >= 0.0)) return;
    const double half = sqrt(room);
    const double area = t->centre_w[i] * t->other_w[j], least = PAIRS_LEAST * t->step * t->step;
    for (double n = ceil(-along - half); n <= -along + half; n += 1.0) {
        const double d[3] = {base[0] + n * c[0], base[1] + n * c[1], base[2] + n * c[2]};
        const double rr = d[0] * d[0] + d[1] * d[1] + d[2] * d[2], r = sqrt(rr);
        if (r < PAIRS_SAME) continue;
        double variance = pairs_project(t->centre_u + 6 * i, t->other_u + 6 * j, d) / rr;
        variance *= 1.0 - t->delta1 / r - t->delta2 / rr + t->qbroad * t->qbroad * rr;
        pairs_gather(t, shells, r, variance > least ? variance : least, area);
    }
}

/* The reciprocal vector of a: the planes b, c lie 1/|a*| apart. */
static inline void pairs_reciprocal(const double *a, const double *b, const double *c, double *star) {
    const double n[3] = {b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]};
    const double volume = a[0] * n[0] + a[1] * n[1] + a[2] * n[2];
    for (int k = 0; k < 3; k++) star[k] = n[k] / volume;
}

static inline double pairs_dot(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static void pairs_model(const pairs_task *t) {
    const double longest = (double)(t->n_points - 1) * t->step;
    const double *a = t->cell, *b = t->cell + 3, *c = t->cell + 6;
    double a_star[3], b_star[3];
    pairs_shell shells[PAIRS_SHELLS];
    for (ptrdiff_t k = 0; k < PAIRS_SHELLS; k++) shells[k].r = 0.0;
    pairs_reciprocal(a, b, c, a_star);
    pairs_reciprocal(b, c, a, b_star);
    const double na = ceil(longest * sqrt(pairs_dot(a_star, a_star))) + 1.0;
    const double nb = ceil(longest * sqrt(pairs_dot(b_star, b_star))) + 1.0;
    for (ptrdiff_t i = 0; i < t->n_centres; i++) {
        for (ptrdiff_t j = 0; j < t->n_others; j++) {
            double away[3];
            for (int k = 0; k < 3; k++) away[k] = t->others[3 * j + k] - t->centres[3 * i + k];
            const double ma = -floor(pairs_dot(away, a_star) + 0.5), mb = -floor(pairs_dot(away, b_star) + 0.5);
            for (double m = ma - na; m <= ma + na; m += 1.0) {
                for (double n = mb - nb; n <= mb + nb; n += 1.0) {
                    double base[3];
                    for (int k = 0; k < 3; k++) base[k] = away[k] + m * a[k] + n * b[k];
                    pairs_line(t, shells, i, j, base, longest);
                }
            }
        }
    }
    for (ptrdiff_t k = 0; k < PAIRS_SHELLS; k++) {
        if (shells[k].r > 0.0) pairs_peak(t, shells[k].r, shells[k].variance, shells[k].area);
    }
}
#endif
