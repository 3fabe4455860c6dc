/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What should be watched and is not. Kept for `oknek status`, told once for the log and as evidence:
 * an agent that makes gaps by the thousand fills neither.
 */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

static uint64_t gap_hash(const char *path, const char *why)
{
	struct object_handle h = { .fsid = 0 };
	uint64_t x = 0;

	/* The hash of handles over both texts, piece by piece. */
	for (const char *text = path; text; text = text == path ? why : NULL)
		for (size_t at = 0, len = strlen(text); at < len; at += h.len) {
			h.len = (uint32_t)(len - at < sizeof(h.bytes) ? len - at : sizeof(h.bytes));
			memcpy(h.bytes, text + at, h.len);
			h.fsid = x;
			x = object_handle_hash(&h);
		}
	return x;
}

static bool was_told(struct marks *m, uint64_t hash)
{
	for (unsigned i = 0; i < m->n_told; i++)
		if (m->told[i] == hash)
			return true;
	if (m->n_told < GAPS_TOLD_MAX)
		m->told[m->n_told++] = hash;
	else
		return true;
	return false;
}

void marks_gap(struct marks *m, const char *path, const char *why)
{
	bool known = false, tell;

	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n_gaps && !known; i++)
		known = !strcmp(m->gaps[i].path, path) && !strcmp(m->gaps[i].why, why);
	if (!known && m->n_gaps < GAPS_MAX) {
		struct gap *g = &m->gaps[m->n_gaps];

		g->path = strdup(path);
		g->why = strdup(why);
		if (g->path && g->why) {
			m->n_gaps++;
		} else {
			free(g->path);
			free(g->why);
		}
	} else if (!known) {
		m->stats.gaps_uncounted++;
	}
	tell = !known && !was_told(m, gap_hash(path, why));
	pthread_mutex_unlock(&m->lock);
	if (tell && m->c.gap)
		m->c.gap(m->c.arg, path, why);
}

void marks_clear_gaps(struct marks *m)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n_gaps; i++) {
		free(m->gaps[i].path);
		free(m->gaps[i].why);
	}
	m->n_gaps = 0;
	m->stats.gaps_uncounted = 0;
	pthread_mutex_unlock(&m->lock);
}

void marks_each_gap(struct marks *m, void (*fn)(void *arg, const char *path, const char *why),
		    void *arg)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n_gaps; i++)
		fn(arg, m->gaps[i].path, m->gaps[i].why);
	pthread_mutex_unlock(&m->lock);
}
