/* See chart.h. */
#include "test/figures/chart.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 460, LEFT = 80, RIGHT = 20, TOP = 50, BOTTOM = 60, LEGEND = 20 };

/* Told apart also by those who do not tell red from green (Okabe and Ito). */
static const char *const colour[SERIES_MAX] = {
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555", "#e69f00"};

struct axis {
	bool logarithmic;
	double low, high, step; /* of an axis that is logarithmic: powers of ten */
	double from, to;        /* where it lies, in pixels */
};

static void
text_escaped(FILE *f, const char *s)
{
	for (; *s != 0; s++) {
		if (*s == '&')
			fputs("&amp;", f);
		else if (*s == '<')
			fputs("&lt;", f);
		else if (*s == '>')
			fputs("&gt;", f);
		else
			fputc(*s, f);
	}
}

static void
text_at(FILE *f, double x, double y, const char *attributes, const char *s)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\"%s%s>", x, y, *attributes != 0 ? " " : "", attributes);
	text_escaped(f, s);
	fputs("</text>\n", f);
}

static void
line_at(FILE *f, double x, double y, double x2, double y2, const char *stroke)
{
	fprintf(f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n",
	    x, y, x2, y2, stroke);
}

/* ------------------------------------------------------------------- axes */

static void
axis_take(struct axis *a, double v)
{
	if (a->logarithmic) {
		if (v <= 0)
			return;
		v = log10(v);
	}
	a->low = fmin(a->low, v);
	a->high = fmax(a->high, v);
}

/* Steps of 1, 2 or 5 times a power of ten, about six of them. */
static double
nice_step(double span)
{
	double unit = pow(10, floor(log10(span / 6)));

	for (int i = 1; i <= 5; i += i == 1 ? 1 : 3)
		if (span / (unit * i) <= 7)
			return unit * i;
	return unit * 10;
}

/* Round both ends outwards. */
static void
axis_round(struct axis *a)
{
	if (a->low > a->high)
		a->low = a->high = 0;
	if (a->high - a->low < 1e-9)
		a->high = a->low + 1;
	a->step = a->logarithmic ? 1 : nice_step(a->high - a->low);
	a->low = floor(a->low / a->step + 1e-6) * a->step;
	a->high = ceil(a->high / a->step - 1e-6) * a->step;
}

static double
axis_at(const struct axis *a, double v)
{
	double share;

	if (a->logarithmic)
		v = log10(v);
	share = (v - a->low) / (a->high - a->low);
	return a->from + fmin(fmax(share, 0), 1) * (a->to - a->from);
}

static bool
axis_shows(const struct axis *a, double v)
{
	return !a->logarithmic || v > 0;
}

static void
axes_of(const struct chart *c, struct axis *x, struct axis *y)
{
	*x = (struct axis){c->x_log, HUGE_VAL, -HUGE_VAL, 1, LEFT, WIDTH - RIGHT};
	*y = (struct axis){c->y_log, HUGE_VAL, -HUGE_VAL, 1, HEIGHT - BOTTOM, TOP + LEGEND};
	for (size_t s = 0; s < c->count; s++)
		for (size_t i = 0; i < c->series[s].count; i++) {
			if (c->series[s].x != NULL)
				axis_take(x, c->series[s].x[i]);
			axis_take(y, c->series[s].y[i]);
		}
	if (c->y_low != 0 || c->y_high != 0) {
		y->low = y->high = c->y_log ? log10(c->y_high) : c->y_high;
		axis_take(y, c->y_low);
	} else if (!c->y_log) {
		axis_take(y, 0);
	}
	/* The lowest bar must be seen too. */
	if (c->groups != NULL && c->y_log && y->low <= y->high)
		y->low -= 0.5;
	axis_round(x);
	axis_round(y);
}

static void
tick_text(char *out, size_t cap, const struct axis *a, double v)
{
	snprintf(out, cap, "%.6g", a->logarithmic ? pow(10, v) : fabs(v) < a->step / 1e6 ? 0 : v);
}

static void
draw_axes(FILE *f, const struct chart *c, const struct axis *x, const struct axis *y)
{
	char text[32];
	double at;

	for (int i = 0; y->low + i * y->step <= y->high + y->step / 2; i++) {
		at = y->from + i * y->step / (y->high - y->low) * (y->to - y->from);
		line_at(f, LEFT, at, WIDTH - RIGHT, at, "#dddddd");
		tick_text(text, sizeof(text), y, y->low + i * y->step);
		text_at(f, LEFT - 6, at + 4, "text-anchor=\"end\"", text);
	}
	for (int i = 0; c->groups == NULL && x->low + i * x->step <= x->high + x->step / 2; i++) {
		at = x->from + i * x->step / (x->high - x->low) * (x->to - x->from);
		line_at(f, at, y->from, at, y->to, "#dddddd");
		tick_text(text, sizeof(text), x, x->low + i * x->step);
		text_at(f, at, y->from + 18, "text-anchor=\"middle\"", text);
	}
	line_at(f, x->from, y->from, x->to, y->from, "black");
	line_at(f, x->from, y->from, x->from, y->to, "black");
	text_at(f, WIDTH / 2.0, 24, "text-anchor=\"middle\" font-size=\"15\"", c->title);
	text_at(f, (x->from + x->to) / 2, HEIGHT - 14, "text-anchor=\"middle\"", c->x_label);
	fprintf(f, "<g transform=\"translate(18 %.1f) rotate(-90)\">\n", (y->from + y->to) / 2);
	text_at(f, 0, 0, "text-anchor=\"middle\"", c->y_label);
	fputs("</g>\n", f);
}

