/* The edge of one absorption spectrum: where it rises steepest, and the fits before and after it. */
#ifndef BATLAB_EDGE_H
#define BATLAB_EDGE_H
#include <math.h>
#include <stddef.h>
#include "clones.h"

#define EDGE_MOST 6      /* coefficients of the post-edge polynomial */
#define EDGE_ALL 8       /* with those of the pre-edge line */
#define EDGE_REACH 75    /* points on either side of the first guess that are smoothed */

typedef struct {
    double e0, low[2], high[2]; /* windows in eV, relative to e0: before and after */
    int n_coefficients, nvict;
    double step, step_variance; /* found */
    ptrdiff_t first[2], last[2]; /* points of the windows, the last not among them */
    ptrdiff_t n_pre, n_post;
} edge_task;

/* Steepest point of d inside its margins whose neighbours rise steeply too (a glitch's do not); -1 if there is none. */
static ptrdiff_t edge_pick(const double *d, ptrdiff_t n) {
    const ptrdiff_t margin = n / 50 > 3 ? n / 50 : 3;
    double least = INFINITY, most = -INFINITY, flank = -INFINITY, high;
    for (ptrdiff_t i = margin; i < n - margin; i++) {
        least = d[i] < least ? d[i] : least;
        most = d[i] > most ? d[i] : most;
    }
    if (!(most > least)) return -1;
    for (ptrdiff_t i = margin; i < n - margin; i++) {
        const double lower = fmin(d[i], fmin(d[i - 1], d[i + 1]));
        flank = lower > flank ? lower : flank;
    }
    high = least + (n > 20 ? 0.6 : 0.3) * (most - least);
    /* Nowhere three steep points in a row: those count that have at least half of the steepest flank there is. */
    if (!(flank >= high)) high = flank > 0.0 ? 0.5 * flank : flank;
    ptrdiff_t best = -1;
    for (ptrdiff_t i = margin; i < n - margin; i++)
        if (d[i] >= high && d[i - 1] >= high && d[i + 1] >= high && (best < 0 || d[i] > d[best])) best = i;
    return best;
}

/* Mean of d over a Lorentzian of half width s about e[i]; each point counts for the energies that are nearest to it. */
static inline double edge_smooth(const double *e, const double *d, const double *w, ptrdiff_t n, ptrdiff_t i, double s) {
    double sum = 0.0, total = 0.0;
    const double centre = e[i], square = s * s;
#pragma omp simd reduction(+ : sum, total)
    for (ptrdiff_t j = 0; j < n; j++) {
        const double away = e[j] - centre, weight = w[j] / (away * away + square);
        total += weight;
        sum += weight * d[j];
    }
    return sum / total;
}

static double edge_clip(double value) { return value < 0.01 ? 0.01 : value > 1.0 ? 1.0 : value; }

/* Top of the parabola through three points, relative to the middle one; slopes of it with the three values. */
static double edge_top(const double *e, const double *d, ptrdiff_t i, double *slope) {
    const double h1 = e[i] - e[i - 1], h2 = e[i + 1] - e[i], h = h1 + h2;
    const double s1 = (d[i] - d[i - 1]) / h1, s2 = (d[i + 1] - d[i]) / h2;
    const double g = (s1 * h2 + s2 * h1) / h, c = (s2 - s1) / h;
    slope[0] = slope[1] = slope[2] = NAN;
    if (!(c < 0.0) || s1 < 0.0 || s2 > 0.0) return 0.0;
    const double a1 = -h2 / (2 * c * h) - g / (2 * c * c * h), a2 = -h1 / (2 * c * h) + g / (2 * c * c * h);
    slope[0] = -a1 / h1;
    slope[1] = a1 / h1 - a2 / h2;
    slope[2] = a2 / h2;
    return -g / (2 * c);
}

