/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -ljansson */
/*
 * fakedaemon RUN_DIR: the real control socket with canned answers, for tests of the CLI. Who was
 * given to `run`, and what it starts, is a member. Says "ready" on stdout; ends with its parent or
 * by SIGTERM. What was refused, and what was asked, it appends to RUN_DIR/log.
 */
#include "tools/control.c"
#include "tools/daemon_control_listen.c"
#include "tools/daemon_control_peer.c"
#include "tools/daemon_control_serve.c"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/prctl.h>

struct fake {
	const char *run_dir;
	_Atomic pid_t roots[256];
	_Atomic unsigned n_roots;
	_Atomic int events;
};

static void note(struct fake *f, const char *what, const json_t *req)
{
	char *text = req ? json_dumps(req, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	char path[256], line[70000];
	int n, fd;

	snprintf(path, sizeof(path), "%s/log", f->run_dir);
	n = snprintf(line, sizeof(line), "%s %s\n", what, text ? text : "");
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) < 0)
		perror(path);
	close(fd);
	free(text);
}

static pid_t parent_of(pid_t pid)
{
	char path[64], buf[512];
	ssize_t n;
	int fd, ppid = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	if (!strrchr(buf, ')') || sscanf(strrchr(buf, ')'), ") %*c %d", &ppid) != 1)
		return 0;
	return ppid;
}

static bool fake_is_member(void *arg, pid_t pid)
{
	struct fake *f = arg;

	for (; pid > 1; pid = parent_of(pid))
		for (unsigned i = 0; i < f->n_roots && i < ARRAY_SIZE(f->roots); i++)
			if (f->roots[i] == pid)
				return true;
	return false;
}

static void fake_refused(void *arg, const struct control_peer *peer, const char *cmd,
			 uint64_t unreported)
{
	char what[128];

	snprintf(what, sizeof(what), "refused %s member=%d uid=%u and=%llu", cmd, peer->member,
		 peer->uid, (unsigned long long)unreported);
	note(arg, what, NULL);
}

/* --- canned answers ---------------------------------------------------------------------------- */

#define RECORD(seq, time, rule, verdict, errno_, outcome, process, capture)                    \
	"{\"agent\":{\"id\":\"claude-code\",\"root_pid\":4700,\"session\":\"s1\"},"            \
	"\"capture\":" capture ",\"decided_by\":\"rule\",\"errno\":" errno_ ",\"fired\":[],"   \
	"\"host\":\"h\",\"kind\":\"file_opened\",\"mechanism\":\"fanotify\","                  \
	"\"mode\":\"enforce\",\"outcome\":\"" outcome "\",\"prev\":\"00\",\"process\":" process \
	",\"rule\":" rule ",\"seq\":" seq ",\"sig\":\"ab\",\"source\":\"fanotify\","           \
	"\"time\":\"" time "\",\"v\":1,\"verdict\":\"" verdict "\"}"

#define R3 "{\"id\":\"R3\",\"name\":\"credential read\",\"pack\":\"core\",\"part\":\"aws\",\"version\":1}"
#define CAT "{\"comm\":\"cat\",\"exe\":\"/usr/bin/cat\",\"pid\":4711,\"ppid\":4710,\"uid\":0}"
#define EVIL "{\"comm\":\"e\\u001b[2Jv\",\"exe\":\"/tmp/x\",\"pid\":4712,\"ppid\":1,\"uid\":65534}"

static const char *const records[] = {
	RECORD("1", "2026-03-04T18:25:02.123456789Z", R3, "block", "\"EPERM\"", "denied", CAT,
	       "{\"path\":\"/root/.aws/credentials\"}"),
	RECORD("2", "2026-03-04T18:25:03Z", R3, "would_block", "null", "observed", CAT,
	       "{\"path\":\"/root/.ssh/id_rsa\"}"),
	RECORD("3", "2026-03-04T18:25:04Z", R3, "warn", "null", "allowed", EVIL,
	       "{\"path\":\"/tmp/a\\u001b]0;x\\u0007\\u202egpj\xc2\x9b.env\"}"),
	RECORD("4", "2026-03-04T18:25:05Z",
	       "{\"id\":\"O1\",\"name\":\"ring overflow\",\"pack\":\"\",\"part\":\"\",\"version\":1}",
	       "detected", "null", "observed", CAT, "{\"lost\":12,\"why\":\"burst\"}"),
	RECORD("5", "2026-03-04T18:25:06Z", R3, "detected", "null", "unknown", CAT,
	       "{\"path\":\"/rooted/x\"}"),
};

