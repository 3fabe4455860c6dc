/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mark process is there for: it can be stalled, stopped, killed and lied to, and nobody
 * but it suffers. As root, in mounts of its own, also what only root can show: other users, real
 * fanotify reports, a FUSE server that never answers.
 */
#include "t/lookup.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#define STRANGER 23457 /* uids that no database knows */
#define OWNER 23458

static bool have_mounts; /* root, with a mount namespace of its own */

static unsigned count_fds(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Gone, or a zombie that its new parent has not fetched yet; within 10 s. */
static bool is_gone(pid_t pid)
{
	char path[64], stat[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int i = 0; i < 1000; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);

		if (fd >= 0)
			close(fd);
		if (n <= 0)
			return true;
		stat[n] = 0;
		if (strrchr(stat, ')')[2] == 'Z')
			return true;
		usleep(10000);
	}
	return false;
}

static pid_t helper_of(struct fixture *t)
{
	pid_t pids[2];

	lookup_pids(t->l, pids);
	return pids[1];
}

static void works_again(struct fixture *t)
{
	t->on_found = NULL;
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, ".netrc"));
}

static void prepare(struct fixture *t)
{
	PATTERNS(t, "~/.netrc", "~/.kube/**", "~/.aws/credentials");
	make_file(t, ".netrc");
}

static void kill_helper(struct fixture *t, const struct lookup_found *f)
{
	(void)f;
	if (!t->count++)
		kill(helper_of(t), SIGKILL);
}

static void helper_killed(void **state)
{
	struct fixture *t = *state;

	prepare(t);
	t->on_found = kill_helper;
	assert_int_equal(expand(t), -ECONNRESET);
	assert_int_equal(helper_of(t), 0);
	works_again(t);
	/* between requests nobody need notice */
	kill(helper_of(t), SIGKILL);
	usleep(50000);
	works_again(t);
}

static void stop_helper(struct fixture *t, const struct lookup_found *f)
{
	(void)f;
	if (!t->count++)
		kill(helper_of(t), SIGSTOP);
}

static void helper_late(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);
	int64_t before = test_now_ms();
	pid_t old = helper_of(t);

	prepare(t);
	t->on_found = stop_helper;
	assert_int_equal(lookup_expand(t->l, getuid(), t->home, NULL, 200, &h), -ETIMEDOUT);
	assert_true(test_now_ms() - before < 2000);
	works_again(t);
	assert_int_not_equal(helper_of(t), old);
	assert_true(is_gone(old));
}

static void kill_zygote(struct fixture *t, const struct lookup_found *f)
{
	pid_t pids[2];

	(void)f;
	lookup_pids(t->l, pids);
	if (t->count++)
		return;
	kill(pids[0], SIGKILL);
	is_gone(pids[1]);
}

static void zygote_killed(void **state)
{
	struct fixture *t = *state;
	pid_t helper = helper_of(t);
	gid_t gid;
	int r;

	prepare(t);
	t->on_found = kill_zygote;
	r = expand(t);
	assert_true(r == -EPIPE || r == -ECONNRESET);
	assert_int_equal(lookup_group(t->l, "root", WAIT_MS, &gid), -EPIPE);
	assert_int_equal(expand(t), -EPIPE);
	/* the helper goes with it */
	assert_true(is_gone(helper));
}

static bool slow_child;

/* In the zygote; its helpers are as quick as ever. */
static void in_child(void)
{
	if (slow_child)
		usleep(3000000);
	slow_child = false;
}

static void slow_host(void **state)
{
	struct fixture *t = *state;

	lookup_close(t->l);
	t->l = NULL;
	assert_int_equal(pthread_atfork(NULL, NULL, in_child), 0);
	slow_child = true;
	assert_int_equal(lookup_open(LOOKUP_PATHS, &t->l), 0);
	slow_child = false;
	prepare(t);
	works_again(t);
}

