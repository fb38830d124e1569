/* How one detector pixel is shared out over the bins of a curve (radial) or a cake (azimuth, radial).

   The rules are pyFAI's (Kieffer et al., J. Appl. Cryst. 53, 2020): a pixel that reaches into the range counts whole.
   Single precision where pyFAI has it: its rounding, up to 1e-4 of a weight, is part of "the same result". */
#ifndef BATLAB_SPLITTING_H
#define BATLAB_SPLITTING_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define SPLIT_PI 3.14159265358979323846
#define SPLIT_LONGEST 65535 /* entries a run can have */
#define SPLIT_FARTHEST 4503599627370496.0 /* bins from the first: no pixel, and beyond this none has a fraction */

/* Of places within 2^52 bins: without SSE 4.1 the library's are calls. */
static inline double split_floor(double x) {
    double whole = (double)(int64_t)x;
    return whole - (whole > x);
}
static inline double split_ceil(double x) { return -split_floor(-x); }

typedef struct {
    double low, high, upper, width; /* `high`: the last place inside; `upper`: the edge, just above it */
    ptrdiff_t n;
} split_axis;

typedef struct {
    split_axis radial, azimuth;
    double seam;  /* where azimuth starts again, from pyFAI's -pi */
    int is_cake;  /* else azimuth.low to azimuth.high only picks pixels */
    int mirrored; /* the image is flipped: corners run the other way round */
} split_grid;

typedef struct { /* where the runs of a block go */
    uint32_t *first;
    uint16_t *pixel, *length;
    float *weight;
    ptrdiff_t n_runs, n_entries;
} split_runs;

typedef struct { /* bins `low` to `high` that a pixel reaches, and where exactly: none if low > high */
    ptrdiff_t low, high;
    double from, to;
} split_reach;

static inline split_reach split_reaches(const split_axis *axis, double from, double to) {
    split_reach reach = {0, -1, (from - axis->low) / axis->width, (to - axis->low) / axis->width};
    if (reach.from <= reach.to && reach.to >= 0 && reach.from < (double)axis->n) {
        reach.low = reach.from > 0 ? (ptrdiff_t)reach.from : 0;
        reach.high = reach.to < (double)axis->n ? (ptrdiff_t)reach.to : axis->n - 1;
    }
    return reach;
}

static inline double split_share(const split_reach *reach, ptrdiff_t bin) {
    if (reach->low == reach->high) return 1;
    double part = bin == reach->low ? (double)(bin + 1) - reach->from : bin == reach->high ? reach->to - (double)bin : 1;
    return part / (reach->to - reach->from);
}

static inline double split_turned(double azimuth, double seam) {
    double turned = azimuth - seam;
    if (seam == 0) return azimuth;
    return turned < -SPLIT_PI ? turned + 2 * SPLIT_PI : turned >= SPLIT_PI ? turned - 2 * SPLIT_PI : turned;
}

static inline ptrdiff_t split_n_runs(ptrdiff_t length) { return (length + SPLIT_LONGEST - 1) / SPLIT_LONGEST; }

static inline float *split_new_run(split_runs *out, ptrdiff_t pixel, ptrdiff_t first, ptrdiff_t length) {
    float *weight = out->weight + out->n_entries;
    out->n_entries += length;
    for (; length > 0; length -= SPLIT_LONGEST, first += SPLIT_LONGEST, out->n_runs++) {
        out->first[out->n_runs] = (uint32_t)first;
        out->pixel[out->n_runs] = (uint16_t)pixel;
        out->length[out->n_runs] = (uint16_t)(length < SPLIT_LONGEST ? length : SPLIT_LONGEST);
    }
    return weight;
}

/* Bounding box: centre -+ the farthest corner, in both coordinates. */
static inline int split_bbox_reach(const split_grid *grid, double r, double chi, const float *corners, split_reach *radial,
                                   split_reach *azimuth) {
    double dr = 0, dchi = 0;
    for (int k = 0; k < 4; k++) {
        double d = fabs(corners[2 * k] - r);
        dr = d > dr ? d : dr;
    }
    *radial = split_reaches(&grid->radial, r - dr, r + dr);
    azimuth->low = azimuth->high = 0;
    if (radial->low > radial->high) return 0;
    if (!grid->is_cake && !isfinite(grid->azimuth.low)) return 1;
    for (int k = 0; k < 4; k++) {
        double d = fabs(corners[2 * k + 1] - chi);
        d = d < 2 * SPLIT_PI - d ? d : 2 * SPLIT_PI - d;
        dchi = d > dchi ? d : dchi;
    }
    chi = split_turned(chi, grid->seam);
    if (!grid->is_cake) return !(chi + dchi < grid->azimuth.low) && !(chi - dchi > grid->azimuth.high);
    *azimuth = split_reaches(&grid->azimuth, chi - dchi, chi + dchi);
    return azimuth->low <= azimuth->high;
}

