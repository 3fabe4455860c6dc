/* SPDX-License-Identifier: Apache-2.0 */
#include "core/field.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/cleanup.h"
#include "core/proctree.h"

#define K(kind) (1u << KIND_##kind)
#define K_ALL ((1u << KIND_COUNT) - 1)
#define K_EXEC K(EXEC_OBSERVED)
#define K_FILE K(FILE_OPENED)
#define K_NET K(SOCKET_CONNECT)
#define K_CHANGED K(FILE_CHANGED)
#define K_DRIFT K(BASELINE_DRIFT)
#define K_SCANNED K(FILE_SCANNED)
#define K_MCP K(MCP_ENDPOINT)

static const struct field_info fields[FIELD_COUNT] = {
#define FIELD(id, name, kinds, type, meaning)                                                 \
	[FIELD_##id] = {name, kinds, FIELD_TYPE_##type, meaning},
#include "core/fields.def"
#undef FIELD
};

const struct field_info *field_info(enum field_id id)
{
	return &fields[id];
}

int field_by_name(const char *name)
{
	for (int i = 0; i < FIELD_COUNT; i++)
		if (*fields[i].name == *name && !strcmp(fields[i].name, name))
			return i;
	return -ENOENT;
}

static void set_number(struct field_value *v, int64_t n)
{
	v->null = false;
	v->is_number = true;
	v->number = n;
}

/* "" and NULL are how an event says that it does not know. */
static void set_string(struct field_value *v, const char *s)
{
	if (!s || !*s)
		return;
	v->null = false;
	v->string = s;
}

static bool strip_suffix(const char *s, size_t *len, const char *suffix)
{
	size_t n = strlen(suffix);

	if (*len <= n || memcmp(s + *len - n, suffix, n))
		return false;
	*len -= n;
	return true;
}

/* The kernel appends " (deleted)" when the file was replaced under a running process, as every
 * self-updating agent does. */
static void set_process_name(struct field_value *v, const char *exe)
{
	const char *base = exe ? strrchr(exe, '/') : NULL;
	bool cut;
	size_t len;

	base = base ? base + 1 : exe;
	if (!base || !*base)
		return;
	len = strlen(base);
	cut = strip_suffix(base, &len, " (deleted)");
	cut |= strip_suffix(base, &len, ".exe");
	if (!cut || len >= sizeof(v->buf)) { /* no file name is that long */
		set_string(v, base);
		return;
	}
	memcpy(v->buf, base, len);
	v->buf[len] = '\0';
	set_string(v, v->buf);
}

bool field_has_address(const struct dest_object *d)
{
	static const uint8_t none[16];

	return d->has_addr || memcmp(d->addr, none, sizeof(none)) != 0;
}

static void set_address(struct field_value *v, const struct dest_object *d)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *addr = d->addr;
	bool v4 = !memcmp(addr, mapped, sizeof(mapped));

	if (!field_has_address(d))
		return;
	if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, v->buf, sizeof(v->buf)))
		set_string(v, v->buf);
}

bool field_has_port(const struct dest_object *d)
{
	return d->port || field_has_address(d);
}

static void set_open_mode(struct field_value *v, enum open_mode mode)
{
	static const char *const names[] = {[OPEN_MODE_READ] = "read",
					    [OPEN_MODE_WRITE] = "write",
					    [OPEN_MODE_EXEC] = "exec",
					    [OPEN_MODE_WATCH] = "watch"};

	if ((unsigned)mode < ARRAY_SIZE(names))
		set_string(v, names[mode]);
}

static void set_path(struct field_value *v, const struct file_object *file,
		     unsigned name_index)
{
	if (file->n_names)
		set_string(v, file->names[name_index < file->n_names ? name_index : 0].path);
}

void field_get(const struct event *ev, enum field_id id, unsigned name_index,
	       const char *category, const struct wall_clock *clock, struct field_value *ret)
{
	const struct subject *s = &ev->subj;

	ret->null = true;
	ret->is_number = false;
	ret->number = 0;
	ret->string = NULL;

	if ((unsigned)id >= FIELD_COUNT || !(fields[id].kinds & 1u << ev->kind))
		return;

	switch (id) {
	case FIELD_AGENT_IDENTIFIER:
		set_string(ret, s->tree ? s->tree->agent : NULL);
		return;
	case FIELD_PROCESS_NAME:
		set_process_name(ret, s->exe);
		return;
	case FIELD_EXE:
		set_string(ret, s->exe);
		return;
	case FIELD_PID:
		if (s->tgid)
			set_number(ret, s->tgid);
		return;
	case FIELD_PARENT_PID:
		if (s->ppid)
			set_number(ret, s->ppid);
		return;
	case FIELD_UID:
		if (s->uid != (uid_t)-1)
			set_number(ret, s->uid);
		return;
	case FIELD_CGROUP:
		set_string(ret, s->cgroup);
		return;
	case FIELD_WALL_CLOCK:
		if (clock && zone_rfc3339(NULL, clock->unix_s * (int64_t)NSEC_PER_SEC, false,
					  ret->buf, sizeof(ret->buf)))
			set_string(ret, ret->buf);
		return;
	case FIELD_WALL_CLOCK_HOUR:
		if (clock)
			set_number(ret, clock->hour);
		return;
	case FIELD_WALL_CLOCK_DOW:
		if (clock)
			set_number(ret, clock->dow);
		return;
	case FIELD_PATH:
		set_path(ret, &ev->file, name_index);
		return;
	case FIELD_MATCHED_CATEGORY:
		set_string(ret, category);
		return;
	case FIELD_OPEN_MODE:
		set_open_mode(ret, ev->file.mode);
		return;
	case FIELD_DEST_IP:
		set_address(ret, &ev->dest);
		return;
	case FIELD_DEST_PORT:
		if (field_has_port(&ev->dest))
			set_number(ret, ev->dest.port);
		return;
	case FIELD_DEST_HOST:
		set_string(ret, ev->dest.host);
		return;
	case FIELD_DEST_PATH:
		set_string(ret, ev->dest.path);
		return;
	case FIELD_EGRESS:
		set_string(ret, egress_class_name(ev->dest.egress));
		return;
	case FIELD_EGRESS_GATEWAY:
		set_string(ret, ev->dest.gateway_set ? "set" : NULL);
		return;
	case FIELD_CHAIN_DEPTH:
		if (field_shell_find(&ev->exec, &(size_t){ 0 }))
			set_number(ret, field_chain_depth(&ev->exec, NULL));
		return;
	case FIELD_PROTOCOL:
		set_string(ret, ev->dest.protocol);
		return;
	/* Computed by detectors, or too long for the value: */
	case FIELD_BASELINE_DISTANCE:
	case FIELD_BASH_COMMAND:
	case FIELD_ARGV:
	case FIELD_CHAIN_BREAKDOWN:
	case FIELD_COUNT:
		return;
	}
}

size_t field_argv(const struct exec_object *x, char *buf, size_t size_bytes)
{
	size_t n = x->argv ? x->argv_len_bytes : 0;

	while (n && !x->argv[n - 1])
		n--;
	if (n >= size_bytes)
		n = size_bytes - 1;
	for (size_t i = 0; i < n; i++)
		buf[i] = x->argv[i] ? x->argv[i] : ' ';
	buf[n] = '\0';
	return n;
}
