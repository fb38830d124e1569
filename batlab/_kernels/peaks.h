/* Levenberg-Marquardt for a few pseudo-Voigts on a polynomial background, on one window of one pattern. */
#ifndef BATLAB_PEAKS_H
#define BATLAB_PEAKS_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "clones.h"

#define PEAKS_BLOCK 64
#define PEAKS_RADIAN 0.017453292519943295
/* A Gaussian is below 2e-16 of its height beyond 3.61 full widths; near means within this many full widths. */
#define PEAKS_GAUSS_REACH 3.61
#define PEAKS_NEAR_REACH 8.0
/* Farther out a peak enters the normal matrix only where it exceeds this part of the noise; the gradient is exact. */
#define PEAKS_NEAR_NOISE 0.05
#define PEAKS_NARROWER 0.5

typedef struct {
    const double *x, *y, *v;        /* padded to whole blocks */
    double *basis, *columns, *weighted; /* background columns; peak columns of one block; their weighted copy */
    double *w, *w_trial;            /* weights now, and of the trial */
    double *p, *p_trial, *low, *high, *step, *diagonal;
    double *normal, *normal_trial, *factor, *gradient, *gradient_trial;
    ptrdiff_t n, padded, n_peaks, n_background, size;
    double gain, ratio, scale;
} peaks_task;

static ptrdiff_t peaks_padded(ptrdiff_t n) { return (n + PEAKS_BLOCK - 1) / PEAKS_BLOCK * PEAKS_BLOCK; }

/* Doubles of scratch for one thread. */
static ptrdiff_t peaks_scratch(ptrdiff_t n, ptrdiff_t n_peaks, ptrdiff_t n_background) {
    ptrdiff_t m = peaks_padded(n), k = n_background + 4 * n_peaks;
    return m * (5 + n_background) + 4 * n_peaks * PEAKS_BLOCK + 4 * PEAKS_BLOCK + 8 * k + 3 * k * k + 64;
}

static inline double peaks_exp(double t) {
    /* exp on [-700, 0] to one rounding; plain arithmetic, so that it becomes vector code. */
    const double magic = 6755399441055744.0;
    double shifted, k, r, s;
    uint64_t bits, scale;
    t = t < -700.0 ? -700.0 : t;
    shifted = t * 1.4426950408889634 + magic;
    k = shifted - magic;
    r = (t - k * 6.93145751953125e-1) - k * 1.42860682030941723212e-6;
    s = 1.0 / 479001600.0;
    s = s * r + 1.0 / 39916800.0;
    s = s * r + 1.0 / 3628800.0;
    s = s * r + 1.0 / 362880.0;
    s = s * r + 1.0 / 40320.0;
    s = s * r + 1.0 / 5040.0;
    s = s * r + 1.0 / 720.0;
    s = s * r + 1.0 / 120.0;
    s = s * r + 1.0 / 24.0;
    s = s * r + 1.0 / 6.0;
    s = s * r + 0.5;
    s = s * r + 1.0;
    s = s * r + 1.0;
    memcpy(&bits, &s, 8);
    memcpy(&scale, &shifted, 8);
    bits += scale << 52;
    memcpy(&s, &bits, 8);
    return s;
}

static inline double peaks_dot(const double *restrict a, const double *restrict b) {
    double s = 0.0;
#pragma omp simd reduction(+ : s)
    for (int i = 0; i < PEAKS_BLOCK; i++) s += a[i] * b[i];
    return s;
}

static inline void peaks_dot4(const double *restrict a, const double *restrict b, double *restrict out) {
    const double *b1 = b + PEAKS_BLOCK, *b2 = b1 + PEAKS_BLOCK, *b3 = b2 + PEAKS_BLOCK;
    double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (int i = 0; i < PEAKS_BLOCK; i++) {
        s0 += a[i] * b[i];
        s1 += a[i] * b1[i];
        s2 += a[i] * b2[i];
        s3 += a[i] * b3[i];
    }
    out[0] = s0; out[1] = s1; out[2] = s2; out[3] = s3;
}

