/* SPDX-License-Identifier: Apache-2.0 */
#include "core/event_text.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/field.h"
#include "core/rule.h"

/* Counts on when there is no room. */
struct out {
	char *p;
	size_t n, size;
	bool first;
};

static void put(struct out *o, const char *s, size_t len)
{
	if (o->n < o->size)
		memcpy(o->p + o->n, s, len < o->size - o->n ? len : o->size - o->n);
	o->n += len;
}

static void put_text(struct out *o, const char *s)
{
	put(o, s, strlen(s));
}

/* Bytes of the UTF-8 character at s, 0 if there is none: no overlong forms, no surrogates. */
static size_t utf8_len(const unsigned char *s, size_t len)
{
	static const struct {
		unsigned char lead_mask, lead, more;
		uint32_t least;
	} forms[] = { { 0xe0, 0xc0, 1, 0x80 }, { 0xf0, 0xe0, 2, 0x800 }, { 0xf8, 0xf0, 3, 0x10000 } };

	if (*s < 0x80)
		return 1;
	for (size_t f = 0; f < ARRAY_SIZE(forms); f++) {
		uint32_t c = *s & (unsigned char)~forms[f].lead_mask;

		if ((*s & forms[f].lead_mask) != forms[f].lead)
			continue;
		if (len <= forms[f].more)
			return 0;
		for (unsigned i = 1; i <= forms[f].more; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[i] & 0x3f);
		}
		if (c < forms[f].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return 0;
		return forms[f].more + 1u;
	}
	return 0;
}

static bool is_utf8(const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_len((const unsigned char *)s + i, len - i);
		if (!n)
			return false;
	}
	return true;
}

static void put_quoted(struct out *o, const char *s, size_t len)
{
	size_t from = 0;

	put(o, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		char esc[8];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		put(o, s + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			put(o, (char[]){ '\\', (char)c }, 2);
		else
			put(o, esc, (size_t)snprintf(esc, sizeof(esc), "\\u%04x", c));
	}
	put(o, s + from, len - from);
	put(o, "\"", 1);
}

static void put_base64(struct out *o, const char *s, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *b = (const unsigned char *)s;

	put(o, "\"", 1);
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < len ? (uint32_t)b[i + 1] << 8 : 0) |
			     (i + 2 < len ? b[i + 2] : 0);
		char four[4] = { digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63],
				 digits[v & 63] };

		if (i + 1 >= len)
			four[2] = '=';
		if (i + 2 >= len)
			four[3] = '=';
		put(o, four, 4);
	}
	put(o, "\"", 1);
}

static void put_key(struct out *o, const char *key, const char *suffix)
{
	put_text(o, o->first ? "\"" : ",\"");
	o->first = false;
	put_text(o, key);
	put_text(o, suffix);
	put_text(o, "\":");
}

/* Where "" and NULL say that it is not known, and is not written. */
static void put_string(struct out *o, const char *key, const char *s)
{
	size_t len = s ? strlen(s) : 0;

	if (!len)
		return;
	if (is_utf8(s, len)) {
		put_key(o, key, "");
		put_quoted(o, s, len);
	} else {
		put_key(o, key, "_b64");
		put_base64(o, s, len);
	}
}

/* The same where "" is a value. */
static void put_value(struct out *o, const char *key, const char *s)
{
	if (s && *s) {
		put_string(o, key, s);
		return;
	}
	put_key(o, key, "");
	put_text(o, "\"\"");
}

static void put_int(struct out *o, const char *key, int64_t n)
{
	char digits[24];

	put_key(o, key, "");
	put(o, digits, (size_t)snprintf(digits, sizeof(digits), "%" PRId64, n));
}

static void put_item(struct out *o, const char *s, size_t len)
{
	if (is_utf8(s, len)) {
		put_quoted(o, s, len);
		return;
	}
	put_text(o, "{\"b64\":");
	put_base64(o, s, len);
	put_text(o, "}");
}

static void put_time(struct out *o, const struct event_line *l)
{
	char time[RFC3339_SIZE];

	zone_rfc3339(NULL, l->time_unix_ns, true, time, sizeof(time));
	put_string(o, "time", time);
	if (l->has_utc_offset)
		put_int(o, "utc_offset", l->utc_offset_s);
}

static void put_subject(struct out *o, const struct subject *s)
{
	const struct tree *t = s->tree;

	if (t) {
		put_value(o, "agent", t->agent);
		put_value(o, "session", t->session);
		put_int(o, "root_pid", t->root_pid);
	}
	if (s->tgid)
		put_int(o, "pid", s->tgid);
	if (s->tid)
		put_int(o, "tid", s->tid);
	if (s->ppid)
		put_int(o, "ppid", s->ppid);
	if (s->uid != (uid_t)-1)
		put_int(o, "uid", s->uid);
	if (s->auid != (uid_t)-1)
		put_int(o, "auid", s->auid);
	if (s->start_time_ns && s->start_time_ns <= INT64_MAX)
		put_int(o, "start_time_ns", (int64_t)s->start_time_ns);
	put_string(o, "comm", s->comm);
	put_string(o, "exe", s->exe);
	if (s->main_exe) {
		put_key(o, "main_exe", "");
		put_text(o, "true");
	}
	if (s->exe_verified) {
		put_key(o, "exe_verified", "");
		put_text(o, "true");
	}
	put_string(o, "cgroup", s->cgroup);
	put_string(o, "lineage", s->lineage);
	if (!s->homes.n)
		return;
	put_key(o, "homes", "");
	for (unsigned i = 0; i < s->homes.n && i < HOMES_MAX; i++) {
		put_text(o, i ? "," : "[");
		put_item(o, s->homes.path[i], strlen(s->homes.path[i]));
	}
	put_text(o, "]");
}

