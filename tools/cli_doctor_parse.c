/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of /proc and /sys. Names in them are others' to choose, so nothing is taken on trust. */
#include <ctype.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>

#include "core/cleanup.h"
#include "enforce/mounts.h"
#include "tools/cli_doctor.h"

#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000 /* linux/fanotify.h of 6.14 */
#endif
#define PERMISSION_BITS (FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | FAN_PRE_ACCESS)
#define CLASS_BITS (FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT)

int doctor_parse_release(const char *text, unsigned *major, unsigned *minor)
{
	unsigned a, b;
	int n = 0;

	if (!isdigit((unsigned char)*text) || sscanf(text, "%3u.%3u%n", &a, &b, &n) != 2 ||
	    isdigit((unsigned char)text[n]))
		return -EPROTO;
	*major = a;
	*minor = b;
	return 0;
}

bool doctor_has_word(const char *list, const char *word)
{
	static const char between[] = ", \t\n";
	size_t len = strlen(word), n;

	for (list += strspn(list, between); *list; list += n, list += strspn(list, between)) {
		n = strcspn(list, between);
		if (n == len && !memcmp(list, word, len))
			return true;
	}
	return false;
}

int doctor_parse_choice(const char *text, char *buf, size_t size)
{
	const char *from = strchr(text, '['), *to = from ? strchr(from, ']') : NULL;

	if (!to || (size_t)(to - from) > size)
		return -EPROTO;
	snprintf(buf, size, "%.*s", (int)(to - from - 1), from + 1);
	return 0;
}

/* The next line after s, or NULL. */
static const char *next_line(const char *s)
{
	s = strchr(s, '\n');
	return s ? s + 1 : NULL;
}

/* proc_pid_fdinfo(5): "fanotify flags:17 event-flags:88002", then a line for each mark. */
int doctor_parse_group(const char *text, struct doctor_group *ret)
{
	struct doctor_group g = { 0 };
	bool found = false;

	for (const char *l = text; l; l = next_line(l)) {
		const char *end = strchrnul(l, '\n'), *mask;

		if (strncmp(l, "fanotify ", 9))
			continue;
		if (!found && !strncmp(l + 9, "flags:", 6)) {
			g.flags = (unsigned)strtoul(l + 15, NULL, 16);
			found = true;
			continue;
		}
		mask = memmem(l, (size_t)(end - l), " mask:", 6);
		if (!found || !mask)
			continue;
		g.marks++;
		if (strtoul(mask + 6, NULL, 16) & PERMISSION_BITS)
			g.permission_marks++;
	}
	if (!found)
		return -EPROTO;
	*ret = g;
	return 0;
}

bool doctor_group_holds(const struct doctor_group *g)
{
	return (g->flags & CLASS_BITS) != 0;
}

int doctor_parse_field(const char *text, const char *name, char *buf, size_t size)
{
	size_t len = strlen(name);

	for (const char *l = text; l; l = next_line(l)) {
		const char *end = strchrnul(l, '\n'), *v;

		if (strncmp(l, name, len) || l[len] != ':')
			continue;
		v = l + len + 1;
		v += strspn(v, " \t");
		if (v > end)
			v = end;
		snprintf(buf, size, "%.*s", (int)(end - v), v);
		return 0;
	}
	return -ENOENT;
}

/* proc_pid_limits(5): "Max open files            1024                 524288   files" */
int doctor_parse_limit(const char *text, const char *name, uint64_t *ret)
{
	size_t len = strlen(name);
	char *end;

	for (const char *l = text; l; l = next_line(l)) {
		uint64_t v;

		if (strncmp(l, name, len) || l[len] != ' ')
			continue;
		l += len;
		l += strspn(l, " ");
		if (!strncmp(l, "unlimited", 9)) {
			*ret = UINT64_MAX;
			return 0;
		}
		if (!isdigit((unsigned char)*l))
			return -EPROTO;
		errno = 0;
		v = strtoull(l, &end, 10);
		if (errno || *end != ' ')
			return -EPROTO;
		*ret = v;
		return 0;
	}
	return -EPROTO;
}

/* capabilities(7); a newer kernel's are told by number. */
static const char *const capability_names[] = {
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
	"setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
	"ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
	"sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
	"lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
	"wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
};

char *doctor_parse_capabilities(const char *hex)
{
	size_t n = strspn(hex, "0123456789abcdefABCDEF"), size;
	char *text = NULL;
	uint64_t mask;
	FILE *f;

	if (n == 0 || n > 16 || hex[n + strspn(hex + n, " \t")])
		return NULL;
	mask = strtoull(hex, NULL, 16);
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	for (unsigned i = 0; i < 64; i++) {
		if (!(mask >> i & 1))
			continue;
		if (ftell(f) > 0)
			fputc(' ', f);
		if (i < ARRAY_SIZE(capability_names))
			fprintf(f, "%s", capability_names[i]);
		else
			fprintf(f, "%u", i);
	}
	fclose(f); /* may move the text */
	return text;
}

int doctor_parse_core_pipe(const char *text, char *buf, size_t size)
{
	size_t n;

	if (*text != '|')
		return -ENOENT;
	text++;
	n = strcspn(text, " \t\n");
	snprintf(buf, size, "%.*s", (int)n, text);
	return 0;
}

char doctor_parse_kconfig(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *l = text; l; l = next_line(l)) {
		if (!strncmp(l, name, len) && l[len] == '=')
			return l[len + 1] == 'y' || l[len + 1] == 'm' ? l[len + 1] : 0;
		if (!strncmp(l, "# ", 2) && !strncmp(l + 2, name, len) &&
		    !strncmp(l + 2 + len, " is not set", 11))
			return 'n';
	}
	return 0;
}

enum doctor_fs doctor_fs_kind(const char *fstype)
{
	static const char *const remote[] = {
		"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "9p", "virtiofs", "lustre",
		"gfs2", "ocfs2", "coda", "orangefs", "beegfs", "gpfs", "glusterfs", "davfs", "ncpfs",
	};

	if (mount_class(fstype) == MOUNT_MARK)
		return FS_LOCAL;
	if (!strcmp(fstype, "autofs"))
		return FS_AUTOMOUNT;
	if (!strcmp(fstype, "fuse") || !strcmp(fstype, "fuseblk") || !strncmp(fstype, "fuse.", 5))
		return FS_FUSE;
	for (size_t i = 0; i < ARRAY_SIZE(remote); i++)
		if (!strcmp(fstype, remote[i]))
			return FS_REMOTE;
	return FS_OTHER;
}