/* Energy of the steepest rise; `variance` may be NULL. Scratch: 4 n. */
BATLAB_CLONES
static double edge_steepest(const double *e, const double *y, const double *variance, ptrdiff_t n, double spacing,
                            double *scratch, double *sigma) {
    double *d = scratch, *w = d + n, *smooth = w + n, *pull = smooth + n, slope[3];
    *sigma = NAN;
    if (n < 8) return NAN;
    d[0] = (y[1] - y[0]) / (e[1] - e[0]);
    d[n - 1] = (y[n - 1] - y[n - 2]) / (e[n - 1] - e[n - 2]);
    for (ptrdiff_t i = 1; i < n - 1; i++) {
        w[i] = 0.5 * (e[i + 1] - e[i - 1]);
        d[i] = (y[i + 1] - y[i - 1]) / (e[i + 1] - e[i - 1]);
    }
    const ptrdiff_t guess = edge_pick(d, n);
    if (guess < 0) return NAN;
    /* Steepest among the first 5 %: most likely a glitch; everything after it is looked at then. */
    const int early = guess < 0.05 * n;
    ptrdiff_t first = guess - (early ? 20 : EDGE_REACH), last = early ? n - 3 : guess + EDGE_REACH;
    first = first < 3 ? 3 : first;
    last = last > n - 3 ? n - 3 : last;
    const double about = early ? 0.5 * (e[0] + e[n - 1]) : e[guess];
    const double width = 0.5 * (edge_clip(spacing) + edge_clip(about / 25000.0));
    const ptrdiff_t m = last - first;
    if (m < 8) return e[guess];
    e += first, d += first, w += first;
    for (ptrdiff_t i = 0; i < m; i++) smooth[i] = edge_smooth(e, d, w, m, i, width);
    const ptrdiff_t best = edge_pick(smooth, m);
    if (best < 0) return NAN;
    const double e0 = e[best] + edge_top(e, smooth, best, slope);
    if (variance == NULL || !(slope[0] == slope[0])) return e0;
    for (ptrdiff_t j = 0; j < m; j++) pull[j] = 0.0;
    for (ptrdiff_t a = -1; a < 2; a++) {
        double total = 0.0;
        for (ptrdiff_t j = 0; j < m; j++)
            total += w[j] / ((e[j] - e[best + a]) * (e[j] - e[best + a]) + width * width);
        for (ptrdiff_t j = 0; j < m; j++)
            pull[j] += slope[a + 1] * w[j] / ((e[j] - e[best + a]) * (e[j] - e[best + a]) + width * width) / total;
    }
    double sum = 0.0;
    for (ptrdiff_t j = -1; j <= m; j++) {
        const double before = j > 0 ? pull[j - 1] / (2 * w[j - 1]) : 0.0;
        const double after = j < m - 1 ? pull[j + 1] / (2 * w[j + 1]) : 0.0;
        sum += (before - after) * (before - after) * variance[first + j];
    }
    *sigma = sqrt(sum);
    return e0;
}

/* Inverse of a positive matrix of k rows in steps of EDGE_MOST, in place; 0 if it is singular. */
static int edge_invert(double *a, int k) {
    double l[EDGE_MOST * EDGE_MOST] = {0};
    for (int i = 0; i < k; i++) {
        for (int j = 0; j <= i; j++) {
            double s = a[i * EDGE_MOST + j];
            for (int b = 0; b < j; b++) s -= l[i * EDGE_MOST + b] * l[j * EDGE_MOST + b];
            if (i == j && !(s > 1e-12 * a[i * EDGE_MOST + i])) return 0;
            l[i * EDGE_MOST + j] = i == j ? sqrt(s) : s / l[j * EDGE_MOST + j];
        }
    }
    for (int column = 0; column < k; column++) {
        double x[EDGE_MOST];
        for (int i = 0; i < k; i++) {
            double s = i == column;
            for (int b = 0; b < i; b++) s -= l[i * EDGE_MOST + b] * x[b];
            x[i] = s / l[i * EDGE_MOST + i];
        }
        for (int i = k - 1; i >= 0; i--) {
            double s = x[i];
            for (int b = i + 1; b < k; b++) s -= l[b * EDGE_MOST + i] * x[b];
            x[i] = s / l[i * EDGE_MOST + i];
        }
        for (int i = 0; i < k; i++) a[i * EDGE_MOST + column] = x[i];
    }
    return 1;
}

/* Legendre polynomials of the place of `energy` in window `which` (0 before, 1 after); returns (E/E0)^-nvict. */
static inline double edge_basis(const edge_task *t, int which, double energy, int k, double *out) {
    const double middle = t->e0 + 0.5 * (t->low[which] + t->high[which]);
    const double half = 0.5 * (t->high[which] - t->low[which]);
    const double u = (energy - middle) / (half > 0.0 ? half : 1.0);
    double power = 1.0;
    out[0] = 1.0;
    if (k > 1) out[1] = u;
    for (int b = 2; b < k; b++) out[b] = ((2 * b - 1) * u * out[b - 1] - (b - 1) * out[b - 2]) / b;
    if (which == 0)
        for (int b = 0; b < t->nvict; b++) power *= t->e0 / energy;
    return power;
}