/* One line of one peak on one block: columns d/d(position, height, fwhm, eta), set or added to. */
static inline void peaks_line(const double *restrict x, const double *p, double centre, double slope, double weight,
                              int add, double *restrict out) {
    const double height = p[1] * weight, inverse = 1.0 / p[2], eta = p[3];
    const double ln2 = 0.6931471805599453;
    double *c0 = out, *c1 = out + PEAKS_BLOCK, *c2 = c1 + PEAKS_BLOCK, *c3 = c2 + PEAKS_BLOCK;
    const double first = (x[0] - centre) * inverse, last = (x[PEAKS_BLOCK - 1] - centre) * inverse;
    const int gauss = first < PEAKS_GAUSS_REACH && last > -PEAKS_GAUSS_REACH;
    const double by_width = 8.0 * inverse * height, by_position = by_width * slope;
    if (!add) memset(out, 0, 4 * PEAKS_BLOCK * sizeof(double));
    if (gauss) {
#pragma omp simd
        for (int i = 0; i < PEAKS_BLOCK; i++) {
            double u = (x[i] - centre) * inverse, square = u * u;
            double lorentz = 1.0 / (1.0 + 4.0 * square), g = peaks_exp(-4.0 * ln2 * square);
            double d = u * (eta * lorentz * lorentz + (1.0 - eta) * ln2 * g);
            c0[i] += by_position * d;
            c1[i] += weight * (g + eta * (lorentz - g));
            c2[i] += by_width * u * d;
            c3[i] += height * (lorentz - g);
        }
    } else {
#pragma omp simd
        for (int i = 0; i < PEAKS_BLOCK; i++) {
            double u = (x[i] - centre) * inverse;
            double lorentz = 1.0 / (1.0 + 4.0 * u * u), d = u * eta * lorentz * lorentz;
            c0[i] += by_position * d;
            c1[i] += weight * eta * lorentz;
            c2[i] += by_width * u * d;
            c3[i] += height * lorentz;
        }
    }
}

static inline double peaks_distance(double first, double last, double centre) {
    if (centre < first) return first - centre;
    return centre > last ? centre - last : 0.0;
}

/* Second line of the doublet by Bragg's law; slope is d(second)/d(first). Lines beyond 180 degrees are left out. */
static inline int peaks_second(const peaks_task *t, double first, double *second, double *slope) {
    if (t->ratio <= 0.0) return 0;
    const double scaled = t->scale * sin(0.5 * first * PEAKS_RADIAN);
    if (scaled >= 1.0 || scaled <= -1.0) return 0;
    *second = 2.0 * asin(scaled) / PEAKS_RADIAN;
    *slope = t->scale * cos(0.5 * first * PEAKS_RADIAN) / sqrt(1.0 - scaled * scaled);
    return 1;
}

/* chi2 of p under the weights w; new weights (or w, if keep), and normal matrix (lower) and
   gradient (J^T W r) under these. */
