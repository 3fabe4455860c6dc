/* SPDX-License-Identifier: Apache-2.0 */
/* `oknek doctor --prove`: every rule by every route, in a tree of its own, on decoys. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_child.h"
#include "tools/cli_prove.h"
#include "tools/control.h"

#define CONTROLS_S 20
#define WATCH_MS 15000
#define TELL_MS 11 /* slower than LSM_TELL_NS, EGRESS_TELL_NS of enforce/bpf, and fewer at once */
#define TELL_BURST 128

static const struct prove_route *const routes_of[KIND_COUNT] = {
	[KIND_FILE_OPENED] = prove_opens,
	[KIND_SOCKET_CONNECT] = prove_connects,
	[KIND_EXEC_OBSERVED] = prove_execs,
};

/* ---- who, and with which daemon --------------------------------------------------------------------- */

/* $HOME, if that is one's own: by sudo it may be another's. */
static const char *home_of(const struct prove *p, const struct passwd *pw)
{
	const char *home = getenv("HOME");
	struct stat st;

	if (!p->user && home && *home == '/' && stat(home, &st) == 0 && st.st_uid == pw->pw_uid)
		return home;
	return pw->pw_dir;
}

static int find_user(struct prove *p)
{
	const struct passwd *pw = p->user ? getpwnam(p->user) : getpwuid(geteuid());

	if (!pw) {
		cli_error("%s: no such user", p->user ? p->user : "you");
		return CLI_FAILED;
	}
	p->uid = pw->pw_uid;
	p->gid = pw->pw_gid;
	p->user_name = strdup(pw->pw_name);
	p->user_home = strdup(home_of(p, pw));
	if (!p->user_name || !p->user_home)
		abort();
	if (geteuid() != 0 && p->uid != geteuid()) {
		cli_error("only root may try it as another user");
		return CLI_FAILED;
	}
	if (*(p->dir ? p->dir : p->user_home) != '/') {
		cli_error("--in: an absolute path is expected");
		return CLI_FAILED;
	}
	return CLI_DONE;
}

static int ask_daemon(struct prove *p)
{
	_cleanup_json_ json_t *status = NULL;
	_cleanup_json_ json_t *egress = NULL;
	const json_t *caller;
	const char *role;

	if (cli_ask(p->cli, json_pack("{s:s}", "cmd", "status"), CLI_TIMEOUT_MS, NULL, NULL, &status))
		return CLI_FAILED;
	caller = json_object_get(status, "caller");
	role = cli_str(caller, "role");
	if (json_is_true(json_object_get(caller, "member")) ||
	    (strcmp(role, "operator") != 0 && strcmp(role, "admin") != 0)) {
		/* It is asked all the same: who tried is evidence. */
		cli_ask(p->cli, json_pack("{s:s}", "cmd", "prove"), CLI_TIMEOUT_MS, NULL, NULL, NULL);
		return CLI_FAILED;
	}
	p->mode = strdup(cli_str(status, "mode"));
	p->last_seq = (uint64_t)cli_int(json_object_get(status, "evidence"), "last_seq");
	if (cli_ask(p->cli, json_pack("{s:s}", "cmd", "egress"), CLI_TIMEOUT_MS, NULL, NULL, &egress))
		return CLI_FAILED;
	p->closed = !strcmp(cli_str(egress, "jail"), "closed");
	p->unix_seen = json_is_true(json_object_get(egress, "unix_sockets"));
	p->gateway = json_is_true(json_object_get(egress, "gateway_set"));
	return prove_rules(p);
}

/* ---- what is to be tried ----------------------------------------------------------------------------- */

static unsigned n_routes(const struct prove_route *r)
{
	unsigned n = 0;

	while (r && r[n].name)
		n++;
	return n;
}

static void *have(void *p)
{
	if (!p)
		abort();
	return p;
}

