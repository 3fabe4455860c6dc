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

enum telling { TELL, TELL_LAST, TELL_NOT };

/* Each uid has a share of what is told, so that none uses up that of others; what comes after its
 * last is only counted. */
static enum telling telling(struct marks *m, uint64_t hash, uid_t uid)
{
	unsigned mine = 0;

	for (unsigned i = 0; i < m->n_told; i++) {
		if (m->told[i].hash == hash)
			return TELL_NOT;
		mine += m->told[i].uid == uid;
	}
	if (mine >= GAPS_TOLD_PER_UID || m->n_told == GAPS_TOLD_MAX)
		return TELL_NOT;
	m->told[m->n_told++] = (struct told){ hash, uid };
	return mine + 1 == GAPS_TOLD_PER_UID || m->n_told == GAPS_TOLD_MAX ? TELL_LAST : TELL;
}

void marks_gap(struct marks *m, const char *path, const char *why)
{
	enum telling tell = TELL_NOT;
	bool known = false;

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
	if (!known)
		tell = telling(m, gap_hash(path, why), m->walk_uid);
	pthread_mutex_unlock(&m->lock);
	if (tell == TELL_NOT || !m->c.gap)
		return;
	m->c.gap(m->c.arg, path, why);
	if (tell == TELL_LAST)
		m->c.gap(m->c.arg, path, "and more of this user, which are only counted from here on");
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