/* -------------------------------------------------------------------- data */

static void
draw_line(FILE *f, const struct series *s, const char *stroke, const struct axis *x,
    const struct axis *y)
{
	fprintf(f, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"", stroke);
	for (size_t i = 0; i < s->count; i++)
		if (axis_shows(x, s->x[i]) && axis_shows(y, s->y[i]))
			fprintf(f, "%.1f,%.1f ", axis_at(x, s->x[i]), axis_at(y, s->y[i]));
	fputs("\"/>\n", f);
	for (size_t i = 0; i < s->count; i++)
		if (axis_shows(x, s->x[i]) && axis_shows(y, s->y[i]))
			fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
			    axis_at(x, s->x[i]), axis_at(y, s->y[i]), stroke);
}

static void
draw_bars(FILE *f, const struct chart *c, const struct axis *x, const struct axis *y)
{
	double width, each, left, top;
	char text[32];

	if (c->count == 0 || c->series[0].count == 0)
		return;
	width = (x->to - x->from) / (double)c->series[0].count;
	each = width * 0.8 / (double)c->count;
	for (size_t i = 0; i < c->series[0].count; i++) {
		left = x->from + width * ((double)i + 0.1);
		text_at(f, left + width * 0.4, y->from + 18, "text-anchor=\"middle\"", c->groups[i]);
		for (size_t s = 0; s < c->count; s++, left += each) {
			if (!axis_shows(y, c->series[s].y[i]))
				continue;
			top = axis_at(y, c->series[s].y[i]);
			fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
			    "fill=\"%s\"/>\n", left, top, each * 0.92, y->from - top, colour[s]);
			snprintf(text, sizeof(text), "%.3g", c->series[s].y[i]);
			text_at(f, left + each * 0.46, top - 4, "text-anchor=\"middle\" font-size=\"10\"", text);
		}
	}
}

static void
draw_legend(FILE *f, const struct chart *c)
{
	double x = LEFT;

	for (size_t s = 0; s < c->count; s++) {
		fprintf(f, "<rect x=\"%.1f\" y=\"36\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, colour[s]);
		text_at(f, x + 17, 46, "", c->series[s].name);
		x += 40 + 7.0 * (double)strlen(c->series[s].name);
	}
}

bool
chart_write(const struct chart *c, const char *path)
{
	FILE *f = fopen(path, "w");
	struct axis x, y;
	bool bad;

	if (f == NULL)
		return false;
	axes_of(c, &x, &y);
	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
	    "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
	    "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n",
	    WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
	draw_axes(f, c, &x, &y);
	if (c->groups != NULL)
		draw_bars(f, c, &x, &y);
	for (size_t s = 0; c->groups == NULL && s < c->count; s++)
		draw_line(f, &c->series[s], colour[s], &x, &y);
	draw_legend(f, c);
	fputs("</svg>\n", f);
	bad = ferror(f) != 0;
	return fclose(f) == 0 && !bad;
}

/* ---------------------------------------------------------------- programs */

struct figure
figure_of(int argc, char **argv)
{
	struct figure g = {.small = false};
	int i = 1;

	if (i < argc && strcmp(argv[i], "--small") == 0) {
		g.small = true;
		i++;
	}
	if (i + 1 != argc || argv[i][0] == '-') {
		fprintf(stderr, "usage: %s [--small] DIR\n", argv[0]);
		exit(2);
	}
	g.dir = argv[i];
	return g;
}

void
figure_chart(const struct figure *g, const char *name, const struct chart *c)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s.svg", g->dir, name) >= sizeof(path))
		errno = ENAMETOOLONG;
	else if (chart_write(c, path))
		return;
	fprintf(stderr, "%s/%s.svg: %s\n", g->dir, name, strerror(errno));
	exit(1);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double
figure_median(double *v, size_t count)
{
	if (count == 0)
		return 0;
	qsort(v, count, sizeof(*v), compare);
	return count % 2 != 0 ? v[count / 2] : (v[count / 2 - 1] + v[count / 2]) / 2;
}