static void share(struct prove_cell *c, size_t n)
{
	struct prove_came *shared = mmap(NULL, (n + 1) * sizeof(*shared), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		abort();
	for (size_t i = 0; i < n; i++) {
		c[i].shared = &shared[i];
		c[i].came.came = shared[i].came = PROVE_UNTRIED;
	}
}

/* Once they have ended: it is theirs to write, and is to say the same whenever it is asked. */
static void take_shared(struct prove_cell *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c[i].came = *c[i].shared;
}

static void add_cells(struct prove *p, unsigned rule, unsigned target, unsigned first_control)
{
	const struct prove_rule *r = &p->rules[rule];
	bool local = r->kind != KIND_FILE_OPENED && r->targets[target].path;
	const struct prove_route *routes = routes_of[r->kind];

	for (unsigned k = 0; routes[k].name; k++)
		if (routes[k].local == local)
			p->cells[p->n_cells++] = (struct prove_cell){ .rule = rule, .target = target,
								      .control = first_control + k,
								      .route = &routes[k] };
}

static void plan(struct prove *p)
{
	unsigned first[KIND_COUNT] = { 0 }, all = 0;

	for (int kind = 0; kind < KIND_COUNT; kind++) {
		first[kind] = all;
		all += n_routes(routes_of[kind]);
	}
	p->controls = have(calloc(all, sizeof(*p->controls)));
	for (int kind = 0; kind < KIND_COUNT; kind++)
		for (unsigned k = 0; routes_of[kind] && routes_of[kind][k].name; k++)
			p->controls[p->n_controls++] = (struct prove_cell){ .rule = UINT_MAX,
									    .control = UINT_MAX,
									    .route = &routes_of[kind][k] };
	p->cells = have(calloc(p->n_rules * PROVE_TARGETS * (all + 1) + 64, sizeof(*p->cells)));
	for (unsigned i = 0; i < p->n_rules; i++)
		for (unsigned t = 0; t < p->rules[i].n_targets; t++)
			add_cells(p, i, t, first[p->rules[i].kind]);
	for (const struct prove_handoff *h = prove_handoffs; h->name; h++)
		p->cells[p->n_cells++] = (struct prove_cell){ .rule = UINT_MAX, .control = UINT_MAX,
							      .handoff = h };
	share(p->controls, p->n_controls);
	share(p->cells, p->n_cells);
}

/* ---- those who try ------------------------------------------------------------------------------------ */

/* Before anybody is watched. */
static void open_before(struct prove *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		for (unsigned t = 0; t < p->rules[i].n_targets; t++)
			if (p->rules[i].kind == KIND_FILE_OPENED)
				p->rules[i].targets[t].before_fd = open(p->rules[i].targets[t].path,
									O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* The calling process is one of them: as the user, at home among the decoys, with our life. */
static void settle_in(struct prove *p, pid_t parent, int keep)
{
	if (prove_become(p, keep) < 0)
		_exit(CLI_FAILED);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || setenv("HOME", p->place.home, 1) < 0 || chdir(p->place.work) < 0)
		_exit(CLI_FAILED);
	umask(077);
	open_before(p);
}

/* What a control tries a route on: any decoy; nobody's address; the host's shell, with a command that does
 * nothing. */
static const struct prove_target *control_target(const struct prove *p, const struct prove_route *r)
{
	static struct prove_target nobody = { .label = "", .v4 = "203.0.113.77", .v6 = "2001:db8::77",
					      .before_fd = -1 };
	static const struct prove_target nothing = { .label = "", .command = (char *)":", .before_fd = -1 };

	if (r->kind == KIND_EXEC_OBSERVED)
		return &nothing;
	if (r->kind == KIND_SOCKET_CONNECT) {
		nobody.path = (char *)p->place.service;
		return &nobody;
	}
	for (size_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].kind == r->kind && p->rules[i].n_targets &&
		    (r->kind == KIND_FILE_OPENED || !p->rules[i].targets[0].path == !r->local))
			return &p->rules[i].targets[0];
	return NULL;
}

/* What it starts reads nothing that the user can write: no home, no directory where it is, none of the
 * caller's variables; and the shell is the host's. */
static void __attribute__((noreturn)) stranger(struct prove *p, pid_t parent)
{
	int64_t until = child_now_ms() + CONTROLS_S * 1000;

	settle_in(p, parent, -1);
	snprintf(p->place.shell, sizeof(p->place.shell), "/bin/sh");
	p->place.unwatched = true;
	if (clearenv() != 0 || setenv("PATH", "/usr/bin:/bin", 1) < 0 || setenv("HOME", "/", 1) < 0 ||
	    chdir("/") < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		_exit(CLI_FAILED);
	for (size_t i = 0; i < p->n_controls && child_now_ms() < until; i++) {
		const struct prove_target *t = control_target(p, p->controls[i].route);

		if (t)
			prove_try(&p->controls[i], &p->place, t);
		if (prove_sweep() < 0)
			break; /* of another user's by now: who started us may */
	}
	_exit(0);
}

/* After what may have been refused: no faster than the kernel's programs tell of one tree, since what is not
 * told is no proof. */
static void pace(void)
{
	static int64_t ahead_ms;
	int64_t now = child_now_ms();

	ahead_ms = (ahead_ms > now ? ahead_ms : now) + TELL_MS;
	while (ahead_ms > child_now_ms() + TELL_MS * TELL_BURST)
		usleep(1000);
}

static void try_cells(struct prove *p, bool files, int64_t until_ms)
{
	for (size_t i = 0; i < p->n_cells && child_now_ms() < until_ms; i++) {
		struct prove_cell *c = &p->cells[i];
		const struct prove_target *t = c->rule == UINT_MAX ? NULL :
								     &p->rules[c->rule].targets[c->target];

		if (files != (c->route && c->route->kind == KIND_FILE_OPENED))
			continue;
		if (c->control == UINT_MAX || p->controls[c->control].came.came == PROVE_THROUGH)
			prove_try(c, &p->place, t);
		if (c->shared->came == -EPERM || c->shared->came == PROVE_KILLED)
			pace();
	}
}

static void __attribute__((noreturn)) member(struct prove *p, pid_t parent, int go_fd)
{
	int64_t until;
	char go;

	settle_in(p, parent, go_fd);
	/* Now it is who it will be, and may be looked at. */
	if (write(PROVE_KEPT_FD, "r", 1) != 1 || read(PROVE_KEPT_FD, &go, 1) != 1)
		_exit(0);
	close(PROVE_KEPT_FD);
	until = child_now_ms() + PROVE_RUN_S * 1000;
	/* Files are the most: on a host that has no time for all of them the rest is not left out. */
	try_cells(p, false, until);
	try_cells(p, true, until);
	_exit(0);
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static void await(struct prove_keeper *k, pid_t pid, int64_t ms)
{
	int64_t until = child_now_ms() + ms;
	siginfo_t si = { 0 };

	while (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && !si.si_pid &&
	       child_now_ms() < until)
		usleep(2000);
	/* As long as it is not reaped its group is nobody else's. */
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	prove_keep_pid(k, 0);
}

/* Whom the stranger leaves has this one for a parent, whatever it did to be alone: it is nobody's but the
 * stranger's. */
static void __attribute__((noreturn)) run_stranger(struct prove *p, struct prove_keeper *k, pid_t parent)
{
	pid_t self = getpid(), pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CLI_FAILED);
	pid = prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -1 : fork();
	if (pid == 0)
		stranger(p, self);
	if (pid < 0) {
		cli_error("cannot start who tries the routes unwatched: %s", strerror(errno));
		_exit(CLI_FAILED);
	}
	prove_keep_pid(k, pid);
	await(k, pid, (CONTROLS_S + PROVE_ATTEMPT_S + 2) * 1000);
	if (prove_sweep() == 0)
		_exit(CLI_DONE);
	cli_error("what was started unwatched cannot be ended");
	_exit(CLI_FAILED);
}

static int try_strangers(struct prove *p, struct prove_keeper *k)
{
	pid_t self = getpid(), pid;
	int r;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run_stranger(p, k, self);
	if (pid < 0) {
		cli_error("cannot fork: %s", strerror(errno));
		return CLI_FAILED;
	}
	r = prove_status(pid);
	take_shared(p->controls, p->n_controls);
	/* Of one that was killed, with its stranger, it is seen by what was not come to. */
	return r == PROVE_THROUGH || r == PROVE_KILLED ? CLI_DONE : CLI_FAILED;
}

static int watch(struct prove *p, pid_t pid)
{
	_cleanup_json_ json_t *result = NULL;
	json_t *v;
	size_t i;

	if (cli_ask(p->cli, json_pack("{s:s, s:i, s:s, s:s}", "cmd", "prove", "pid", (int)pid, "home",
				      p->place.home, "cwd", p->place.work),
		    WATCH_MS, NULL, NULL, &result))
		return CLI_FAILED;
	snprintf(p->session, sizeof(p->session), "%s", cli_str(result, "session"));
	p->tree = cli_int(result, "tree");
	json_array_foreach(json_object_get(result, "warnings"), i, v)
		if (json_is_string(v))
			cli_error("%s", json_string_value(v));
	return CLI_DONE;
}

static int try_members(struct prove *p, struct prove_keeper *k)
{
	pid_t self = getpid(), pid;
	int go[2], r;
	char ready;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) < 0) {
		cli_error("cannot make a socket: %s", strerror(errno));
		return CLI_FAILED;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		member(p, self, go[0]);
	}
	close(go[0]);
	if (pid < 0) {
		cli_error("cannot fork: %s", strerror(errno));
		close(go[1]);
		return CLI_FAILED;
	}
	prove_keep_pid(k, pid);
	r = child_take(go[1], &ready, 1, child_now_ms() + PROVE_ATTEMPT_S * 1000) < 0 ? CLI_FAILED : CLI_DONE;
	if (r != CLI_DONE)
		cli_error("who is to try the rules cannot become %s, or live among the decoys", p->user_name);
	else
		r = watch(p, pid);
	if (r == CLI_DONE && send(go[1], "g", 1, MSG_NOSIGNAL) != 1)
		cli_error("who tries ended before it began");
	close(go[1]);
	await(k, pid, (PROVE_RUN_S + PROVE_ATTEMPT_S + 2) * 1000);
	take_shared(p->cells, p->n_cells);
	return r;
}