static inline void split_bbox_pixel(const split_grid *grid, ptrdiff_t pixel, const split_reach *radial,
                                    const split_reach *azimuth, split_runs *out) {
    ptrdiff_t length = radial->high - radial->low + 1;
    for (ptrdiff_t row = azimuth->low; row <= azimuth->high; row++) {
        float *weight = split_new_run(out, pixel, row * grid->radial.n + radial->low, length);
        double share = grid->is_cake ? split_share(azimuth, row) : 1;
        for (ptrdiff_t bin = radial->low; bin <= radial->high; bin++)
            weight[bin - radial->low] = (float)(share * split_share(radial, bin));
    }
}

/* Full: the polygon of the four corners. */
static inline double split_turn_sign(double v[4][2], int mirrored) {
    double area = 0.5 * ((v[2][0] - v[0][0]) * (v[3][1] - v[1][1])) - (v[2][1] - v[0][1]) * (v[3][0] - v[1][0]);
    return mirrored ? -area : area;
}

static inline double split_least(double v[4][2], int k) { return fmin(fmin(v[0][k], v[1][k]), fmin(v[2][k], v[3][k])); }
static inline double split_most(double v[4][2], int k) { return fmax(fmax(v[0][k], v[1][k]), fmax(v[2][k], v[3][k])); }

/* Take the corners, put together what the seam has torn, turn radius into bins of the curve. */
static inline int split_corners(const split_grid *grid, const float *corners, double v[4][2]) {
    /* pyFAI adds degrees to a cake's radians: what counts is on which side most corners lie, the rest is clipped. */
    double centre = 0, turn = grid->is_cake ? 360 : 2 * SPLIT_PI;
    for (int k = 0; k < 4; k++) {
        v[k][0] = corners[2 * k];
        v[k][1] = split_turned(corners[2 * k + 1], grid->seam);
        if (!isfinite(v[k][0]) || !isfinite(v[k][1])) return 0;
    }
    if (split_turn_sign(v, grid->mirrored) > 0) { /* corners run backwards: the pixel lies on the seam */
        for (int k = 0; k < 4; k++) {
            if (v[k][1] < 0) v[k][1] += turn;
            centre += 0.25 * v[k][1];
        }
        for (int k = 0; k < 4 && centre > turn / 2; k++) v[k][1] -= turn;
    }
    return 1;
}

static inline double split_clip(double x, const split_axis *axis) {
    return ((x < axis->low ? axis->low : x > axis->high ? axis->high : x) - axis->low) / axis->width;
}

/* Bins that a polygon may reach; v[][0] (and, in a cake, v[][1]) come back in bins, in a cake from the first of these. */
static inline int split_full_reach(const split_grid *grid, const float *corners, double v[4][2], split_reach *radial,
                                   split_reach *azimuth) {
    if (!split_corners(grid, corners, v)) return 0;
    double from = split_least(v, 1), to = split_most(v, 1);
    azimuth->low = azimuth->high = 0;
    if (!grid->is_cake) {
        if (to < grid->azimuth.low || from > grid->azimuth.high) return 0;
        *radial = split_reaches(&grid->radial, split_least(v, 0), split_most(v, 0));
        for (int k = 0; k < 4; k++) {
            v[k][0] = (v[k][0] - grid->radial.low) / grid->radial.width;
            if (!(fabs(v[k][0]) < SPLIT_FARTHEST)) return 0;
        }
        return radial->low <= radial->high;
    }
    if (to < grid->azimuth.low || from >= grid->azimuth.upper) return 0;
    if (split_most(v, 0) < grid->radial.low || split_least(v, 0) > grid->radial.high) return 0;
    for (int k = 0; k < 4; k++) {
        v[k][0] = split_clip(v[k][0], &grid->radial);
        v[k][1] = split_clip(v[k][1], &grid->azimuth);
    }
    radial->low = (ptrdiff_t)split_floor(split_least(v, 0));
    azimuth->low = (ptrdiff_t)split_floor(split_least(v, 1));
    radial->high = (ptrdiff_t)split_ceil(split_most(v, 0)) - 1;
    azimuth->high = (ptrdiff_t)split_ceil(split_most(v, 1)) - 1;
    for (int k = 0; k < 4; k++) {
        v[k][0] -= (double)radial->low;
        v[k][1] -= (double)azimuth->low;
    }
    return radial->low <= radial->high && azimuth->low <= azimuth->high;
}

static inline double split_area(double from, double to, double slope, double height) {
    return (to - from) * (0.5 * slope * (to + from) + height);
}