static const char *fake_status(void *arg, const struct control_peer *p, const json_t *req,
			       struct control_reply *r)
{
	(void)arg, (void)req;
	r->result = json_pack(
		"{s:s,s:s,s:s,s:n,s:[{s:s,s:i,s:i,s:i}],s:[{s:s,s:s}],s:{s:s,s:i,s:i},s:i,s:i,s:[],"
		"s:{s:i,s:s,s:i,s:[{s:s,s:s,s:s,s:s}]},"
		"s:{s:s,s:[s,s],s:i,s:i,s:i,s:i,s:i,s:i,s:[{s:s,s:s}]},"
		"s:{s:b,s:s,s:i,s:i,s:s,s:i,s:i,s:s},s:[s]}",
		"version", "0.1.0", "mode", "enforce", "configured_mode", "enforce", "paused_until",
		"sources", "name", "fanotify", "read", 7, "lost", 0, "malformed", 0, "unavailable",
		"name", "ebpf", "why", "not allowed here", "feed", "name", "bpf", "gaps", 0, "lost",
		0, "trees", 1, "members", p->member ? 1 : 3, "agents", "rules", "count", 31, "origin",
		"/usr/share/oknek/rules", "blocking", 12, "detect", "rule", "R1", "part", "", "name",
		"subcommand-chain bypass", "why", "no exec events", "enforcement", "mechanism",
		"fanotify", "filesystems", "/", "/home", "objects", 9, "directories", 4, "pending",
		0, "answered", 7, "denied", 2, "by_deadline", 0, "gaps", "path", "/nfs/home/\033u",
		"why", "on nfs4", "evidence", "ok", 1, "why", "", "records", 5, "last_seq", 5,
		"last_hash", "ab", "lost", 0, "pending", 0, "key", "cd", "warnings",
		"clock \033[31mjumped");
	return r->result ? NULL : "failed";
}

static const char *fake_run(void *arg, const struct control_peer *p, const json_t *req,
			    struct control_reply *r)
{
	struct fake *f = arg;
	const char *agent = json_string_value(json_object_get(req, "agent"));
	pid_t pid = (pid_t)json_integer_value(json_object_get(req, "pid"));
	const struct timespec pause = { .tv_nsec = 500 * 1000000L };
	unsigned n;

	note(f, "run", req);
	if (!agent || parent_of(pid) != p->pid) {
		snprintf(r->err, sizeof(r->err), "pid %d is no child of pid %d", pid, p->pid);
		return "denied";
	}
	if (!strcmp(agent, "refused")) {
		snprintf(r->err, sizeof(r->err), "not today");
		return "failed";
	}
	if (!strcmp(agent, "slow"))
		nanosleep(&pause, NULL);
	n = f->n_roots++;
	f->roots[n % ARRAY_SIZE(f->roots)] = pid;
	r->result = json_pack("{s:i,s:s,s:s,s:[]}", "tree", 1, "session", "s1", "agent", agent,
			      "warnings");
	if (!strcmp(agent, "warned"))
		json_array_append_new(json_object_get(r->result, "warnings"),
				      json_string("two\nlines \033[31m"));
	return NULL;
}

static const char *fake_events(void *arg, const struct control_peer *p, const json_t *req,
			       struct control_reply *r)
{
	struct fake *f = arg;

	(void)p;
	if (!r->resumed)
		note(f, "events", req);
	r->follow = json_is_true(json_object_get(req, "follow"));
	/* Only who follows gets more than the five. */
	for (; r->cursor < (r->follow ? (unsigned)f->events : ARRAY_SIZE(records)); r->cursor++)
		if (r->item_text(r, records[r->cursor % ARRAY_SIZE(records)]) < 0)
			return "failed";
	return NULL;
}

static const char *fake_show(void *arg, const struct control_peer *p, const json_t *req,
			     struct control_reply *r)
{
	json_int_t seq = json_integer_value(json_object_get(req, "seq"));

	(void)arg, (void)p;
	if (seq < 1 || seq > (json_int_t)ARRAY_SIZE(records)) {
		snprintf(r->err, sizeof(r->err), "there is no record %lld", (long long)seq);
		return "notfound";
	}
	r->result = json_loads(records[seq - 1], 0, NULL);
	return NULL;
}

static const char *fake_why(void *arg, const struct control_peer *p, const json_t *req,
			    struct control_reply *r)
{
	json_int_t pid = json_integer_value(json_object_get(req, "pid"));

	(void)arg, (void)p;
	if (pid == 1)
		return NULL;
	r->item_text(r, "{\"seq\":1,\"time\":\"2026-03-04T18:25:02Z\",\"rule\":\"R3\",\"part\":\"aws\","
			"\"name\":\"credential read\",\"path\":\"/root/.aws/credentials\",\"process\":"
			CAT ",\"verdict\":\"block\",\"errno\":\"EPERM\",\"mechanism\":\"fanotify\","
			"\"readers_line\":\"readers: { R3/aws: [/usr/bin/aws] }\",\"advice\":null}");
	r->item_text(r, "{\"seq\":2,\"time\":\"2026-03-04T18:25:03Z\",\"rule\":\"R3\",\"part\":\"dotenv\","
			"\"name\":\"credential read\",\"path\":\"/w/.env\",\"process\":" EVIL
			",\"verdict\":\"warn\",\"errno\":null,\"mechanism\":\"fanotify\","
			"\"readers_line\":null}");
	return NULL;
}