static int record(const struct prove *p, json_t *result)
{
	return cli_ask(p->cli, json_pack("{s:s, s:I, s:o}", "cmd", "proved", "tree", (json_int_t)p->tree,
					 "result", result),
		       CLI_TIMEOUT_MS, NULL, NULL, NULL);
}

static json_t *part(const struct prove *p)
{
	return json_pack("{s:s, s:{}}", "session", p->session, "rules");
}

/* As few records as the table takes, and then what came of it. */
static int record_all(const struct prove *p)
{
	json_t *now = part(p);
	size_t len = 0;

	for (size_t i = 0; i <= p->n_rules; i++) {
		json_t *of = prove_table(p, i < p->n_rules ? (unsigned)i : UINT_MAX);
		size_t more = json_dumpb(of, NULL, 0, JSON_COMPACT) + 128;
		char rule[96] = "hand-off";

		if (len && len + more > PROVED_MAX) {
			if (record(p, now))
				return CLI_FAILED;
			now = part(p);
			len = 0;
		}
		if (i < p->n_rules)
			prove_rule_name(&p->rules[i], rule, sizeof(rule));
		if (json_object_size(of))
			json_object_set(json_object_get(now, "rules"), rule, of);
		json_decref(of);
		len += more;
	}
	return record(p, now) ? CLI_FAILED : record(p, prove_summary(p));
}