/* Points of window `which`, as in larch: from the last at or below its start to before the nearest to its end. */
static void edge_points(edge_task *t, int which, const double *e, ptrdiff_t n) {
    const double low = t->e0 + t->low[which], high = t->e0 + t->high[which];
    ptrdiff_t first = 0, last = 0;
    while (first + 1 < n && e[first + 1] <= low) first++;
    for (ptrdiff_t p = 1; p < n; p++)
        if (fabs(e[p] - high) < fabs(e[last] - high)) last = p;
    t->first[which] = first;
    t->last[which] = n > 0 && last > first ? last : first;
}

static int edge_inside(const edge_task *t, int which, ptrdiff_t p) { return p >= t->first[which] && p < t->last[which]; }

/* Normal matrix, inverted, and its right side, of window `which`; `line` is taken off. Returns 0 where points are too few. */
static int edge_window(const edge_task *t, int which, const double *e, const double *y, int k,
                       const double *line, double *inverse, double *solution) {
    double right[EDGE_MOST] = {0}, b[EDGE_MOST], a[2];
    const ptrdiff_t used = t->last[which] - t->first[which];
    for (int i = 0; i < EDGE_MOST * EDGE_MOST; i++) inverse[i] = 0.0;
    for (ptrdiff_t p = t->first[which]; p < t->last[which]; p++) {
        /* The line is fitted to mu E^nvict. */
        const double power = edge_basis(t, which, e[p], k, b);
        double value = y[p] / power;
        if (line != NULL) {
            const double factor = edge_basis(t, 0, e[p], 2, a);
            value -= factor * (a[0] * line[0] + a[1] * line[1]);
        }
        for (int i = 0; i < k; i++) {
            right[i] += b[i] * value;
            for (int j = 0; j <= i; j++) inverse[i * EDGE_MOST + j] += b[i] * b[j];
        }
    }
    for (int i = 0; i < k; i++)
        for (int j = 0; j < i; j++) inverse[j * EDGE_MOST + i] = inverse[i * EDGE_MOST + j];
    if (used <= k || !edge_invert(inverse, k)) return 0;
    for (int i = 0; i < k; i++) {
        solution[i] = 0.0;
        for (int j = 0; j < k; j++) solution[i] += inverse[i * EDGE_MOST + j] * right[j];
    }
    return 1;
}

/* Rows of `weight` (EDGE_ALL a point): how line and polynomial follow from mu; their covariance. */
static void edge_covariance(const edge_task *t, const double *e, const double *variance, ptrdiff_t n,
                            const double *pre_inverse, const double *post_inverse, double *weight, double *covariance) {
    const int k = t->n_coefficients, all = 2 + k;
    double mixed[EDGE_MOST * 2] = {0}, held[EDGE_MOST * 2] = {0}, a[2], b[EDGE_MOST];
    for (ptrdiff_t p = t->first[1]; p < t->last[1]; p++) {
        const double factor = edge_basis(t, 0, e[p], 2, a);
        edge_basis(t, 1, e[p], k, b);
        for (int i = 0; i < k; i++)
            for (int j = 0; j < 2; j++) mixed[2 * i + j] += b[i] * a[j] * factor;
    }
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++)
            for (int c = 0; c < 2; c++) held[2 * i + c] += post_inverse[i * EDGE_MOST + j] * mixed[2 * j + c];
    for (int i = 0; i < EDGE_ALL * EDGE_ALL; i++) covariance[i] = 0.0;
    for (ptrdiff_t p = 0; p < n; p++) {
        double *row = weight + EDGE_ALL * p;
        for (int i = 0; i < EDGE_ALL; i++) row[i] = 0.0;
        const int before = edge_inside(t, 0, p), after = edge_inside(t, 1, p);
        if (before) {
            const double power = edge_basis(t, 0, e[p], 2, a);
            for (int i = 0; i < 2; i++)
                row[i] = (pre_inverse[i * EDGE_MOST] * a[0] + pre_inverse[i * EDGE_MOST + 1] * a[1]) / power;
            for (int i = 0; i < k; i++) row[2 + i] = -held[2 * i] * row[0] - held[2 * i + 1] * row[1];
        }
        if (after) {
            edge_basis(t, 1, e[p], k, b);
            for (int i = 0; i < k; i++)
                for (int j = 0; j < k; j++) row[2 + i] += post_inverse[i * EDGE_MOST + j] * b[j];
        }
        if (before || after)
            for (int i = 0; i < all; i++)
                for (int j = 0; j < all; j++) covariance[i * EDGE_ALL + j] += row[i] * row[j] * variance[p];
    }
}

