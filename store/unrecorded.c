/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store did to evidence, between doing it and the record that tells of it. Putting files
 * beside and making a key leave nothing that the next start would find wrong, so if we die before
 * the record is committed, nobody would ever say what happened. It is written down first:
 * DIR/unrecorded, made durable before the first file is moved, removed after the commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "store/writer.h"

#define FILE_NAME "unrecorded"
#define FILE_MAX_BYTES 65536

static json_t *read_file(int dir_fd)
{
	_cleanup_close_ int fd =
		openat(dir_fd, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *buf = malloc(FILE_MAX_BYTES);
	ssize_t n = fd < 0 || !buf ? -1 : read(fd, buf, FILE_MAX_BYTES);

	return n < 0 ? NULL : json_loadb(buf, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
}

static int write_file(struct writer *w)
{
	_cleanup_free_ char *text = NULL;
	json_t *list = json_array();
	int r;

	for (unsigned i = 0; i < w->n_notes; i++) {
		const struct note *n = &w->notes[i];

		if (n->stamp_s)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:I, s:b, s:s, s:I}", "name",
							n->name, "json", n->json, "stamp",
							(json_int_t)n->stamp_s, "aside", n->aside,
							"hash", n->carried.hash, "seq",
							(json_int_t)n->carried.seq));
	}
	text = json_dumps(list, JSON_COMPACT);
	r = !text ? -ENOMEM : file_replace(w->dir_fd, FILE_NAME, text, strlen(text), 0600);
	json_decref(list);
	if (!r && fsync(w->dir_fd) < 0)
		r = -errno;
	return r;
}

int unrecorded_add(struct writer *w, int64_t stamp_s, bool aside, const struct store_head *carried)
{
	struct note *n = &w->notes[w->n_notes - 1];
	int r;

	n->stamp_s = stamp_s;
	n->aside = aside;
	n->carried = carried ? *carried : (struct store_head){0};
	r = write_file(w);
	if (r)
		w->n_notes--;
	return r;
}

/* It was written down, and then nothing was done. */
void unrecorded_take_back(struct writer *w)
{
	w->n_notes--;
	unrecorded_done(w);
}

void unrecorded_done(struct writer *w)
{
	for (unsigned i = 0; i < w->n_notes; i++)
		if (w->notes[i].stamp_s) {
			write_file(w);
			return;
		}
	if (unlinkat(w->dir_fd, FILE_NAME, 0) == 0)
		fsync(w->dir_fd);
}

/* Something was put beside at that time. */
static bool was_done(struct writer *w, int64_t stamp_s)
{
	static const char *const names[] = { DB_FILE, DB_FILE "-wal", "head", "host.pub", "host.key" };
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bool wal = i == 1;

		snprintf(name, sizeof(name), "%s.bad-%" PRId64 "%s", wal ? DB_FILE : names[i], stamp_s,
			 wal ? "-wal" : "");
		if (faccessat(w->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

static bool is_known(const struct writer *w, const char *json)
{
	for (unsigned i = 0; i < w->n_notes; i++)
		if (!strcmp(w->notes[i].json, json))
			return true;
	return false;
}

static void take_one(struct writer *w, const json_t *item)
{
	/* Constants: a note's name is not copied. */
	static const char *const names[] = { SET_ASIDE, "host key replaced",
					     "evidence altered", PUBLIC_ALTERED };
	const char *name = json_string_value(json_object_get(item, "name"));
	const char *json = json_string_value(json_object_get(item, "json"));
	const char *hash = json_string_value(json_object_get(item, "hash"));
	int64_t stamp_s = json_integer_value(json_object_get(item, "stamp"));
	int64_t seq = json_integer_value(json_object_get(item, "seq"));
	struct note *n;

	if (!name || !json || strlen(json) >= sizeof(n->json) || w->n_notes == NOTES_MAX ||
	    stamp_s <= 0 || is_known(w, json) || !was_done(w, stamp_s))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]))
			continue;
		n = &w->notes[w->n_notes++];
		*n = (struct note){.name = names[i], .stamp_s = stamp_s, .found = true};
		strcpy(n->json, json);
		w->head_aside |= strstr(json, "\"head.bad-") != NULL;
		n->aside = json_is_true(json_object_get(item, "aside"));
		if (n->aside)
			w->aside = true;
		if (seq > 0 && (uint64_t)seq <= RECORD_SEQ_MAX && hash && strlen(hash) == RECORD_HASH_HEX &&
		    strspn(hash, "0123456789abcdef") == RECORD_HASH_HEX) {
			n->carried.seq = w->carried.seq = (uint64_t)seq;
			memcpy(n->carried.hash, hash, RECORD_HASH_HEX + 1);
			memcpy(w->carried.hash, hash, RECORD_HASH_HEX + 1);
		}
		writer_incident(w, "%s, by an earlier start that ended before it was recorded",
				names[i]);
	}
}

void unrecorded_find(struct writer *w)
{
	json_t *list = read_file(w->dir_fd), *item;
	size_t i;

	json_array_foreach(list, i, item)
		take_one(w, item);
	json_decref(list);
	unrecorded_done(w); /* with what was not done */
}

/* That start ended between the commit and the removal of the file. */
static bool is_recorded(struct writer *w, const struct note *n)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	_cleanup_(text_free) struct text t = {0};
	json_t *v = json_loads(n->json, 0, NULL);

	text_puts(&t, "\"capture\":");
	if (v)
		text_json_value(&t, v);
	json_decref(v);
	if (!v || t.failed ||
	    db_prepare(&w->db,
		       "SELECT 1 FROM events WHERE rule='O1' AND instr(json,?)"
		       " ORDER BY seq DESC LIMIT 1",
		       &s))
		return false;
	sqlite3_bind_text(s, 1, t.p, (int)t.n, SQLITE_STATIC);
	return sqlite3_step(s) == SQLITE_ROW;
}

void unrecorded_compare(struct writer *w)
{
	unsigned kept = 0;
	bool dropped = false;

	for (unsigned i = 0; i < w->n_notes; i++) {
		if (w->notes[i].found && is_recorded(w, &w->notes[i])) {
			dropped = true;
			continue;
		}
		w->notes[i].found = false;
		if (kept != i)
			w->notes[kept] = w->notes[i];
		kept++;
	}
	w->n_notes = kept;
	if (dropped)
		unrecorded_done(w);
}