static void nothing_is_left(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);
	unsigned ours, its;
	char home[4096];
	int status;
	pid_t helper, pids[2];

	prepare(t);
	make_dir(t, ".kube");
	make_file(t, ".kube/config");
	works_again(t);
	lookup_home(t->l, 0, WAIT_MS, home, sizeof(home));
	ours = count_fds(getpid());
	helper = helper_of(t);
	its = count_fds(helper);
	for (int i = 0; i < 500; i++) {
		seen_clear(t);
		assert_int_equal(lookup_expand(t->l, getuid(), t->home, NULL, WAIT_MS, &h), 0);
		assert_int_equal(lookup_home(t->l, 0, WAIT_MS, home, sizeof(home)), 0);
	}
	assert_int_equal(helper_of(t), helper);
	assert_int_equal(count_fds(getpid()), ours);
	assert_int_equal(count_fds(helper), its);

	lookup_pids(t->l, pids);
	lookup_close(t->l);
	assert_true(is_gone(pids[0]) && is_gone(pids[1]));
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(lookup_open(LOOKUP_PATHS, &t->l), 0);
}

/* What the daemon has open when the zygote is forked does not get into it. */
static void holds_nothing(void **state)
{
	struct fixture *t = *state;
	char path[64], link[64];
	pid_t pids[2];
	int pipes[2];
	gid_t gid;

	lookup_close(t->l);
	assert_int_equal(pipe(pipes), 0); /* no O_CLOEXEC */
	assert_int_equal(lookup_open(LOOKUP_PATHS, &t->l), 0);
	assert_int_equal(lookup_group(t->l, "root", WAIT_MS, &gid), 0); /* it is there */
	lookup_pids(t->l, pids);
	for (int k = 0; k < 2; k++) {
		/* three standard ones and the socket; the helper has mountinfo too; and . and ..
		 * The zygote closes the helper's socket after the helper may have answered. */
		for (int i = 0; i < 200 && count_fds(pids[k]) > (k ? 7 : 6); i++)
			usleep(10000);
		assert_true(count_fds(pids[k]) <= (k ? 7 : 6));
		snprintf(path, sizeof(path), "/proc/%d/fd/0", pids[k]);
		memset(link, 0, sizeof(link));
		assert_true(readlink(path, link, sizeof(link) - 1) > 0);
		assert_string_equal(link, "/dev/null");
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void databases(void **state)
{
	struct fixture *t = *state;
	char home[4096], tiny[2];
	gid_t gid = 99;

	assert_int_equal(lookup_home(t->l, 0, WAIT_MS, home, sizeof(home)), 0);
	assert_string_equal(home, "/root");
	assert_int_equal(lookup_home(t->l, 0, WAIT_MS, tiny, sizeof(tiny)), -ENAMETOOLONG);
	assert_int_equal(lookup_home(t->l, STRANGER, WAIT_MS, home, sizeof(home)), -ENOENT);
	assert_int_equal(lookup_group(t->l, "root", WAIT_MS, &gid), 0);
	assert_int_equal(gid, 0);
	assert_int_equal(lookup_group(t->l, "no such group", WAIT_MS, &gid), -ENOENT);
}

struct descriptors {
	int fd;
	uint64_t dev, ino;
	unsigned n;
};

static void on_descriptor(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path)
{
	struct descriptors *d = arg;

	(void)path;
	d->n += fd == d->fd && dev == d->dev && ino == d->ino;
}

static void processes(void **state)
{
	struct fixture *t = *state;
	struct lookup_process *p = calloc(1, sizeof(*p));
	struct descriptors d = { 0 };
	char exe[4096] = "";
	struct stat st;
	pid_t pid;

	assert_int_equal(lookup_open(LOOKUP_PROCESSES, &t->processes), 0);
	make_file(t, "open");
	d.fd = open(at(t, "open"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(d.fd, &st), 0);
	d.dev = st.st_dev;
	d.ino = st.st_ino;
	assert_int_equal(lookup_process(t->processes, getpid(), WAIT_MS, p), 0);
	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	assert_string_equal(p->exe, exe);
	assert_true(p->cmdline_len > 0 && p->cwd[0] == '/');
	assert_int_equal(lookup_descriptors(t->processes, getpid(), WAIT_MS, on_descriptor, &d), 0);
	assert_int_equal(d.n, 1);

	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(lookup_process(t->processes, pid, WAIT_MS, p), -ESRCH);
	assert_int_equal(lookup_descriptors(t->processes, pid, WAIT_MS, on_descriptor, &d), -ESRCH);
	close(d.fd);
	free(p);
}

static void handles(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);
	struct lookup_found dir, file;
	char *only[2] = { 0 };
	int r;

	if (!have_mounts)
		skip();
	PATTERNS(t, "~/.aws/credentials", "~/.aws/*.json");
	make_dir(t, ".aws");
	make_file(t, ".aws/credentials");
	assert_int_equal(expand(t), 0);
	dir = find(t, ".aws")->f;
	file = find(t, ".aws/credentials")->f;
	if (!strcmp(file.fstype, "overlay")) {
		r = lookup_handle(t->l, file.fsid, file.handle_type, file.handle, file.handle_len,
				  at(t, ".aws/credentials"), t->home, "", WAIT_MS, &h);
		assert_int_equal(r, -EOPNOTSUPP);
		return;
	}
	/* moved away, they are still what they were */
	assert_int_equal(rename(at(t, ".aws"), at(t, "x")), 0);
	assert_int_equal(rename(at(t, "x/credentials"), at(t, "x/y")), 0);
	seen_clear(t);
	assert_int_equal(lookup_handle(t->l, dir.fsid, dir.handle_type, dir.handle, dir.handle_len,
				       at(t, ".aws"), t->home, "", WAIT_MS, &h), 0);
	assert_int_equal(lookup_handle(t->l, file.fsid, file.handle_type, file.handle,
				       file.handle_len, at(t, ".aws/credentials"), t->home, NULL,
				       WAIT_MS, &h), 0);
	assert_int_equal(t->n, 2);
	assert_int_equal(find(t, ".aws")->f.ino, dir.ino);
	assert_true(find(t, ".aws")->f.reach_here);
	assert_int_equal(find(t, ".aws/credentials")->f.ino, file.ino);
	assert_int_equal(find(t, ".aws/credentials")->f.fsid, file.fsid);

	/* below the roots it is found by whichever way leads there */
	seen_clear(t);
	only[0] = t->home;
	assert_int_equal(lookup_roots(t->l, only), 0);
	assert_int_equal(lookup_handle(t->l, file.fsid, file.handle_type, file.handle,
				       file.handle_len, at(t, ".aws/credentials"), t->home, "",
				       WAIT_MS, &h), 0);
	assert_int_equal(t->n, 1);
	only[0] = (char *)"/nonexistent";
	assert_int_equal(lookup_roots(t->l, only), 0);
	assert_int_equal(lookup_handle(t->l, file.fsid, file.handle_type, file.handle,
				       file.handle_len, at(t, ".aws/credentials"), t->home, "",
				       WAIT_MS, &h), 0);
	assert_int_equal(t->n, 1);
	assert_int_equal(lookup_roots(t->l, NULL), 0);

	seen_clear(t);
	assert_int_equal(lookup_handle(t->l, file.fsid, file.handle_type, file.handle,
				       file.handle_len, at(t, "unnamed"), t->home, "", WAIT_MS, &h),
			 0);
	assert_int_equal(t->n, 1);
	assert_false(t->seen[0].f.reach_here || t->seen[0].f.reach_below);
	assert_int_equal(t->seen[0].f.verdict, VERDICT_ALLOW);
	assert_int_equal(t->seen[0].f.ino, file.ino);
	assert_int_equal(unlink(at(t, "x/y")), 0);
	assert_int_equal(lookup_handle(t->l, file.fsid, file.handle_type, file.handle,
				       file.handle_len, at(t, ".aws/credentials"), t->home, "",
				       WAIT_MS, &h), -ESTALE);
	/* not mounted is not gone */
	r = lookup_handle(t->l, ~file.fsid, file.handle_type, file.handle, file.handle_len,
			  at(t, ".aws/credentials"), t->home, "", WAIT_MS, &h);
	assert_int_equal(r, -ENODEV);
}

/* The names of the kernel's events are those of the lookup: fsid and handle, bytewise. */
static void as_fanotify_says(void **state)
{
	struct fixture *t = *state;
	const struct seen *dir, *file;
	char buf[4096] __attribute__((aligned(8)));
	unsigned seen = 0;
	ssize_t n;
	int fan;

	if (!have_mounts)
		skip();
	PATTERNS(t, "~/.aws/credentials");
	make_dir(t, ".aws");
	assert_int_equal(expand(t), 0);
	fan = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK |
				    FAN_REPORT_DFID_NAME_TARGET,
			    O_RDONLY | O_LARGEFILE);
	assert_true(fan >= 0);
	if (fanotify_mark(fan, FAN_MARK_ADD, FAN_CREATE | FAN_ONDIR, AT_FDCWD, at(t, ".aws")) < 0) {
		close(fan);
		print_message("no file-id reports here: %s\n", strerror(errno));
		skip();
	}
	make_file(t, ".aws/credentials");
	assert_int_equal(expand(t), 0);
	dir = find(t, ".aws");
	file = find(t, ".aws/credentials");
	assert_true(dir && file && dir->f.handle_len && file->f.handle_len);

	n = read(fan, buf, sizeof(buf));
	close(fan);
	assert_true(n > (ssize_t)sizeof(struct fanotify_event_metadata));
	for (ssize_t at_byte = sizeof(struct fanotify_event_metadata); at_byte < n;) {
		struct fanotify_event_info_fid *fid = (void *)(buf + at_byte);
		struct file_handle *fh = (void *)fid->handle;
		const struct lookup_found *f = NULL;

		if (fid->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME)
			f = &dir->f;
		else if (fid->hdr.info_type == FAN_EVENT_INFO_TYPE_FID)
			f = &file->f;
		if (f) {
			assert_memory_equal(&fid->fsid, &f->fsid, sizeof(f->fsid));
			assert_int_equal(fh->handle_type, f->handle_type);
			assert_int_equal(fh->handle_bytes, f->handle_len);
			assert_memory_equal(fh->f_handle, f->handle, f->handle_len);
			seen++;
		}
		at_byte += fid->hdr.len;
	}
	assert_int_equal(seen, 2);
}

static void give(struct fixture *t, const char *name, uid_t uid, mode_t mode)
{
	assert_int_equal(lchown(at(t, name), uid, uid), 0);
	assert_int_equal(chmod(at(t, name), mode), 0);
}

/* As the user: what he cannot reach is a gap; a link to what is not his takes no directory mark. */
static void other_users(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);

	if (!have_mounts)
		skip();
	PATTERNS(t, "~/.aws/credentials", "~/.ssh/id_*", "~/.kube/config", "~/.azure/x", "~/.netrc");
	give(t, "", OWNER, 0755);
	make_dir(t, ".aws");
	make_file(t, ".aws/credentials");
	give(t, ".aws", STRANGER, 0700);
	make_dir(t, ".ssh");
	make_file(t, ".ssh/id_rsa");
	give(t, ".ssh", OWNER, 0311);
	make_dir(t, "theirs");
	make_file(t, "theirs/config");
	give(t, "theirs", STRANGER, 0755);
	make_link(t, at(t, "theirs"), ".kube");
	make_dir(t, "mine");
	give(t, "mine", OWNER, 0755);
	make_file(t, "mine/x");
	make_link(t, at(t, "mine"), ".azure");
	make_file(t, ".netrc");

	assert_int_equal(lookup_expand(t->l, OWNER, t->home, NULL, WAIT_MS, &h), 0);
	assert_false(find(t, "")->f.system);
	assert_non_null(find_gap(t, ".aws/credentials", "Permission denied"));
	assert_null(find(t, ".aws/credentials"));
	assert_non_null(find(t, ".ssh"));
	assert_non_null(find_gap(t, ".ssh", "Permission denied"));
	assert_null(find(t, ".ssh/id_rsa"));
	assert_true(find(t, ".kube")->f.system);
	assert_non_null(find(t, ".kube/config"));
	assert_false(find(t, ".azure")->f.system);
	assert_false(find(t, ".netrc")->f.system);

	/* as root nothing of this is in the way, nor left over from before */
	seen_clear(t);
	assert_int_equal(lookup_expand(t->l, 0, t->home, NULL, WAIT_MS, &h), 0);
	assert_non_null(find(t, ".aws/credentials"));
	assert_non_null(find(t, ".ssh/id_rsa"));
	assert_true(find(t, "")->f.system); /* a home that is not its user's own */
}