BATLAB_CLONES
static void peaks_evaluate(peaks_task *t, const double *p, int keep, const double *w, double *w_new, double *normal,
                           double *gradient, double *chi2_old, double *chi2_new) {
    const ptrdiff_t k = t->size, nb = t->n_background;
    double old = 0.0, now = 0.0, model[PEAKS_BLOCK], wr[PEAKS_BLOCK], wb[PEAKS_BLOCK], four[4];
    const double floor = 0.1 * t->gain, gain = t->gain;
    memset(normal, 0, (size_t)(k * k) * sizeof(double));
    memset(gradient, 0, (size_t)k * sizeof(double));
    for (ptrdiff_t at = 0; at < t->padded; at += PEAKS_BLOCK) {
        const double *x = t->x + at, *y = t->y + at, *v = t->v + at, *wo = w + at;
        double *wn = w_new + at;
        for (int i = 0; i < PEAKS_BLOCK; i++) model[i] = 0.0;
        for (ptrdiff_t b = 0; b < nb; b++) {
            const double *column = t->basis + b * t->padded + at;
            for (int i = 0; i < PEAKS_BLOCK; i++) model[i] += p[b] * column[i];
        }
        for (ptrdiff_t j = 0; j < t->n_peaks; j++) {
            const double *q = p + nb + 4 * j;
            double *out = t->columns + 4 * PEAKS_BLOCK * j, second, slope;
            peaks_line(x, q, q[0], 1.0, 1.0, 0, out);
            if (peaks_second(t, q[0], &second, &slope)) peaks_line(x, q, second, slope, t->ratio, 1, out);
            for (int i = 0; i < PEAKS_BLOCK; i++) model[i] += q[1] * out[PEAKS_BLOCK + i];
        }
        double heaviest = 0.0;
        for (int i = 0; i < PEAKS_BLOCK; i++) {
            double expected = gain * model[i], variance = v[i] + (expected > floor ? expected : floor);
            wn[i] = keep ? wo[i] : wo[i] > 0.0 ? 1.0 / variance : 0.0;
        }
#pragma omp simd reduction(+ : old, now) reduction(max : heaviest)
        for (int i = 0; i < PEAKS_BLOCK; i++) {
            double r = y[i] - model[i];
            wr[i] = wn[i] * r;
            old += wo[i] * r * r;
            now += wr[i] * r;
            heaviest = heaviest > wn[i] ? heaviest : wn[i];
        }
        for (ptrdiff_t b = 0; b < nb; b++) {
            const double *column = t->basis + b * t->padded + at;
            gradient[b] += peaks_dot(column, wr);
            for (int i = 0; i < PEAKS_BLOCK; i++) wb[i] = wn[i] * column[i];
            for (ptrdiff_t c = 0; c <= b; c++) normal[b * k + c] += peaks_dot(wb, t->basis + c * t->padded + at);
            for (ptrdiff_t j = 0; j < t->n_peaks; j++) {
                peaks_dot4(wb, t->columns + 4 * PEAKS_BLOCK * j, four);
                for (int a = 0; a < 4; a++) normal[(nb + 4 * j + a) * k + b] += four[a];
            }
        }
        uint64_t near[4] = {0, 0, 0, 0};
        for (ptrdiff_t j = 0; j < t->n_peaks; j++) {
            const double *q = p + nb + 4 * j;
            const double *columns = t->columns + 4 * PEAKS_BLOCK * j;
            double second, slope, u = peaks_distance(x[0], x[PEAKS_BLOCK - 1], q[0]) / q[2];
            peaks_dot4(wr, columns, four);
            for (int a = 0; a < 4; a++) gradient[nb + 4 * j + a] += four[a];
            if (peaks_second(t, q[0], &second, &slope)) {
                double other = peaks_distance(x[0], x[PEAKS_BLOCK - 1], second) / q[2];
                u = other < u ? other : u;
            }
            double tail = fabs(q[1]) / (1.0 + 4.0 * u * u);
            if (j < 256 && u > PEAKS_NEAR_REACH && tail * tail * heaviest < PEAKS_NEAR_NOISE * PEAKS_NEAR_NOISE)
                continue;
            if (j < 256) near[j >> 6] |= (uint64_t)1 << (j & 63);
            for (int a = 0; a < 4; a++)
                for (int i = 0; i < PEAKS_BLOCK; i++)
                    t->weighted[a * PEAKS_BLOCK + i] = wn[i] * columns[a * PEAKS_BLOCK + i];
            for (ptrdiff_t l = 0; l <= j; l++) {
                if (l < 256 && !(near[l >> 6] >> (l & 63) & 1)) continue;
                for (int a = 0; a < 4; a++) {
                    peaks_dot4(t->weighted + a * PEAKS_BLOCK, t->columns + 4 * PEAKS_BLOCK * l, four);
                    double *row = normal + (nb + 4 * j + a) * k + nb + 4 * l;
                    for (int c = 0; c < 4; c++) row[c] += four[c];
                }
            }
        }
    }
    *chi2_old = old;
    *chi2_new = now;
}

