/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs HOW PROGRAM [ARG…]: PROGRAM is run, in one of several ways, from a static binary. Exits with what
 * it exits with; 1 for EPERM, 2 for another error (which is printed).
 *	path fd script link interp bind thread vfork clone-vfork spawn double-fork clone-parent
 *	memfd copy                   a copy of it in memory, in the working directory
 *	memfd-as copy-as             the same, by a name that is not its own
 *	loader                       as an argument of the dynamic loader that LOADER names
 * script, link, interp (as what another program names as its loader) and the copies make files in the
 * working directory; bind is below a mount of its directory elsewhere.
 */
/* LDLIBS: -static */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int failed(void)
{
	if (errno == EPERM)
		return 1;
	perror("runs");
	return 2;
}

static int status_of(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, __WALL) < 0)
		return failed();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static int run(char **argv)
{
	execve(argv[0], argv, environ);
	return failed();
}

static int run_fd(char **argv)
{
	int fd = open(argv[0], O_PATH | O_CLOEXEC);

	if (fd < 0)
		return failed();
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	return failed();
}

static int run_script(char **argv)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "#!%s\n", argv[0]), fd;

	unlink("runs-script");
	fd = open("runs-script", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, text, (size_t)n) != n || close(fd) < 0)
		return failed();
	argv[0] = (char *)"./runs-script";
	return run(argv);
}

static int run_link(char **argv)
{
	unlink("runs-link");
	if (link(argv[0], "runs-link") < 0) {
		perror("link");
		return 2;
	}
	argv[0] = (char *)"./runs-link";
	return run(argv);
}

/* A file that is nothing but the name of what the kernel is to load and start for it. */
static int run_interp(char **argv)
{
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr parts[2];
		char name[4096];
	} elf = { .head = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
					 EV_CURRENT },
			    .e_type = ET_EXEC,
			    .e_machine = EM_X86_64,
			    .e_version = EV_CURRENT,
			    .e_phoff = sizeof(Elf64_Ehdr),
			    .e_ehsize = sizeof(Elf64_Ehdr),
			    .e_phentsize = sizeof(Elf64_Phdr),
			    .e_phnum = 2 } };
	char dir[2048];
	int fd;

	unlink("ld-runs");
	if (!getcwd(dir, sizeof(dir)) || link(argv[0], "ld-runs") < 0) {
		perror("ld-runs");
		return 2;
	}
	snprintf(elf.name, sizeof(elf.name), "%s/ld-runs", dir);
	elf.parts[0] = (Elf64_Phdr){ .p_type = PT_INTERP,
				     .p_offset = (size_t)(elf.name - (char *)&elf),
				     .p_filesz = strlen(elf.name) + 1 };
	elf.parts[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = 0x10000000,
				     .p_filesz = sizeof(elf), .p_memsz = sizeof(elf),
				     .p_align = 4096 };
	unlink("runs-interp");
	fd = open("runs-interp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, &elf, sizeof(elf)) != sizeof(elf) || close(fd) < 0) {
		perror("runs-interp");
		return 2;
	}
	argv[0] = (char *)"./runs-interp";
	return run(argv);
}

static int run_bind(char **argv)
{
	char dir[] = "/tmp/runs-XXXXXX", from[2048], *slash;
	static char to[4096];

	snprintf(from, sizeof(from), "%s", argv[0]);
	slash = strrchr(from, '/');
	if (!slash)
		return 2;
	*slash = '\0';
	/* The mount goes with us; the directory stays, if what was run is let. */
	if (!mkdtemp(dir) || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(from, dir, NULL, MS_BIND, NULL) < 0) {
		perror("bind");
		return 2;
	}
	snprintf(to, sizeof(to), "%s/%s", dir, slash + 1);
	argv[0] = to;
	return run(argv);
}

static int copy_to(const char *from, int to)
{
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	char buf[65536];
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(to, buf, (size_t)n) != n)
			return -1;
	close(fd);
	return (int)n;
}