/* Answers with what it was asked. */
static const char *fake_echo(void *arg, const struct control_peer *p, const json_t *req,
			     struct control_reply *r)
{
	(void)p;
	note(arg, json_string_value(json_object_get(req, "cmd")), req);
	r->result = json_deep_copy(req);
	json_object_set_new(r->result, "tree", json_integer(1));
	json_object_set_new(r->result, "members", json_integer(3));
	json_object_set_new(r->result, "answered", json_integer(1));
	json_object_set_new(r->result, "rules", json_integer(31));
	return NULL;
}

static const char *fake_rules(void *arg, const struct control_peer *p, const json_t *req,
			      struct control_reply *r)
{
	const char *id = json_string_value(json_object_get(req, "id"));

	(void)arg, (void)p;
	if (id && strcmp(id, "R3/aws") != 0)
		return NULL;
	r->item(r, json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:s*}", "id", "R3", "part",
			     "aws", "version", 1, "name", "credential read", "kind", "file_opened",
			     "action", "block", "mechanism", "fanotify", "why", "", "pack", "core 1",
			     "file", "R3_credential_read.yaml", "line", 3, "source",
			     id ? "id: R3\npart: aws\n" : NULL));
	return NULL;
}

static const char *fake_agents(void *arg, const struct control_peer *p, const json_t *req,
			       struct control_reply *r)
{
	(void)arg, (void)p, (void)req;
	r->item(r, json_pack("{s:i,s:s,s:s,s:i,s:i,s:s,s:i,s:[{s:i,s:i,s:s}],s:i,s:i}", "tree", 1,
			     "agent", "claude-code", "session", "s1", "root_pid", 4700, "uid", 0,
			     "how", "exe", "since", 1772648702, "members", "pid", 4700, "ppid", 1,
			     "comm", "cl\033aude", "blocked", 2, "warned", 1));
	return NULL;
}

static const char *fake_pending(void *arg, const struct control_peer *p, const json_t *req,
				struct control_reply *r)
{
	(void)arg, (void)p, (void)req;
	r->item(r, json_pack("{s:b,s:i,s:i,s:i,s:s,s:s,s:s,s:s,s:{s:i,s:i,s:s,s:s},s:s,s:i,s:s}", "held", 1,
			     "token", 17, "since", 1772648702, "deadline", 1772648703, "rule", "R3", "part",
			     "aws", "name", "credential read", "path", "/root/.aws/credentials",
			     "process", "pid", 4711, "uid", 0, "comm", "cat", "exe", "/usr/bin/cat",
			     "agent", "claude-code", "tree", 1, "on_timeout", "block"));
	return NULL;
}

static const struct control_command fake_commands[] = {
	{ "status", RIGHT_MEMBER, fake_status },    { "why", RIGHT_MEMBER, fake_why },
	{ "run", RIGHT_ANYBODY, fake_run },	    { "watch", RIGHT_ANYBODY, fake_echo },
	{ "unwatch", RIGHT_ANYBODY, fake_echo },    { "events", RIGHT_ANYBODY, fake_events },
	{ "show", RIGHT_ANYBODY, fake_show },	    { "agents", RIGHT_ANYBODY, fake_agents },
	{ "rules", RIGHT_ANYBODY, fake_rules },	    { "mode", RIGHT_PRIVILEGED, fake_echo },
	{ "pause", RIGHT_PRIVILEGED, fake_echo },   { "reload", RIGHT_PRIVILEGED, fake_echo },
	{ "pending", RIGHT_PRIVILEGED, fake_pending }, { "allow", RIGHT_PRIVILEGED, fake_echo },
	{ "block", RIGHT_PRIVILEGED, fake_echo },   { NULL, RIGHT_MEMBER, NULL },
};

int main(int argc, char **argv)
{
	struct fake f = { .run_dir = argv[1], .events = ARRAY_SIZE(records) };
	const struct control_config config = {
		.run_dir = argv[1],
		/* Whoever runs the test operates it, root or not. */
		.group = getuid() == 0 ? (gid_t)-1 : getgid(),
		.commands = fake_commands,
		.arg = &f,
		.is_member = fake_is_member,
		.refused = fake_refused,
	};
	const struct timespec tick = { .tv_nsec = 300 * 1000000L };
	struct control *c;
	sigset_t end;
	int r;

	if (argc != 2)
		return 64;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	r = control_open(&config, &c);
	if (r == 0)
		r = control_start(c);
	if (r < 0) {
		fprintf(stderr, "fakedaemon: %s\n", strerror(-r));
		return 1;
	}
	puts("ready");
	fclose(stdout);
	while (sigtimedwait(&end, NULL, &tick) < 0) { /* one more event, again and again */
		f.events++;
		control_wake(c);
	}
	control_close(c);
	return 0;
}