/* The helper dies with its parents whatever its credentials went through. */
static void dies_with_us(void **state)
{
	struct fixture *t = *state;
	int status, out[2];
	pid_t pid, helper = 0;

	if (!have_mounts)
		skip();
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct lookup_handler h = remember(t);
		struct lookup *l;
		pid_t pids[2] = { 0 };

		if (lookup_open(LOOKUP_PATHS, &l) == 0 && lookup_patterns(l, t->p) == 0)
			lookup_expand(l, OWNER, t->home, NULL, WAIT_MS, &h);
		lookup_pids(l, pids);
		if (write(out[1], &pids[1], sizeof(pids[1])) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	close(out[1]);
	assert_int_equal(read(out[0], &helper, sizeof(helper)), sizeof(helper));
	close(out[0]);
	waitpid(pid, &status, 0);
	assert_true(helper > 0);
	assert_true(is_gone(helper));
}

static int dies_setup(void **state)
{
	struct fixture *t;
	int r = set_up(state);

	if (r)
		return r;
	t = *state;
	PATTERNS(t, "~/.netrc");
	return 0;
}

/* ---- a file server that never answers ---------------------------------------------------- */

/* False where FUSE is not to be had. */
static bool hang(struct fixture *t, const char *dir, const char *how)
{
	char exe[4096] = "", said[8] = "";
	char *slash;
	int out[2];
	pid_t pid;

	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 32) > 0);
	slash = strrchr(exe, '/');
	strcpy(slash, "/helpers/fusehang");
	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execl(exe, exe, dir, how, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	strcpy(t->mount, dir);
	t->server = pid;
	if (read(out[0], said, sizeof(said)) <= 0)
		end_server(t);
	close(out[0]);
	return t->server;
}