static int tell(struct prove *p, bool brief)
{
	int came, r;

	if (p->cli->json) {
		_cleanup_json_ json_t *j = prove_json(p);

		cli_json_line(p->cli, j, NULL);
	} else {
		prove_print(p, brief);
	}
	r = cli_flush();
	came = prove_came_to(p);
	return r == CLI_DONE ? came : r;
}

int prove_command(struct cli *cli, const struct prove_options *o)
{
	struct prove p = { .cli = cli, .user = o->user, .dir = o->dir };
	struct prove_keeper keeper = { .fd = -1 };
	int r = find_user(&p);

	if (r == CLI_DONE)
		r = ask_daemon(&p);
	if (r == CLI_DONE)
		r = prove_keep(&p, &keeper);
	if (r == CLI_DONE) {
		prove_targets(&p);
		plan(&p);
		r = try_strangers(&p, &keeper);
	}
	if (r == CLI_DONE)
		r = try_members(&p, &keeper);
	prove_keep_end(&p, &keeper);
	if (r == CLI_DONE)
		r = prove_records(&p);
	/* What could not be recorded, as by a daemon that is another one by now, is told all the same. */
	if (r == CLI_DONE) {
		int recorded = record_all(&p);

		r = tell(&p, o->brief);
		if (recorded != CLI_DONE)
			r = CLI_FAILED;
	}
	prove_rules_free(&p);
	free(p.cells);
	free(p.controls);
	free(p.user_name);
	free(p.user_home);
	free(p.mode);
	return r;
}