static void put_file(struct out *o, const struct file_object *f, bool mode)
{
	static const char *const modes[] = { [OPEN_MODE_READ] = "read", [OPEN_MODE_WRITE] = "write",
					     [OPEN_MODE_EXEC] = "exec",
					     [OPEN_MODE_WATCH] = "watch" };

	if (f->n_names == 1 && !f->names[0].home) {
		put_value(o, "path", f->names[0].path);
	} else if (f->n_names) {
		put_key(o, "names", "");
		for (unsigned i = 0; i < f->n_names && i < FILE_NAMES_MAX; i++) {
			put_text(o, i ? ",{" : "[{");
			o->first = true;
			put_value(o, "path", f->names[i].path);
			put_string(o, "home", f->names[i].home);
			put_text(o, "}");
		}
		put_text(o, "]");
		o->first = false;
	}
	if (mode && (unsigned)f->mode < ARRAY_SIZE(modes))
		put_string(o, "mode", modes[f->mode]);
}

static void put_exec(struct out *o, const struct event_line *l)
{
	const struct exec_object *x = &l->ev.exec;
	size_t n = x->argv ? x->argv_len_bytes : 0;

	if (x->path && *x->path && (!l->ev.subj.exe || strcmp(x->path, l->ev.subj.exe)))
		put_string(o, "path", x->path);
	if (!n)
		return;
	put_key(o, "argv", "");
	for (size_t i = 0, len; i < n; i += len + 1) {
		len = strnlen(x->argv + i, n - i);
		put_text(o, i ? "," : "[");
		put_item(o, x->argv + i, len);
	}
	put_text(o, "]");
	if (x->argv_cut) {
		put_key(o, "argv_truncated", "");
		put_text(o, "true");
	}
	if (l->masked) {
		put_key(o, "masked", "");
		put_text(o, "[\"argv\"]");
	}
}

static void put_dest(struct out *o, const struct dest_object *d)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = !memcmp(d->addr, mapped, sizeof(mapped));
	char ip[INET6_ADDRSTRLEN];

	if (field_has_address(d) &&
	    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? d->addr + 12 : d->addr, ip, sizeof(ip)))
		put_string(o, "dest_ip", ip);
	if (d->port)
		put_int(o, "dest_port", d->port);
	put_string(o, "dest_host", d->host);
	put_string(o, "dest_path", d->path);
	put_string(o, "egress", egress_class_name(d->egress));
	put_string(o, "egress_gateway", d->gateway_set ? "set" : NULL);
	put_string(o, "protocol", d->protocol);
}

static void put_decided(struct out *o, const struct event_decided *d)
{
	put_key(o, "decided", "");
	put_text(o, "{");
	o->first = true;
	put_string(o, "verdict", verdict_name(d->verdict));
	put_key(o, "rules", "");
	put_text(o, "[");
	for (unsigned i = 0; i < d->n_rules && i < FIRED_MAX; i++) {
		put_text(o, i ? "," : "");
		put_item(o, d->rules[i], strlen(d->rules[i]));
	}
	put_text(o, "]");
	if (d->n_more)
		put_int(o, "more", d->n_more);
	put_string(o, "mode", mode_name(d->mode));
	put_string(o, "by", decided_by_name(d->by));
	put_string(o, "outcome", outcome_name(d->outcome));
	put_string(o, "ruleset", d->ruleset);
	put_text(o, "}");
}

size_t event_text_write(const struct event_line *l, char *buf, size_t size_bytes)
{
	struct out o = { .p = buf, .size = size_bytes, .first = true };

	put_text(&o, "{");
	put_string(&o, "kind", event_kind_name(l->ev.kind));
	put_time(&o, l);
	put_string(&o, "source", l->ev.source_name);
	put_subject(&o, &l->ev.subj);
	switch (l->ev.kind) {
	case KIND_EXEC_OBSERVED:
		put_exec(&o, l);
		break;
	case KIND_FILE_OPENED:
	case KIND_FILE_CHANGED:
	case KIND_FILE_SCANNED:
		put_file(&o, &l->ev.file, l->ev.kind == KIND_FILE_OPENED);
		break;
	case KIND_SOCKET_CONNECT:
		put_dest(&o, &l->ev.dest);
		break;
	default:
		break;
	}
	if (l->has_decided)
		put_decided(&o, &l->decided);
	put_text(&o, "}");
	return o.n;
}

void event_rule_name(const struct rule *rule, char *buf, size_t size_bytes)
{
	snprintf(buf, size_bytes, "%s%s%s", rule->id, *rule->part ? "/" : "", rule->part);
}
