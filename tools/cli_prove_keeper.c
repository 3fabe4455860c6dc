/* SPDX-License-Identifier: Apache-2.0 */
/* Who has the decoys: it makes them as the user that is tried, and outlives the command for as long as it
 * takes to remove them. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/marks.h"
#include "tools/cli_child.h"
#include "tools/cli_prove.h"
#include "tools/control.h"

#define MAKE_MS 10000
#define REMOVE_TRIES 60 /* with the pause between: longer than an attempt lives */
#define OLD_S 600 /* no run takes so long */
#define DECOY "decoy of oknek doctor --prove: there is nothing in here\n"

/* As of a login. What root's was is taken out of memory, too: /proc shows it to the user. */
static int own_environment(const struct prove *p)
{
	for (char **e = environ; e && *e; e++)
		explicit_bzero(*e, strlen(*e));
	clearenv();
	return setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", 1) < 0 ||
	       setenv("HOME", p->user_home, 1) < 0 || setenv("USER", p->user_name, 1) < 0 ||
	       setenv("LOGNAME", p->user_name, 1) < 0 ? -ENOMEM : 0;
}

static int own_descriptors(int keep)
{
	int from = keep < 0 ? PROVE_KEPT_FD : PROVE_KEPT_FD + 1, null;

	/* What is moved there is needed no more, but for the one that goes there. */
	if (keep >= 0 && keep != PROVE_KEPT_FD && dup3(keep, PROVE_KEPT_FD, O_CLOEXEC) < 0)
		return -errno;
	if (close_range((unsigned)from, ~0U, 0) < 0)
		return -errno;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	return 0;
}

int prove_become(const struct prove *p, int keep)
{
	int err = own_descriptors(keep);

	if (err)
		return err;
	if (geteuid() == 0 && p->uid != 0) {
		if (initgroups(p->user_name, p->gid) < 0 || setresgid(p->gid, p->gid, p->gid) < 0 ||
		    setresuid(p->uid, p->uid, p->uid) < 0)
			return -errno;
		err = own_environment(p);
	}
	/* Its memory says what came of an attempt: nobody of that uid is to write it. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	return err ? err : geteuid() == p->uid ? 0 : -EPERM;
}

/* ---- decoys ------------------------------------------------------------------------------------------ */

/* Component by component, so that no link leads anywhere else. */
static int make_decoy(int home, const char *name)
{
	_cleanup_close_ int at = fcntl(home, F_DUPFD_CLOEXEC, 0), fd = -1;
	char part[NAME_MAX + 1];
	const char *slash;

	for (; at >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
		int next;

		if (slash - name > NAME_MAX)
			return -ENAMETOOLONG;
		snprintf(part, sizeof(part), "%.*s", (int)(slash - name), name);
		if (mkdirat(at, part, 0700) < 0 && errno != EEXIST)
			return -errno;
		next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(at);
		at = next;
	}
	if (at < 0)
		return -errno;
	/* Of two rules that name the same there is one file. */
	fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	return write(fd, DECOY, sizeof(DECOY) - 1) < 0 ? -errno : 0;
}

/* Where nobody else can put something in the place of what is made: neither there nor above. *ret: without
 * links. */
static int check_dir(const struct prove *p, const char *dir, char **ret)
{
	_cleanup_free_ char *real = realpath(dir, NULL);
	_cleanup_free_ char *at = real ? strdup(real) : NULL;
	struct stat st;
	char *slash;

	if (!at)
		return -errno;
	for (;;) {
		if (lstat(*at ? at : "/", &st) < 0)
			return -errno;
		if (!S_ISDIR(st.st_mode))
			return -ENOTDIR;
		if ((st.st_uid != p->uid && st.st_uid != 0) || (st.st_mode & 022 && !(st.st_mode & S_ISVTX)))
			return -EPERM;
		slash = strrchr(at, '/');
		if (!slash || !*at)
			break;
		*slash = '\0';
	}
	*ret = TAKE_PTR(real);
	return 0;
}

/* A copy of the host's shell, since the own one is held for nobody now. */
static int make_shell(const struct prove_place *pl)
{
	_cleanup_close_ int from = open("/bin/sh", O_RDONLY | O_CLOEXEC), to = -1;
	struct stat st;

	to = open(pl->shell, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0700);
	if (from < 0 || to < 0 || fstat(from, &st) < 0)
		return -errno;
	while (st.st_size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)st.st_size);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		st.st_size -= n;
	}
	return 0;
}

/* It ends at once, with success. Where there is none it cannot be tried. */
static int make_program(const struct prove_place *pl, const char *name)
{
	char path[sizeof(pl->home) + PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", pl->home, name);
	r = prove_static(path, NULL, 0, NULL, 0);
	return r && r != PROVE_CANNOT + EOPNOTSUPP ? PROVE_CANNOT - r : 0;
}

/* -1 where there is none: then it cannot be tried. Nobody answers there. */
static int make_service(const struct prove_place *pl)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (fd < 0 || strlen(pl->service) >= sizeof(un.sun_path))
		return fd;
	strcpy(un.sun_path, pl->service);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		listen(fd, 64);
	return fd;
}

