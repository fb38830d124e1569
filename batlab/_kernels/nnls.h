/* Least squares in a box, the weights' sum given or free: a primal active set on normal equations, exact for few weights. */
#ifndef BATLAB_NNLS_H
#define BATLAB_NNLS_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define NNLS_PIVOT 1e-12 /* of the diagonal: the square of 1e-6, below which two columns cannot be told apart */

typedef struct {
    const double *gram, *c, *lower, *upper;
    double *w, *gradient, *noise, *step, *factor;
    ptrdiff_t *order; /* the free weights, in the order in which they became free */
    unsigned char *is_free, *rejected;
    ptrdiff_t m, n_free;
    double total;
    int tied; /* 1 where the sum of the weights is given */
} nnls_task;

static inline ptrdiff_t nnls_scratch(ptrdiff_t m) { return 3 * m + m * m; }

/* Gradient of half the misfit, and how far rounding alone can move it. */
static void nnls_gradient(nnls_task *t) {
    for (ptrdiff_t i = 0; i < t->m; i++) {
        const double *row = t->gram + i * t->m;
        double sum = -t->c[i], size = fabs(t->c[i]);
        for (ptrdiff_t j = 0; j < t->m; j++) {
            const double part = row[j] * t->w[j];
            sum += part;
            size += fabs(part);
        }
        t->gradient[i] = sum;
        t->noise[i] = 16.0 * DBL_EPSILON * size;
    }
}

/* A point of the box with the given sum. */
static void nnls_start(nnls_task *t) {
    double left = t->total;
    for (ptrdiff_t i = 0; i < t->m; i++) {
        const double low = t->lower[i], high = t->upper[i];
        t->w[i] = isfinite(low) ? low : isfinite(high) && high < 0.0 ? high : 0.0;
        left -= t->w[i];
    }
    if (!t->tied) return;
    for (ptrdiff_t i = 0; i < t->m && left != 0.0; i++) {
        double to = t->w[i] + left;
        to = to > t->upper[i] ? t->upper[i] : to < t->lower[i] ? t->lower[i] : to;
        left -= to - t->w[i];
        t->w[i] = to;
    }
}

/* Step to the minimum over the free weights, the others held; with a given sum the first of them takes what the others
   leave. Returns -1, or the place in `order` of the weight that cannot be told from those before it. */
static ptrdiff_t nnls_step(nnls_task *t) {
    const ptrdiff_t m = t->m, from = t->tied, n = t->n_free - from, p = t->order[0];
    double *f = t->factor;
    for (ptrdiff_t a = 0; a < n; a++) {
        const ptrdiff_t i = t->order[a + from];
        double *row = f + a * n, diagonal = t->gram[i * m + i];
        if (from) diagonal += t->gram[p * m + p];
        for (ptrdiff_t b = 0; b <= a; b++) {
            const ptrdiff_t j = t->order[b + from];
            double s = t->gram[i * m + j];
            if (from) s += t->gram[p * m + p] - t->gram[i * m + p] - t->gram[p * m + j];
            for (ptrdiff_t l = 0; l < b; l++) s -= row[l] * f[b * n + l];
            if (b < a) row[b] = s / f[b * n + b];
            else if (!(s > NNLS_PIVOT * diagonal)) return a + from;
            else row[a] = sqrt(s);
        }
        double s = -t->gradient[i];
        if (from) s += t->gradient[p];
        for (ptrdiff_t l = 0; l < a; l++) s -= row[l] * t->step[l + from];
        t->step[a + from] = s / row[a];
    }
    double sum = 0.0;
    for (ptrdiff_t a = n - 1; a >= 0; a--) {
        double s = t->step[a + from];
        for (ptrdiff_t l = a + 1; l < n; l++) s -= f[l * n + a] * t->step[l + from];
        t->step[a + from] = s / f[a * n + a];
        sum += t->step[a + from];
    }
    if (from) t->step[0] = -sum;
    return -1;
}

static void nnls_hold(nnls_task *t, ptrdiff_t place) {
    t->is_free[t->order[place]] = 0;
    t->n_free--;
    for (ptrdiff_t a = place; a < t->n_free; a++) t->order[a] = t->order[a + 1];
}

static void nnls_release(nnls_task *t, ptrdiff_t i) {
    t->is_free[i] = 1;
    t->order[t->n_free++] = i;
}

/* Part of the step that stays in the box. */
static double nnls_length(const nnls_task *t) {
    double length = 1.0;
    for (ptrdiff_t a = 0; a < t->n_free; a++) {
        const ptrdiff_t i = t->order[a];
        const double to = t->w[i] + t->step[a];
        double part = 1.0;
        if (to < t->lower[i]) part = (t->w[i] - t->lower[i]) / -t->step[a];
        else if (to > t->upper[i]) part = (t->upper[i] - t->w[i]) / t->step[a];
        length = part < length ? part : length;
    }
    return length > 0.0 ? length : 0.0;
}