static void file_server_in_the_way(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);
	int64_t before;
	pid_t helper;
	int dir;

	if (!have_mounts)
		skip();
	prepare(t);
	make_dir(t, ".kube");
	make_dir(t, ".aws");
	make_dir(t, "behind");
	make_link(t, "../.kube/credentials", ".aws/credentials");
	works_again(t);
	if (!hang(t, at(t, ".kube"), "nothing"))
		skip();
	helper = helper_of(t);
	before = test_now_ms();
	assert_int_equal(expand(t), 0);
	assert_true(test_now_ms() - before < 1000);
	assert_int_equal(helper_of(t), helper);
	assert_non_null(find_gap(t, ".kube", "on fuse.hang, which cannot be marked safely"));
	assert_non_null(find_gap(t, ".aws/credentials", "on fuse.hang"));
	assert_non_null(find(t, ".netrc"));

	/* known by descriptor only, it is not touched either */
	dir = open(at(t, ".kube"), O_PATH | O_CLOEXEC);
	assert_true(dir >= 0);
	seen_clear(t);
	assert_int_equal(lookup_child(t->l, 0, t->home, "", dir, at(t, ".kube"), "config", WAIT_MS,
				      &h), 0);
	assert_non_null(find_gap(t, ".kube", "on fuse.hang"));
	close(dir);

	/* a home on it */
	seen_clear(t);
	assert_int_equal(lookup_expand(t->l, 0, at(t, ".kube"), NULL, WAIT_MS, &h), 0);
	assert_non_null(find_gap(t, ".kube", "on fuse.hang"));
	assert_int_equal(helper_of(t), helper);
	end_server(t);
	works_again(t);
}