/* Cholesky factor of S N S + damping with S = 1/sqrt(diag N); frozen parameters are cut out. 0 if not definite. */
BATLAB_CLONES
static int peaks_factor(const peaks_task *t, const double *normal, double damping, const unsigned char *frozen) {
    const ptrdiff_t k = t->size;
    double *f = t->factor, *scale = t->p_trial;
    for (ptrdiff_t i = 0; i < k; i++)
        scale[i] = frozen[i] || !(normal[i * k + i] > 0.0) ? 0.0 : 1.0 / sqrt(normal[i * k + i]);
    for (ptrdiff_t i = 0; i < k; i++) {
        double *a = f + i * k;
        for (ptrdiff_t j = 0; j < i; j++) {
            const double *b = f + j * k;
            double s = normal[i * k + j] * scale[i] * scale[j], sum = 0.0;
            if (j < 16) {
                for (ptrdiff_t l = 0; l < j; l++) s -= a[l] * b[l];
            } else {
#pragma omp simd reduction(+ : sum)
                for (ptrdiff_t l = 0; l < j; l++) sum += a[l] * b[l];
            }
            a[j] = (s - sum) * t->diagonal[j];
        }
        double s = 1.0 + damping;
        for (ptrdiff_t l = 0; l < i; l++) s -= a[l] * a[l];
        if (!(s > 1e-13)) return 0;
        a[i] = sqrt(s);
        t->diagonal[i] = 1.0 / a[i];
    }
    return 1;
}

static void peaks_substitute(const peaks_task *t, const double *gradient, double *step) {
    const ptrdiff_t k = t->size;
    const double *f = t->factor, *scale = t->p_trial;
    for (ptrdiff_t i = 0; i < k; i++) {
        double s = gradient[i] * scale[i];
        for (ptrdiff_t l = 0; l < i; l++) s -= f[i * k + l] * step[l];
        step[i] = s * t->diagonal[i];
    }
    for (ptrdiff_t i = k - 1; i >= 0; i--) {
        step[i] *= t->diagonal[i];
        for (ptrdiff_t l = 0; l < i; l++) step[l] -= f[i * k + l] * step[i];
    }
    for (ptrdiff_t i = 0; i < k; i++) step[i] *= scale[i];
}

/* The damped step in t->step; what stands at a bound and would go beyond it is frozen, and the others are solved again
   without it: clipped alone, the rest would no longer descend. 0 if the matrix is not definite. */
static int peaks_step(peaks_task *t, double damping, unsigned char *frozen) {
    for (int again = 1; again;) {
        if (!peaks_factor(t, t->normal, damping, frozen)) return 0;
        peaks_substitute(t, t->gradient, t->step);
        again = 0;
        for (ptrdiff_t i = 0; i < t->size; i++) {
            const int out = (t->p[i] <= t->low[i] && t->step[i] < 0.0) || (t->p[i] >= t->high[i] && t->step[i] > 0.0);
            if (out && !frozen[i]) frozen[i] = again = 1;
        }
    }
    return 1;
}

static void peaks_swap(double **a, double **b) { double *c = *a; *a = *b; *b = c; }

/* Weights from the data, smoothed over seven points: a point's own noise must not decide how much it counts. */
static void peaks_first_weights(peaks_task *t) {
    for (ptrdiff_t i = 0; i < t->padded; i++) {
        double sum = 0.0;
        int n = 0;
        if (i >= t->n) { t->w[i] = 0.0; continue; }
        for (ptrdiff_t j = i < 3 ? 0 : i - 3; j <= i + 3 && j < t->n; j++, n++) sum += t->y[j];
        sum = t->gain * sum / n;
        double least = t->gain * t->gain;
        t->w[i] = 1.0 / (t->v[i] + (sum > least ? sum : least));
    }
}