static int run_memfd(char **argv, const char *as)
{
	int fd = memfd_create("runs", MFD_CLOEXEC);

	if (fd < 0 || copy_to(argv[0], fd) < 0)
		return failed();
	argv[0] = (char *)as;
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	return failed();
}

static int run_copy(char **argv, const char *as)
{
	int fd;

	unlink("runs-copy");
	fd = open("runs-copy", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0 || copy_to(argv[0], fd) < 0 || close(fd) < 0)
		return failed();
	argv[0] = (char *)as;
	execve("./runs-copy", argv, environ);
	return failed();
}

/* The loader reads the program as a library, and nobody executes it. */
static int run_loader(int argc, char **argv)
{
	char *loader = getenv("LOADER"), **v = calloc((size_t)argc + 2, sizeof(*v));

	if (!loader || !v)
		return 64;
	v[0] = loader;
	memcpy(v + 1, argv, (size_t)argc * sizeof(*v));
	return run(v);
}

static void *in_thread(void *arg)
{
	exit(run(arg));
}

static int run_thread(char **argv)
{
	pthread_t t;

	if (pthread_create(&t, NULL, in_thread, argv))
		return 2;
	pthread_join(t, NULL);
	return 2;
}

static int run_vfork(char **argv)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execve(argv[0], argv, environ);
		_exit(errno == EPERM ? 1 : 2);
	}
	return status_of(pid);
}

static int in_clone(void *arg)
{
	char **argv = arg;

	execve(argv[0], argv, environ);
	_exit(errno == EPERM ? 1 : 2);
}

static int run_clone_vfork(char **argv)
{
	static char stack[65536] __attribute__((aligned(16)));

	return status_of(clone(in_clone, stack + sizeof(stack), CLONE_VFORK | CLONE_VM | SIGCHLD, argv));
}

static int run_spawn(char **argv)
{
	pid_t pid;
	int err = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

	if (err) {
		errno = err;
		return failed();
	}
	return status_of(pid);
}

/* Told by a pipe, since nobody of us is its parent. */
static int run_apart(char **argv, bool parents)
{
	unsigned char code = 2;
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0)
		return failed();
	pid = (pid_t)(parents ? syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) : fork());
	if (pid == 0) {
		if (!parents && (setsid() < 0 || fork() != 0))
			_exit(0);
		/* Long enough that whoever made us is gone. */
		usleep(100000);
		pid = fork();
		if (pid == 0)
			_exit(run(argv));
		code = (unsigned char)status_of(pid);
		_exit(write(fds[1], &code, 1) != 1);
	}
	close(fds[1]);
	if (!parents)
		waitpid(pid, NULL, 0);
	return read(fds[0], &code, 1) == 1 ? code : 2;
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "";

	argv += 2;
	argc -= 2;
	if (!strcmp(how, "path"))
		return run(argv);
	if (!strcmp(how, "fd"))
		return run_fd(argv);
	if (!strcmp(how, "script"))
		return run_script(argv);
	if (!strcmp(how, "link"))
		return run_link(argv);
	if (!strcmp(how, "interp"))
		return run_interp(argv);
	if (!strcmp(how, "bind"))
		return run_bind(argv);
	if (!strcmp(how, "thread"))
		return run_thread(argv);
	if (!strcmp(how, "vfork"))
		return run_vfork(argv);
	if (!strcmp(how, "clone-vfork"))
		return run_clone_vfork(argv);
	if (!strcmp(how, "spawn"))
		return run_spawn(argv);
	if (!strcmp(how, "memfd"))
		return run_memfd(argv, argv[0]);
	if (!strcmp(how, "memfd-as"))
		return run_memfd(argv, "innocent");
	if (!strcmp(how, "copy"))
		return run_copy(argv, argv[0]);
	if (!strcmp(how, "copy-as"))
		return run_copy(argv, "innocent");
	if (!strcmp(how, "loader"))
		return run_loader(argc, argv);
	if (!strcmp(how, "double-fork"))
		return run_apart(argv, false);
	if (!strcmp(how, "clone-parent"))
		return run_apart(argv, true);
	fprintf(stderr, "usage: runs HOW PROGRAM [ARG…]\n");
	return 64;
}