/* A process whose arguments are in a file that nobody delivers. */
static pid_t hide_arguments(const char *file, const int hidden[2])
{
	pid_t pid = fork();
	unsigned long long start = 0;
	char stat[2048];
	char *word;
	long page = sysconf(_SC_PAGESIZE);
	int fd;

	assert_true(pid >= 0);
	if (pid) {
		close(hidden[1]);
		assert_int_equal(read(hidden[0], stat, 1), 1);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open("/proc/self/stat", O_RDONLY);
	stat[read(fd, stat, sizeof(stat) - 1)] = 0;
	close(fd);
	/* field 48 of proc_pid_stat(5), arg_start; the third follows the name */
	word = strrchr(stat, ')') + 2;
	for (int i = 3; i < 48; i++)
		word = strchr(word, ' ') + 1;
	start = strtoull(word, NULL, 10);
	fd = open(file, O_RDONLY);
	if (fd < 0 || mmap((void *)(uintptr_t)(start & ~(page - 1ull)), (size_t)page, PROT_READ,
			   MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
		_exit(1);
	if (write(hidden[1], "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Since 4.17 the kernel itself refuses to wait for such arguments; before, the deadline ends it.
 * Either way the next one is served at once. */
static void arguments_nobody_delivers(void **state)
{
	struct fixture *t = *state;
	struct lookup_process *p = calloc(1, sizeof(*p));
	int hidden[2], r;
	int64_t before;
	pid_t victim;

	if (!have_mounts)
		skip();
	prepare(t);
	make_dir(t, "mnt");
	if (!hang(t, at(t, "mnt"), "read"))
		skip();
	assert_int_equal(lookup_open(LOOKUP_PROCESSES, &t->processes), 0);
	assert_int_equal(pipe2(hidden, O_CLOEXEC), 0);
	victim = hide_arguments(at(t, "mnt/secret"), hidden);
	before = test_now_ms();
	r = lookup_process(t->processes, victim, 300, p);
	assert_true(r == -ETIMEDOUT || (r == 0 && p->cmdline_len == 0));
	assert_true(test_now_ms() - before < 2000);
	works_again(t);
	assert_int_equal(lookup_process(t->processes, getpid(), WAIT_MS, p), 0);
	assert_true(p->cmdline_len > 0);
	kill(victim, SIGKILL);
	end_server(t);
	waitpid(victim, NULL, 0);
	close(hidden[0]);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(helper_killed),
		TEST(helper_late),
		TEST(zygote_killed),
		TEST(slow_host),
		TEST(nothing_is_left),
		TEST(holds_nothing),
		TEST(databases),
		TEST(processes),
		TEST(handles),
		TEST(as_fanotify_says),
		TEST(other_users),
		cmocka_unit_test_setup_teardown(dies_with_us, dies_setup, tear_down),
		TEST(file_server_in_the_way),
		TEST(arguments_nobody_delivers),
	};
	char scratch[] = "/tmp/lookup-mnt.XXXXXX";
	bool own = !getenv("OKNEK_LOOKUP_DIR");
	int r;

	have_mounts = getuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
		      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	if (have_mounts && own) {
		if (!mkdtemp(scratch) || mount("scratch", scratch, "tmpfs", 0, "size=64m") < 0)
			return 1;
		chmod(scratch, 0755);
		setenv("OKNEK_LOOKUP_DIR", scratch, 1);
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	if (have_mounts && own) {
		umount2(scratch, MNT_DETACH);
		rmdir(scratch);
	}
	return r;
}