/* Add the area under one side to the bins `low` to `high` of a curve, of which there are n; box[0] is bin `low`. */
static void split_side_line(float *box, const split_reach *reach, ptrdiff_t n, const double *a, const double *b) {
    if (a[0] == b[0]) return;
    double slope = (b[1] - a[1]) / (b[0] - a[0]), height = a[1] - slope * a[0], last = (double)n;
    float *bins = box - reach->low;
    double first = split_floor(a[0]), end = split_floor(b[0]);
    if (first == end) {
        if (first >= 0 && end < last) bins[(ptrdiff_t)first] += split_area(a[0], b[0], slope, height);
        return;
    }
    int step = b[0] > a[0] ? 1 : -1, up = step > 0;
    if (a[0] >= 0 && a[0] < last) bins[(ptrdiff_t)first] += split_area(a[0], first + up, slope, height);
    double from = first + step, stop = end; /* whole bins between, those in range */
    if (up ? from < 0 : from > last - 1) from = up ? 0 : last - 1;
    if (up ? stop > last : stop < -1) stop = up ? last : -1;
    for (double k = from; up ? k < stop : k > stop; k += step)
        bins[(ptrdiff_t)k] += split_area(k + !up, k + up, slope, height);
    if (b[0] >= 0 && b[0] < last) bins[(ptrdiff_t)end] += split_area(end + !up, b[0], slope, height);
}

static inline float split_area_single(float from, float to, float slope, float height) {
    return (float)((to - from) * (0.5 * slope * (to + from) + height));
}

/* Pile a signed area of this width on the rows of column `column` of a box (column, row), from row 0 up. */
static inline void split_pile(float *box, ptrdiff_t column, ptrdiff_t n_rows, float area, float width) {
    float rest = fabsf(area);
    for (ptrdiff_t row = 0; rest > 0 && row < n_rows; row++) {
        if (width > rest) {
            width = rest;
            rest = -1;
        }
        box[column * n_rows + row] += copysignf(width, area);
        rest -= width;
    }
}

static void split_side_cake(float *box, ptrdiff_t n_rows, const double *a, const double *b) {
    if (a[0] == b[0]) return;
    float slope = (b[1] - a[1]) / (b[0] - a[0]), height = b[1] - slope * b[0];
    int up = a[0] < b[0];
    float edge = up ? split_ceil(a[0]) : split_floor(a[0]); /* the first between columns on the way */
    if (up ? edge > b[0] : b[0] > edge) {
        split_pile(box, (ptrdiff_t)a[0], n_rows, split_area(a[0], b[0], slope, height), fabs(b[0] - a[0]));
        return;
    }
    ptrdiff_t from = (ptrdiff_t)edge, to = (ptrdiff_t)(up ? split_floor(b[0]) : split_ceil(b[0]));
    float width = fabs(edge - a[0]);
    if (width > 0) split_pile(box, up ? from - 1 : from, n_rows, split_area_single(a[0], edge, slope, height), width);
    for (ptrdiff_t k = from; up ? k < to : k > to; k += up ? 1 : -1)
        split_pile(box, up ? k : k - 1, n_rows, split_area((double)k, (double)(up ? k + 1 : k - 1), slope, height), 1);
    width = fabs(b[0] - to);
    if (width > 0) split_pile(box, up ? to : to - 1, n_rows, split_area_single((float)to, b[0], slope, height), width);
}

/* `box` holds zeros before and after. */
static void split_full_pixel(const split_grid *grid, ptrdiff_t pixel, double v[4][2], const split_reach *radial,
                             const split_reach *azimuth, float *box, split_runs *out) {
    ptrdiff_t n_columns = radial->high - radial->low + 1, n_rows = azimuth->high - azimuth->low + 1;
    double sum = 0;
    if (!grid->is_cake && n_columns == 1 && split_floor(split_least(v, 0)) == split_floor(split_most(v, 0))) {
        *split_new_run(out, pixel, radial->low, 1) = 1;
        return;
    }
    for (int k = 0; k < 4; k++)
        if (grid->is_cake) split_side_cake(box, n_rows, v[k], v[(k + 1) & 3]);
        else split_side_line(box, radial, grid->radial.n, v[k], v[(k + 1) & 3]);
    for (ptrdiff_t i = 0; i < n_columns * n_rows; i++) sum += box[i];
    for (ptrdiff_t row = 0; row < n_rows && sum != 0; row++) {
        ptrdiff_t low = 0, high = n_columns - 1;
        while (low <= high && box[low * n_rows + row] == 0) low++;
        while (low <= high && box[high * n_rows + row] == 0) high--;
        if (low > high) continue;
        ptrdiff_t first = (azimuth->low + row) * grid->radial.n + radial->low + low;
        float *weight = split_new_run(out, pixel, first, high - low + 1);
        for (ptrdiff_t i = low; i <= high; i++) weight[i - low] = (float)(box[i * n_rows + row] * (1 / sum));
    }
    for (ptrdiff_t i = 0; i < n_columns * n_rows; i++) box[i] = 0;
}
#endif
