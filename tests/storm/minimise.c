// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes a failing program short: fewer steps, then simpler ones. */
#include "storm.h"

static int left;		/* tries */

/* What is tried need not fail in the same way: any failure is worth a look. */
static bool still_fails(const struct program *p, struct outcome *why)
{
	struct outcome o;

	if (left <= 0)
		return false;
	left--;
	o = exec_program(p);
	if (o.failed)
		*why = o;
	return o.failed;
}

/* Leave out pieces of steps, ever smaller ones, for as long as it fails. */
static bool fewer_steps(struct program *p, struct outcome *why)
{
	static struct program less;
	bool any = false;

	for (int size = (p->n + 1) / 2; size; size /= 2) {
		for (int end = p->n, start; end > 0 && left > 0; end = start) {
			start = end > size ? end - size : 0;
			less = *p;
			memmove(&less.step[start], &less.step[end],
				(size_t)(less.n - end) * sizeof(less.step[0]));
			less.n -= end - start;
			if (still_fails(&less, why)) {
				*p = less;
				any = true;
			}
		}
	}
	return any;
}

/* Of a step: shorter, aligned, fewer flags. */
static bool simpler(const struct step *s, int how, struct step *to)
{
	*to = *s;
	switch (how) {
	case 0:		/* one page */
		to->len = PAGE;
		if (s->op == MREMAP && s->a == s->len)
			to->a = PAGE;
		return s->len > PAGE;
	case 1:		/* half of it */
		to->len = s->len / 2 & ~(PAGE - 1);
		if (s->op == MREMAP && s->a == s->len)
			to->a = to->len;
		return to->len > PAGE;
	case 2:		/* without the first page */
		to->addr += PAGE;
		to->len -= PAGE;
		if (s->op == MREMAP && s->a == s->len)
			to->a = to->len;
		if (s->op == MREMAP)
			to->c += PAGE;
		if (s->op == WRITE)
			to->a++;
		return s->len > PAGE;
	case 3:		/* without the last */
		to->len -= PAGE;
		if (s->op == MREMAP && s->a == s->len)
			to->a = to->len;
		return s->len > PAGE;
	case 4:
		to->a = to->len;
		return s->op == MREMAP && s->a != s->len;
	case 5:
		to->b &= ~(uint64_t)MREMAP_DONTUNMAP;
		return s->op == MREMAP && s->b & MREMAP_DONTUNMAP;
	case 6:
		to->b = (s->b & ~(uint64_t)RELOCATE_FLAGS) | RELOCATE;
		return s->op == MREMAP && s->b & MUST;
	case 7:
		to->b &= ~(uint64_t)RELOCATE_FLAGS;
		return s->op == MREMAP && s->b & RELOCATE_FLAGS;
	case 8:
		to->a = 3;
		to->b = 0;
		to->c = 0;
		return s->op == MAP && (s->a != 3 || s->b);
	default:
		return false;
	}
}

struct outcome minimise(struct program *p, int tries)
{
	struct outcome why = { 0 };
	bool again = true;

	left = tries;
	p->seed = 0;
	if (!still_fails(p, &why))
		return why;
	/* What comes after the failure matters not. */
	if (why.step + 1 < p->n) {
		const int n = p->n;

		p->n = why.step + 1;
		if (!still_fails(p, &why))
			p->n = n;
	}
	while (again && left > 0) {
		again = fewer_steps(p, &why);
		for (int i = 0; i < p->n; i++)
			for (int how = 0; how < 9; how++) {
				struct step was = p->step[i], now;

				/* Some can be done again. */
				while (simpler(&was, how, &now)) {
					p->step[i] = now;
					if (!still_fails(p, &why)) {
						p->step[i] = was;
						break;
					}
					was = now;
					again = true;
				}
			}
	}
	why.failed = true;
	return why;
}
