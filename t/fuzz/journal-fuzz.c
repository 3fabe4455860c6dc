/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal's payload and the record that is made of it: nothing is read beyond its end, and what
 * comes out is JSON. The first byte chooses what the others are: a payload as it lies in the ring,
 * the strings and numbers of a verdict, or those of a record of our own; of the latter two the
 * payload is written first, and then damaged in one place.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/permission.h"
#include "core/proctree.h"
#include "store/mask.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p, *end;
};

static unsigned number(struct input *in, unsigned below)
{
	return in->p < in->end ? *in->p++ % below : 0;
}

/* The bytes up to the next line feed; NULL for none. Freed by the caller. */
static char *string(struct input *in)
{
	const uint8_t *nl = in->p < in->end ? memchr(in->p, '\n', (size_t)(in->end - in->p)) : NULL;
	size_t n = (size_t)((nl ? nl : in->end) - in->p);
	char *s = n ? strndup((const char *)in->p, n) : NULL;

	in->p = nl ? nl + 1 : in->end;
	return s;
}

static void read_back(const void *buf, size_t size, bool must)
{
	static const struct record_context c = { .host = "h" };
	static const uint8_t sig[RECORD_SIG_SIZE];
	struct text t = { 0 }, shown = { 0 };
	struct record_row row;
	struct payload p;

	if (payload_read(buf, size, &p)) {
		if (must)
			abort();
		return;
	}
	for (unsigned i = 0; i < record_count(&p); i++) {
		json_error_t err;
		json_t *o;

		text_clear(&t);
		text_clear(&shown);
		record_write(&c, &p, OUTCOME_DENIED, 1, i, 1, "0", &t, &row);
		if (record_with_sig(t.p, t.n, sig, &shown))
			abort();
		o = json_loadb(shown.p, shown.n, JSON_REJECT_DUPLICATES, &err);
		if (!o)
			abort();
		json_decref(o);
	}
	text_free(&t);
	text_free(&shown);
}

static void damage_and_read(uint8_t *buf, size_t size, struct input *in)
{
	read_back(buf, size, true);
	buf[(number(in, 256) << 8 | number(in, 256)) % size] ^= (uint8_t)number(in, 256);
	read_back(buf, size, false);
	/* Cut, in memory that ends there. */
	size = (number(in, 256) << 8 | number(in, 256)) % size;
	if (size) {
		uint8_t *cut = malloc(size);

		memcpy(cut, buf, size);
		read_back(cut, size, false);
		free(cut);
	}
}

static void verdict(struct input *in)
{
	char *s[16];
	struct tree tree = { .id = 1, .root_pid = 7 };
	struct rule rule = { .kind = KIND_FILE_OPENED, .mechanism = MECH_FANOTIFY };
	struct permission perm;
	struct decision d = { .verdict = (enum verdict)number(in, VERDICT_BLOCK + 1) };
	struct event ev = { .kind = (enum event_kind)number(in, KIND_COUNT), .perm = &perm };
	struct verdict_note note = { .ev = &ev, .d = &d };
	uint8_t *buf;
	size_t n;

	note.mode = number(in, 2) ? MODE_ENFORCE : MODE_OBSERVE;
	note.by = (enum decided_by)number(in, BY_GUARDIAN + 1);
	note.mechanism = (enum mechanism)number(in, MECH_COUNT);
	ev.subj.tgid = (int)number(in, 256);
	ev.subj.tree = number(in, 2) ? &tree : NULL;
	rule.n_capture = number(in, RULE_CAPTURE_MAX + 1);
	for (unsigned i = 0; i < rule.n_capture; i++)
		rule.capture[i] = (enum field_id)number(in, FIELD_COUNT);
	d.n_fired = number(in, FIRED_MAX + 1);
	d.n_fired_more = number(in, 256);
	for (size_t i = 0; i < 16; i++)
		s[i] = string(in);
	ev.subj.comm = s[0];
	ev.subj.exe = s[1];
	ev.subj.cgroup = s[2];
	ev.subj.lineage = s[3];
	ev.source_name = s[4];
	note.category = s[5];
	snprintf(tree.agent, sizeof(tree.agent), "%s", s[6] ? s[6] : "");
	rule.id = s[7] ? s[7] : (char[]){ "R3" };
	rule.part = s[8];
	rule.name = s[9];
	rule.pack = s[10];
	if (ev.kind == KIND_EXEC_OBSERVED) {
		ev.exec.path = s[11];
		ev.exec.argv = s[12];
		ev.exec.argv_len_bytes = s[12] ? strlen(s[12]) + 1 : 0;
	} else if (ev.kind == KIND_SOCKET_CONNECT) {
		ev.dest.host = s[11];
		ev.dest.protocol = s[12];
		memset(ev.dest.addr, (int)number(in, 256), sizeof(ev.dest.addr));
	} else if (ev.kind == KIND_FILE_OPENED) {
		ev.file.n_names = number(in, 3);
		ev.file.names[0].path = s[11];
		ev.file.names[1].path = s[12];
	}
	for (unsigned i = 0; i < d.n_fired; i++)
		d.fired[i] = (struct fired){ .rule = &rule, .verdict = d.verdict,
					     .name_index = i % 2 };
	n = payload_size(&note);
	buf = malloc(n);
	payload_write(&note, 1772648800000000000, buf);
	damage_and_read(buf, n, in);
	free(buf);
	for (size_t i = 0; i < 16; i++)
		free(s[i]);
}

static void own(struct input *in)
{
	char *id = string(in), *name = string(in), *json = string(in);
	size_t n = payload_own_size(id, name, json);
	uint8_t *buf = malloc(n);

	payload_own_write(id, name, json, 1772648800000000000, buf);
	damage_and_read(buf, n, in);
	free(buf);
	free(id);
	free(name);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct text t = { 0 }, shown = { 0 };

	if (!size)
		return 0;
	in.p++;
	switch (data[0] % 3) {
	case 0:
		read_back(in.p, size - 1, false);
		mask_secrets(&t, (const char *)in.p, size - 1);
		mask_prose(&t, (const char *)in.p, size - 1);
		mask_arguments(&t, (const char *)in.p, size - 1, 0);
		text_visible(&shown, (const char *)in.p, size - 1);
		break;
	case 1:
		verdict(&in);
		break;
	default:
		own(&in);
	}
	text_free(&t);
	text_free(&shown);
	return 0;
}