static int make_all(struct prove *p)
{
	struct prove_place *pl = &p->place;
	char bin[1200], programs[1200];
	const char *dirs[] = { pl->work, pl->scratch, bin, programs };
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int home = -1;
	int r = check_dir(p, p->dir ? p->dir : p->user_home, &dir);

	if (r < 0)
		return r;
	if (snprintf(pl->home, sizeof(pl->home), "%s/" PROVE_PREFIX "XXXXXX", dir) >= (int)sizeof(pl->home))
		return -ENAMETOOLONG;
	umask(077);
	if (!mkdtemp(pl->home)) {
		pl->home[0] = '\0';
		return -errno;
	}
	snprintf(pl->work, sizeof(pl->work), "%s/work", pl->home);
	snprintf(pl->scratch, sizeof(pl->scratch), "%s/scratch", pl->home);
	snprintf(pl->service, sizeof(pl->service), "%s/docker.sock", pl->scratch);
	snprintf(pl->program, sizeof(pl->program), "%s/program", pl->scratch);
	snprintf(bin, sizeof(bin), "%s/bin", pl->home);
	snprintf(programs, sizeof(programs), "%s/" PROOF_PROGRAMS, pl->home);
	snprintf(pl->shell, sizeof(pl->shell), "/bin/sh");
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdir(dirs[i], 0700) < 0)
			return -errno;
	home = open(pl->home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (home < 0)
		return -errno;
	for (size_t i = 0; i < p->n_rules && r == 0; i++)
		if (p->rules[i].decoy)
			r = p->rules[i].kind == KIND_EXEC_OBSERVED ? make_program(pl, p->rules[i].decoy) :
								     make_decoy(home, p->rules[i].decoy);
	if (r == 0 && strcmp(p->mode, "enforce") != 0) {
		snprintf(pl->shell, sizeof(pl->shell), "%s/" PROOF_SHELL, pl->home);
		r = make_shell(pl);
	}
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path); /* what is left is tried again */
	return 0;
}

static void remove_all(const char *home)
{
	const struct timespec pause = { .tv_nsec = 100000000 };

	for (int i = 0; *home && i < REMOVE_TRIES; i++) {
		nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		if (access(home, F_OK) < 0)
			return;
		nanosleep(&pause, NULL);
	}
}

/* Of runs whose keeper was killed, too. */
static void remove_old(const struct prove *p)
{
	int len = (int)(strrchr(p->place.home, '/') - p->place.home);
	char pattern[1200];
	struct stat st;
	glob_t g;

	if (snprintf(pattern, sizeof(pattern), "%.*s/" PROVE_PREFIX "??????", len, p->place.home) >=
		    (int)sizeof(pattern) ||
	    glob(pattern, GLOB_NOSORT | GLOB_NOESCAPE, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (lstat(g.gl_pathv[i], &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == p->uid &&
		    st.st_mtime < time(NULL) - OLD_S)
			remove_all(g.gl_pathv[i]);
	globfree(&g);
}

/* ---- the process ------------------------------------------------------------------------------------- */

/* Nobody but root makes it say something else, or looks into it. */
static void __attribute__((noreturn)) keep(struct prove *p, int end)
{
	int err = prove_become(p, end), service = -1;
	const int fd = PROVE_KEPT_FD;
	struct prove_place made;
	int32_t pid, member = 0;

	setsid();
	for (int sig = 1; sig < SIGRTMIN; sig++)
		if (sig != SIGCHLD && sig != SIGSEGV && sig != SIGBUS && sig != SIGABRT)
			signal(sig, SIG_IGN);
	if (!err)
		err = make_all(p);
	if (!err)
		remove_old(p);
	if (!err)
		service = make_service(&p->place);
	made = p->place;
	if (write(fd, &err, sizeof(err)) == sizeof(err) && !err &&
	    write(fd, &made, sizeof(made)) == sizeof(made)) {
		/* Until nobody has the other end. */
		while (read(fd, &pid, sizeof(pid)) == sizeof(pid))
			member = pid;
	}
	if (member > 1)
		kill(-member, SIGKILL);
	if (service >= 0)
		close(service);
	remove_all(p->place.home);
	_exit(0);
}

int prove_keep(struct prove *p, struct prove_keeper *k)
{
	int64_t until = child_now_ms() + MAKE_MS;
	int s[2], err = 0, r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0) {
		cli_error("cannot make a socket: %s", strerror(errno));
		return CLI_FAILED;
	}
	fflush(NULL);
	k->pid = fork();
	if (k->pid == 0) {
		close(s[0]);
		keep(p, s[1]);
	}
	close(s[1]);
	k->fd = s[0];
	if (k->pid < 0) {
		cli_error("cannot fork: %s", strerror(errno));
		return CLI_FAILED;
	}
	r = child_take(k->fd, &err, sizeof(err), until);
	if (!r && !err)
		r = child_take(k->fd, &p->place, sizeof(p->place), until);
	if (r || err) {
		cli_error("decoys cannot be made in %s: %s", p->dir ? p->dir : p->user_home,
			  err == -EPERM ? "somebody else may write there, or above; see --in" :
					  strerror(err ? -err : -r));
		return CLI_FAILED;
	}
	return CLI_DONE;
}

void prove_keep_pid(struct prove_keeper *k, int pid)
{
	int32_t n = pid;

	/* It may have been killed, which is seen at the end. */
	send(k->fd, &n, sizeof(n), MSG_NOSIGNAL);
}

void prove_keep_end(const struct prove *p, struct prove_keeper *k)
{
	int status = 0;
	pid_t pid;

	if (k->fd >= 0)
		close(TAKE_FD(k->fd));
	if (k->pid > 0 && waitpid(k->pid, &status, 0) == k->pid && WIFSIGNALED(status)) {
		cli_error("who kept the decoys was killed");
		pid = fork();
		if (pid == 0) {
			if (prove_become(p, -1) == 0)
				remove_all(p->place.home);
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	k->pid = 0;
}