/* Variance of (mu - shape.coefficients) / step, whose value is `value` and whose step is `jump`.coefficients. */
static double edge_variance(int all, const double *shape, const double *jump, double value, double step,
                            const double *weight, const double *covariance, double variance) {
    double pull[EDGE_ALL], own = 0.0, sum = 0.0;
    for (int i = 0; i < all; i++) {
        pull[i] = shape[i] + value * jump[i];
        own += pull[i] * weight[i];
    }
    for (int i = 0; i < all; i++)
        for (int j = 0; j < all; j++) sum += pull[i] * pull[j] * covariance[i * EDGE_ALL + j];
    sum = (sum + variance * (1.0 - 2.0 * own)) / (step * step);
    return sum > 0.0 ? sum : 0.0 * sum;
}

/* Normalise one spectrum; `variance` and the results with it may be NULL, so may `flat`. Scratch: EDGE_ALL n. */
BATLAB_CLONES
static void edge_normalize(edge_task *t, const double *e, const double *y, const double *variance, ptrdiff_t n,
                           double *norm, double *flat, double *norm_sigma, double *flat_sigma, double *scratch) {
    const int k = t->n_coefficients, all = 2 + k;
    double pre_inverse[EDGE_MOST * EDGE_MOST], post_inverse[EDGE_MOST * EDGE_MOST], covariance[EDGE_ALL * EDGE_ALL];
    double line[EDGE_MOST], post[EDGE_MOST], jump[EDGE_ALL] = {0}, shape[EDGE_ALL] = {0}, a[2], b[EDGE_MOST];
    const int known = n > 0 && t->e0 >= e[0] && t->e0 <= e[n - 1];
    t->step = t->step_variance = NAN;
    edge_points(t, 0, e, n);
    edge_points(t, 1, e, n);
    t->n_pre = t->last[0] - t->first[0];
    t->n_post = t->last[1] - t->first[1];
    if (known && edge_window(t, 0, e, y, 2, NULL, pre_inverse, line) &&
        edge_window(t, 1, e, y, k, line, post_inverse, post)) {
        edge_basis(t, 1, t->e0, k, jump + 2);
        t->step = 0.0;
        for (int i = 0; i < k; i++) t->step += jump[2 + i] * post[i];
    }
    const double step = t->step > 0.0 ? t->step : NAN;
    if (variance != NULL && t->step == t->step) {
        edge_covariance(t, e, variance, n, pre_inverse, post_inverse, scratch, covariance);
        t->step_variance = 0.0;
        for (int i = 0; i < all; i++)
            for (int j = 0; j < all; j++) t->step_variance += jump[i] * jump[j] * covariance[i * EDGE_ALL + j];
        t->step_variance = t->step_variance > 0.0 ? t->step_variance : 0.0 * t->step_variance;
    }
    for (ptrdiff_t p = 0; p < n; p++) {
        const double factor = edge_basis(t, 0, e[p], 2, a);
        const double value = step == step ? (y[p] - factor * (a[0] * line[0] + a[1] * line[1])) / step : NAN;
        double level = value;
        shape[0] = factor * a[0], shape[1] = factor * a[1];
        norm[p] = value;
        if (flat != NULL && e[p] >= t->e0 && step == step) {
            double curve = 0.0;
            edge_basis(t, 1, e[p], k, b);
            for (int i = 0; i < k; i++) curve += b[i] * post[i];
            level = value - curve / step;
        }
        if (flat != NULL) flat[p] = e[p] >= t->e0 ? level + 1.0 : level;
        if (variance == NULL) continue;
        if (!(step == step)) {
            norm_sigma[p] = NAN;
            if (flat != NULL) flat_sigma[p] = NAN;
            continue;
        }
        for (int i = 0; i < k; i++) shape[2 + i] = 0.0;
        norm_sigma[p] = sqrt(edge_variance(all, shape, jump, value, step, scratch + EDGE_ALL * p, covariance, variance[p]));
        if (flat == NULL) continue;
        flat_sigma[p] = norm_sigma[p];
        if (e[p] >= t->e0) {
            for (int i = 0; i < k; i++) shape[2 + i] = b[i];
            flat_sigma[p] = sqrt(edge_variance(all, shape, jump, level, step, scratch + EDGE_ALL * p, covariance, variance[p]));
        }
    }
}
#endif
