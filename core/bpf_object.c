/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bpf_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

#define BTF_FILE "/sys/kernel/btf/vmlinux"

/* libbpf gives its listener nothing to know whom it is for; each thread hears of its own. */
static _Thread_local char heard[192];

/* The last line of the verifier that says something: its figures come after that. */
static void keep_verifier(const char *text)
{
	const char *best = NULL;
	size_t best_len = 0;

	for (size_t len; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		if (!len || !strncmp(text, "processed ", 10) || strstr(text, "-- END PROG") == text ||
		    !strncmp(text, "-- END", 6))
			continue;
		best = text;
		best_len = len;
	}
	if (best)
		snprintf(heard, sizeof(heard), "%.*s", (int)(best_len < 150 ? best_len : 150), best);
}

/* What went wrong comes first, and then that because of it more went wrong. What the verifier wrote is
 * better than both. */
__attribute__((format(printf, 2, 0)))
static int listen_to(enum libbpf_print_level level, const char *format, va_list args)
{
	_cleanup_free_ char *text = NULL;
	char *log, *s;

	if (level != LIBBPF_WARN)
		return 0;
	if (vasprintf(&text, format, args) < 0) {
		text = NULL;
		return 0;
	}
	log = strstr(text, "BEGIN PROG LOAD LOG --\n");
	if (log) {
		keep_verifier(strchr(log, '\n') + 1);
		return 0;
	}
	s = !strncmp(text, "libbpf: ", 8) ? text + 8 : text;
	s[strcspn(s, "\n")] = '\0';
	if (!heard[0])
		snprintf(heard, sizeof(heard), "%.150s", s);
	return 0;
}

void bpf_object_begin(void)
{
	heard[0] = '\0';
	libbpf_set_print(listen_to);
}

/* ---- why ------------------------------------------------------------------------------------- */

static bool read_text(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static int set_caps(struct __user_cap_data_struct data[2], int command)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(command, &head, data) < 0 ? -errno : 0;
}

static bool has_cap(const struct __user_cap_data_struct data[2], int cap)
{
	return data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

bool bpf_object_refused_by(char *buf, size_t size)
{
	struct __user_cap_data_struct caps[2];
	unsigned long inside, outside, count;
	char text[4096], *s;

	if (!set_caps(caps, SYS_capget) && !has_cap(caps, CAP_SYS_ADMIN) &&
	    !(has_cap(caps, CAP_BPF) && has_cap(caps, CAP_PERFMON) && has_cap(caps, CAP_NET_ADMIN))) {
		snprintf(buf, size, "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed");
		return true;
	}
	if (read_text("/proc/self/uid_map", text, sizeof(text)) &&
	    (sscanf(text, "%lu %lu %lu", &inside, &outside, &count) != 3 || inside || outside ||
	     count < UINT32_MAX)) {
		snprintf(buf, size, "in a user namespace no capability counts for it");
		return true;
	}
	if (read_text("/sys/kernel/security/lockdown", text, sizeof(text)) &&
	    strstr(text, "[confidentiality]")) {
		snprintf(buf, size, "the kernel is locked down (lockdown=confidentiality)");
		return true;
	}
	if (read_text("/sys/fs/selinux/enforce", text, sizeof(text)) && text[0] == '1') {
		snprintf(buf, size, "SELinux enforces; its audit records say what it refused");
		return true;
	}
	if (read_text("/proc/self/status", text, sizeof(text)) && (s = strstr(text, "\nSeccomp:")) &&
	    s[strcspn(s, "0123456789")] == '2') {
		snprintf(buf, size, "a seccomp filter is on us");
		return true;
	}
	return false;
}

int bpf_object_why(int err, const char *what, char *why, size_t size)
{
	char by[128] = "";

	if (err == -EPERM || err == -EACCES) {
		bpf_object_refused_by(by, sizeof(by));
	} else if (access(BTF_FILE, R_OK) < 0) {
		/* What libbpf says for an error then is somebody else's. */
		snprintf(why, size, "%s: this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)", what);
		return err;
	} else if (read_text("/sys/kernel/security/lockdown", by, sizeof(by)) &&
		 strstr(by, "[confidentiality]")) {
		/* Helpers that read the kernel's memory are then unknown to it. */
		snprintf(by, sizeof(by), "the kernel is locked down (lockdown=confidentiality)");
	} else {
		by[0] = '\0';
	}
	if (!by[0])
		snprintf(by, sizeof(by), "%.120s", heard);
	snprintf(why, size, "%s: %s%s%s%s", what, strerror(-err), by[0] ? " (" : "", by, by[0] ? ")" : "");
	return err;
}

/* ---- load ------------------------------------------------------------------------------------ */

int bpf_object_load(struct bpf_object_skeleton *s, struct bpf_map *shared, int shared_fd, char *why,
		    size_t size)
{
	int r = shared ? bpf_map__reuse_fd(shared, shared_fd) : 0;

	if (!r)
		r = bpf_object__load_skeleton(s);
	return r < 0 ? bpf_object_why(r, "load", why, size) : 0;
}

int bpf_object_attach(struct bpf_object_skeleton *s, char *why, size_t size)
{
	int r = bpf_object__attach_skeleton(s);

	return r < 0 ? bpf_object_why(r, "attach", why, size) : 0;
}

bool bpf_object_needs_cap(int map_fd, const void *key, const void *value)
{
	struct __user_cap_data_struct caps[2], less[2];
	bool refused;

	if (set_caps(caps, SYS_capget) < 0)
		return true;
	memcpy(less, caps, sizeof(less));
	less[0].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
	less[1].effective &= ~CAP_TO_MASK(CAP_BPF);
	if (set_caps(less, SYS_capset) < 0)
		return true;
	refused = bpf_map_update_elem(map_fd, key, value, BPF_ANY) < 0 ||
		  bpf_map_delete_elem(map_fd, key) < 0;
	if (set_caps(caps, SYS_capset) < 0)
		return true;
	return refused;
}

const void *bpf_object_mmap(int map_fd, size_t len_bytes)
{
	void *p = mmap(NULL, len_bytes, PROT_READ, MAP_SHARED, map_fd, 0);

	return p == MAP_FAILED ? NULL : p;
}