/* Heights and background are linear: solve them exactly at the starting positions and widths. */
static void peaks_linear_start(peaks_task *t, unsigned char *frozen) {
    double chi2, same, mean = 0.0;
    for (ptrdiff_t i = 0; i < t->size; i++) {
        frozen[i] = i >= t->n_background && (i - t->n_background) % 4 != 1;
        t->step[i] = 0.0;
    }
    peaks_evaluate(t, t->p, 1, t->w, t->w_trial, t->normal, t->gradient, &chi2, &same);
    if (peaks_factor(t, t->normal, 0.0, frozen) || peaks_factor(t, t->normal, 1e-6, frozen))
        peaks_substitute(t, t->gradient, t->step);
    for (ptrdiff_t i = 0; i < t->n; i++) mean += 1.0 / t->w[i] / (double)t->n;
    for (ptrdiff_t i = 0; i < t->size; i++) {
        t->p[i] += t->step[i];
        double least = 0.1 * sqrt(mean);
        if (i >= t->n_background && (i - t->n_background) % 4 == 1 && t->p[i] < least) t->p[i] = least;
    }
}

/* Returns 0 converged, 1 not. Positions, widths and shapes in t->p are the start; the weights follow the model. */
static int peaks_fit(peaks_task *t, int max_iterations, unsigned char *frozen, double *chi2, int *n_iterations) {
    const ptrdiff_t k = t->size;
    const int keep = t->gain == 0.0;
    double damping = 1e-3, stretch = 1.0, now, trial, trial_now, power = 0.0;
    peaks_first_weights(t);
    for (ptrdiff_t i = 0; i < t->n; i++) power += t->w[i] * t->y[i] * t->y[i];
    peaks_linear_start(t, frozen);
    peaks_evaluate(t, t->p, keep, t->w, t->w_trial, t->normal, t->gradient, &trial, &now);
    peaks_swap(&t->w, &t->w_trial);
    const double freedom = t->n > k ? (double)(t->n - k) : 1.0;
    for (int it = 1; it <= max_iterations; it++) {
        double decrement = 0.0, moved = 0.0;
        *n_iterations = it;
        *chi2 = now;
        for (ptrdiff_t i = 0; i < k; i++)
            frozen[i] = (t->p[i] <= t->low[i] && t->gradient[i] <= 0.0) || (t->p[i] >= t->high[i] && t->gradient[i] >= 0.0);
        if (!peaks_step(t, damping, frozen)) {
            damping = damping > 1e-3 ? 10.0 * damping : 1e-2;
            continue;
        }
        for (ptrdiff_t i = 0; i < k; i++) {
            double to = t->p[i] + stretch * t->step[i], size = fabs(t->p[i]);
            if (i >= t->n_background && (i - t->n_background) % 4 == 2 && to < PEAKS_NARROWER * size)
                to = PEAKS_NARROWER * size;
            to = to < t->low[i] ? t->low[i] : to > t->high[i] ? t->high[i] : to;
            double by = to - t->p[i], part = fabs(by) / (size > 0.0 ? size : 1.0);
            t->p_trial[i] = to;
            decrement += by * t->gradient[i];
            moved = part > moved ? part : moved;
        }
        if (!isfinite(decrement)) return 1;
        peaks_evaluate(t, t->p_trial, keep, t->w, t->w_trial, t->normal_trial, t->gradient_trial, &trial, &trial_now);
        const double enough = 1e-6 * (now < freedom ? now / freedom : 1.0) + 1e-28 * power;
        const int small = decrement * (1.0 + damping) < enough * stretch || moved < 1e-13;
        /* Where the model bends, full steps swing about the minimum along one direction, and damping, which is made
           for the badly known ones, hardly shortens them: take the length at which the parabola has its minimum. */
        const double bend = trial - now + 2.0 * decrement;
        if (bend > 0.0) stretch *= decrement / bend;
        stretch = stretch < 0.2 ? 0.2 : stretch > 1.0 ? 1.0 : stretch;
        if (trial <= now) {
            peaks_swap(&t->p, &t->p_trial);
            peaks_swap(&t->w, &t->w_trial);
            peaks_swap(&t->normal, &t->normal_trial);
            peaks_swap(&t->gradient, &t->gradient_trial);
            now = trial_now;
            *chi2 = now;
            damping = damping > 1e-8 ? 0.1 * damping : 0.0;
        } else {
            damping = damping > 1e-4 ? 10.0 * damping : 1e-3;
        }
        if (small || damping > 1e12) return !small;
    }
    return 1;
}