/* Take the step as far as the box allows and hold what meets its bound; 1 if all of it was taken. */
static int nnls_move(nnls_task *t) {
    const double length = nnls_length(t);
    double gain = 0.0, doubt = 0.0;
    for (ptrdiff_t a = 0; a < t->n_free; a++) {
        const ptrdiff_t i = t->order[a];
        gain -= t->gradient[i] * t->step[a] * length;
        doubt += t->noise[i] * fabs(t->step[a]) * length;
    }
    if (gain > 4.0 * doubt) memset(t->rejected, 0, (size_t)t->m);
    for (ptrdiff_t a = t->n_free - 1; a >= 0; a--) {
        const ptrdiff_t i = t->order[a];
        const double from = t->w[i], to = from + t->step[a], low = t->lower[i], high = t->upper[i];
        const int below = to < low && (from - low) / -t->step[a] <= length;
        const int above = to > high && (high - from) / t->step[a] <= length;
        t->w[i] = below ? low : above ? high : from + length * t->step[a];
        if (!below && !above) continue;
        if (length == 0.0) t->rejected[i] = 1; /* rounding turned its direction: it would be freed and held for ever */
        nnls_hold(t, a);
    }
    return length == 1.0;
}

/* Free the held weight whose move off its bound gains most (two where none is free and the sum is given); 0 if none does:
   Karush, Kuhn and Tucker's conditions hold. */
static int nnls_choose(nnls_task *t) {
    const int pair = t->tied && t->n_free == 0;
    const double level = t->tied && !pair ? t->gradient[t->order[0]] : 0.0;
    const double doubt = t->tied && !pair ? t->noise[t->order[0]] : 0.0;
    ptrdiff_t up = -1, down = -1, best = -1;
    double most = 0.0;
    for (ptrdiff_t i = 0; i < t->m; i++) {
        if (t->is_free[i] || t->rejected[i]) continue;
        const double slope = t->gradient[i] - level, least = t->noise[i] + doubt;
        const int rises = t->w[i] < t->upper[i], falls = t->w[i] > t->lower[i];
        if (rises && (up < 0 || t->gradient[i] < t->gradient[up])) up = i;
        if (falls && (down < 0 || t->gradient[i] > t->gradient[down])) down = i;
        const double gain = rises && slope < -least ? -slope : falls && slope > least ? slope : 0.0;
        if (gain > most) { most = gain; best = i; }
    }
    if (pair) {
        if (up < 0 || down < 0 || !(t->gradient[down] - t->gradient[up] > t->noise[down] + t->noise[up])) return 0;
        nnls_release(t, down);
        nnls_release(t, up);
        return 1;
    }
    if (best < 0) return 0;
    nnls_release(t, best);
    return 1;
}

/* 0: the minimum is in t->w; 1: not reached within the passes allowed (what stands there keeps the constraints). */
static int nnls_solve(nnls_task *t) {
    const ptrdiff_t m = t->m, most = 100 + 30 * m;
    nnls_start(t);
    nnls_gradient(t);
    memset(t->rejected, 0, (size_t)m);
    t->n_free = 0;
    for (ptrdiff_t i = 0; i < m; i++) nnls_release(t, i);
    if (m > t->tied && nnls_step(t) < 0 && nnls_length(t) == 1.0) { /* the minimum without the box lies in it */
        nnls_move(t);
        nnls_gradient(t); /* once more, against the rounding of a poor condition */
        if (nnls_step(t) < 0 && nnls_length(t) == 1.0) nnls_move(t);
        return 0;
    }
    t->n_free = 0;
    memset(t->is_free, 0, (size_t)m);
    int at_minimum = 1;
    for (ptrdiff_t pass = 0; pass < most; pass++) {
        if (at_minimum && !nnls_choose(t)) return 0;
        at_minimum = 0;
        if (t->n_free <= t->tied) {
            at_minimum = 1;
            continue;
        }
        const ptrdiff_t bad = nnls_step(t);
        if (bad >= 0) {
            t->rejected[t->order[bad]] = 1;
            nnls_hold(t, bad);
            if (t->tied && t->n_free == 1 && (t->w[t->order[0]] <= t->lower[t->order[0]] ||
                                              t->w[t->order[0]] >= t->upper[t->order[0]]))
                nnls_hold(t, 0);
            continue;
        }
        at_minimum = nnls_move(t);
        nnls_gradient(t);
    }
    return 1;
}

#endif