/* Row i of `inverse`: column i of the inverse Cholesky factor, scaled back, so that covariances are dot products. */
BATLAB_CLONES
static void peaks_invert(const peaks_task *t, const unsigned char *frozen, double *inverse) {
    const ptrdiff_t k = t->size;
    memset(inverse, 0, (size_t)(k * k) * sizeof(double));
    for (ptrdiff_t i = 0; i < k; i++) {
        double *z = inverse + i * k;
        const double scale = t->p_trial[i];
        if (frozen[i] || !(scale > 0.0)) continue;
        z[i] = t->diagonal[i];
        for (ptrdiff_t r = i + 1; r < k; r++) {
            const double *row = t->factor + r * k;
            double s = 0.0;
#pragma omp simd reduction(+ : s)
            for (ptrdiff_t l = i; l < r; l++) s -= row[l] * z[l];
            z[r] = s * t->diagonal[r];
        }
        for (ptrdiff_t r = i; r < k; r++) z[r] *= scale;
    }
}

static double peaks_square(const double *z, ptrdiff_t from, ptrdiff_t to) {
    double s = 0.0;
    for (ptrdiff_t r = from; r < to; r++) s += z[r] * z[r];
    return s;
}

/* sigma of position, height, fwhm, eta and area of every peak, and its height over the sigma that the height has at
   fixed positions and shapes (the root of the chi2 that the peak saves); 0 if the normal matrix has no inverse. */
static int peaks_sigma(peaks_task *t, unsigned char *frozen, double *out, double *strength) {
    const ptrdiff_t k = t->size, nb = t->n_background;
    double *inverse = t->normal_trial;
    for (ptrdiff_t i = 0; i < k; i++) frozen[i] = i >= nb && (i - nb) % 4 != 1;
    if (!peaks_factor(t, t->normal, 0.0, frozen)) return 0;
    peaks_invert(t, frozen, inverse);
    for (ptrdiff_t j = 0; j < t->n_peaks; j++)
        strength[j] = t->p[nb + 4 * j + 1] / sqrt(peaks_square(inverse + (nb + 4 * j + 1) * k, nb + 4 * j + 1, k));
    memset(frozen, 0, (size_t)k);
    if (!peaks_factor(t, t->normal, 0.0, frozen)) {
        for (ptrdiff_t i = 0; i < k; i++) frozen[i] = t->p[i] <= t->low[i] || t->p[i] >= t->high[i];
        if (!peaks_factor(t, t->normal, 0.0, frozen)) return 0;
    }
    peaks_invert(t, frozen, inverse);
    for (ptrdiff_t j = 0; j < t->n_peaks; j++) {
        const ptrdiff_t at = nb + 4 * j;
        const double *p = t->p + at, *z = inverse + at * k;
        const double lorentz = 1.5707963267948966, gauss = 1.0644670194312262; /* pi/2 and sqrt(pi/ln 2)/2 */
        const double unit = p[3] * lorentz + (1.0 - p[3]) * gauss;
        const double by[3] = {p[2] * unit, p[1] * unit, p[1] * p[2] * (lorentz - gauss)};
        double area = 0.0;
        for (ptrdiff_t r = at; r < k; r++) {
            double s = by[0] * z[k + r] + by[1] * z[2 * k + r] + by[2] * z[3 * k + r];
            area += s * s;
        }
        for (int a = 0; a < 4; a++) out[5 * j + a] = frozen[at + a] ? NAN : sqrt(peaks_square(z + a * k, at + a, k));
        out[5 * j + 4] = sqrt(area);
    }
    return 1;
}

#endif
