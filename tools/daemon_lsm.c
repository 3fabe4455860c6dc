/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LSM enforcer of this daemon: rules that can be told beforehand become labels of the files that
 * the marks find, and names of programs; what the kernel refused by them becomes events.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "enforce/lsm.h"
#include "sources/process_feed.h"
#include "tools/daemon.h"

#define LAST_BATCHES 4096 /* more than the ring holds */
#define TELL_LOST_NS (5 * NSEC_PER_SEC)

/* Rules, and the word by which their labels are known. */
struct labelled_rules {
	struct ruleset *rules; /* NULL: none */
	uint32_t word;
	bool names; /* programs are refused by their names, too */
};

struct daemon_lsm {
	struct lsm *lsm; /* NULL: it does not run here */
	char why[192];   /* then, for what reason */

	pthread_mutex_t lock; /* of what follows */
	struct labelled_rules now, next; /* next: are to serve when their labels are written */

	uint64_t lost_told, looked_ns; /* the main thread's */

	/* the verdict thread's */
	char exe[4096], lineage[LINEAGE_MAX], program[4096];
	uint64_t seq;
};

/* ---- open and close ------------------------------------------------------------------------ */

void daemon_lsm_open(struct daemon *d)
{
	struct daemon_lsm *l;
	int members;

	if ((!d->fanotify && !d->ebpf) || !d->feed)
		return;
	l = calloc(1, sizeof(*l));
	if (!l)
		return;
	pthread_mutex_init(&l->lock, NULL);
	d->lsm = l;
	members = process_feed_members_fd(d->feed);
	if (members < 0)
		snprintf(l->why, sizeof(l->why), "no membership in the kernel: the process feed is %s",
			 process_feed_name(d->feed));
	else
		lsm_open(members, &l->lsm, l->why);
	if (!l->lsm && d->fanotify)
		log_info("no BPF-LSM: %s", l->why);
	if (l->lsm && lsm_no_execs(l->lsm))
		log_info("no BPF-LSM for programs that are started: %s", lsm_no_execs(l->lsm));
	if (!d->fanotify)
		daemon_follow_open(d, l->lsm ? NULL : l->why);
}

unsigned daemon_lsm_mechanism(const struct daemon *d, enum event_kind kind)
{
	bool holds = daemon_lsm_runs(d) &&
		     (kind == KIND_FILE_OPENED ? d->fanotify || d->follow :
		      kind == KIND_EXEC_OBSERVED && !lsm_no_execs(d->lsm->lsm));

	return holds ? 1u << MECH_LSM : 0;
}

bool daemon_lsm_finds_programs(const struct daemon *d)
{
	return d->follow && daemon_lsm_mechanism(d, KIND_EXEC_OBSERVED);
}

bool daemon_lsm_runs(const struct daemon *d)
{
	return d->lsm && d->lsm->lsm;
}

void daemon_lsm_close(struct daemon *d)
{
	struct daemon_lsm *l = d->lsm;

	if (!l)
		return;
	lsm_close(l->lsm);
	ruleset_unref(l->now.rules);
	ruleset_unref(l->next.rules);
	pthread_mutex_destroy(&l->lock);
	free(l);
	d->lsm = NULL;
}

int daemon_lsm_fd(const struct daemon *d)
{
	return lsm_fd(d->lsm->lsm);
}

unsigned daemon_lsm_kept(const struct daemon *d, int *fds, unsigned max)
{
	return daemon_lsm_runs(d) ? lsm_kept_fds(d->lsm->lsm, fds, max) : 0;
}

uint64_t daemon_lsm_caps(const struct daemon *d)
{
	return daemon_lsm_runs(d) ? lsm_caps(d->lsm->lsm) : 0;
}

void daemon_lsm_mode(struct daemon *d)
{
	/* In observe mode the marks tell what would have been refused, once. */
	if (daemon_lsm_runs(d))
		lsm_enforce(d->lsm->lsm, daemon_mode_now(d) == MODE_ENFORCE);
}

void daemon_lsm_prove(struct daemon *d, uint32_t tree)
{
	if (daemon_lsm_runs(d))
		lsm_enforce_tree(d->lsm->lsm, tree);
}

/* ---- rules --------------------------------------------------------------------------------- */

struct adding {
	struct lsm *lsm;
	uint32_t word;
	unsigned added, failed;
};

static void add_program_name(void *arg, const char *name)
{
	struct adding *a = arg;

	if (lsm_name(a->lsm, a->word, name) < 0)
		a->failed++;
	else
		a->added++;
}

/* One that finds no room is still held by its mark, or by the label of its file. True: some did. */
static bool add_program_names(struct daemon_lsm *l, const struct ruleset *rules, uint32_t word)
{
	struct adding a = { l->lsm, word, 0, 0 };

	ruleset_sure_names(rules, add_program_name, &a);
	if (a.failed)
		log_warning("lsm: no room for %u names of programs that rules name", a.failed);
	return a.added > 0;
}

bool daemon_lsm_names(struct daemon *d)
{
	bool names;

	if (!daemon_lsm_runs(d))
		return false;
	pthread_mutex_lock(&d->lsm->lock);
	names = d->lsm->now.names;
	pthread_mutex_unlock(&d->lsm->lock);
	return names;
}

void daemon_lsm_prepare(struct daemon *d, struct ruleset *rules)
{
	struct daemon_lsm *l = d->lsm;
	struct ruleset *old;

	if (!daemon_lsm_runs(d))
		return;
	pthread_mutex_lock(&l->lock);
	old = l->next.rules;
	l->next.word = lsm_new_word(l->lsm);
	l->next.rules = ruleset_ref(rules);
	pthread_mutex_unlock(&l->lock);
	ruleset_unref(old);
	/* Only who prepares changes what is next. */
	l->next.names = add_program_names(l, rules, l->next.word);
}

void daemon_lsm_serve(struct daemon *d)
{
	struct daemon_lsm *l = d->lsm;

	/* On the verdict thread, with the rules themselves. Who prepared them waits for it, and nobody
	 * else changes what is next. */
	if (daemon_lsm_runs(d) && l->next.rules)
		lsm_serve(l->lsm, l->next.word);
}

void daemon_lsm_settle(struct daemon *d, bool served)
{
	struct daemon_lsm *l = d->lsm;
	struct ruleset *old;
	uint32_t word;

	if (!daemon_lsm_runs(d))
		return;
	pthread_mutex_lock(&l->lock);
	old = l->next.rules;
	if (served && l->next.rules) {
		old = l->now.rules;
		l->now = l->next;
	}
	l->next = (struct labelled_rules){ 0 };
	word = l->now.word;
	pthread_mutex_unlock(&l->lock);
	lsm_drop_names(l->lsm, word);
	ruleset_unref(old);
}

/* ---- labels, on the mark thread ------------------------------------------------------------- */

static uint32_t modes_by(const struct ruleset *rules, const struct object *o)
{
	struct file_name names[OBJECT_NAMES_MAX];
	unsigned modes;

	for (unsigned i = 0; i < o->n_names; i++)
		names[i] = (struct file_name){ o->names[i].path,
					       o->names[i].home[0] ? o->names[i].home : NULL };
	modes = ruleset_sure_modes(rules, names, o->n_names);
	return (modes >> OPEN_MODE_READ & 1 ? LSM_READ : 0) |
	       (modes >> OPEN_MODE_WRITE & 1 ? LSM_WRITE : 0) |
	       (modes >> OPEN_MODE_EXEC & 1 ? LSM_EXEC : 0);
}

/* One that cannot be written is counted. */
static int label_by(struct daemon_lsm *l, const struct labelled_rules *by, int fd,
		    const struct object *o)
{
	uint32_t modes = by->rules ? modes_by(by->rules, o) : 0;
	int r = 0;

	if (modes)
		r = lsm_label(l->lsm, fd, o->dev, o->ino, by->word, LSM_READ | LSM_WRITE | LSM_EXEC, modes);
	return r < 0 ? r : modes != 0;
}

/* Those that serve, and those that are to: each with a reference, and perhaps NULL. */
static void both_rules(struct daemon_lsm *l, struct labelled_rules both[2])
{
	pthread_mutex_lock(&l->lock);
	both[0] = l->now;
	both[1] = l->next;
	for (int i = 0; i < 2; i++)
		if (both[i].rules)
			ruleset_ref(both[i].rules);
	pthread_mutex_unlock(&l->lock);
}

int daemon_lsm_label(void *arg, int fd, const struct object *o)
{
	struct daemon *d = arg;
	struct labelled_rules both[2];
	int ret = 0;

	if (!daemon_lsm_runs(d))
		return 0;
	both_rules(d->lsm, both);
	for (int i = 0; i < 2; i++) {
		int r = label_by(d->lsm, &both[i], fd, o);

		if (r < 0 || ret == 0)
			ret = ret < 0 ? ret : r;
		ruleset_unref(both[i].rules);
	}
	return ret;
}

void daemon_lsm_program(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path, bool first)
{
	struct daemon *d = arg;
	struct labelled_rules both[2];

	if (!daemon_lsm_runs(d) || lsm_no_execs(d->lsm->lsm))
		return;
	both_rules(d->lsm, both);
	for (int i = 0; i < 2; i++) {
		bool runs = both[i].rules && (!path || !ruleset_sure_program(both[i].rules, path));

		/* What one of its names says another does not take back; of what it was called when it
		 * was looked at before nothing stays. */
		if (both[i].rules && (first || !runs))
			lsm_label(d->lsm->lsm, fd, dev, ino, both[i].word, LSM_RUN, runs ? 0 : LSM_RUN);
		ruleset_unref(both[i].rules);
	}
}

/* ---- what was refused, on the verdict thread ------------------------------------------------- */

/* It may have ended by now, and somebody else have its number: the record knows when it began. */
static const struct member *find_member(struct daemon *d, const struct lsm_record *r)
{
	const struct member *m = proctree_find(d->tree, (pid_t)r->tgid);

	if (!m) {
		daemon_feed_drain(d);
		m = proctree_find(d->tree, (pid_t)r->tgid);
	}
	if (!m)
		m = proctree_find_recent(d->tree, (pid_t)r->tgid);
	if (m && m->start_time_ns && !start_time_same(m->start_time_ns, r->start_time_ns))
		return NULL;
	return m;
}

static void read_exe(struct daemon_lsm *l, pid_t pid)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, l->exe, sizeof(l->exe) - 1);
	l->exe[n > 0 ? n : 0] = '\0';
}

static void add_home(struct homes *h, const char *home)
{
	if (home && home[0] && h->n < HOMES_MAX)
		h->path[h->n++] = home;
}

static void fill_subject(struct daemon *d, const struct lsm_record *r, struct tree *tree,
			 struct subject *s)
{
	struct daemon_lsm *l = d->lsm;
	const struct member *m = find_member(d, r);

	l->exe[0] = l->lineage[0] = '\0';
	lsm_path_text(&r->exe, l->exe, sizeof(l->exe));
	if (!l->exe[0] && m && !m->exited)
		read_exe(l, (pid_t)r->tgid);
	if (m)
		proctree_lineage(d->tree, (pid_t)r->tgid, l->lineage, sizeof(l->lineage));
	*s = (struct subject){
		.tgid = (pid_t)r->tgid,
		.tid = (pid_t)r->tid,
		.ppid = m ? m->ppid : 0,
		.start_time_ns = r->start_time_ns,
		.uid = r->uid,
		.auid = tree ? tree->auid : (uid_t)-1,
		.comm = r->comm,
		.exe = l->exe,
		.cgroup = "",
		.lineage = l->lineage,
		.main_exe = m && m->main_exe,
		.tree = tree,
	};
	add_home(&s->homes, daemon_home_of(d, r->uid));
	for (unsigned i = 0; tree && i < HOMES_MAX; i++)
		add_home(&s->homes, tree->homes[i]);
}

static enum open_mode mode_of(const struct lsm_record *r)
{
	if (r->modes & LSM_EXEC)
		return OPEN_MODE_EXEC;
	return r->modes & LSM_WRITE ? OPEN_MODE_WRITE : OPEN_MODE_READ;
}

static void fill_file(struct daemon *d, const struct lsm_record *r, struct event *ev)
{
	const struct object *o = objects_find(d->objects, r->dev, r->ino);

	ev->kind = KIND_FILE_OPENED;
	ev->file.dev = r->dev;
	ev->file.ino = r->ino;
	ev->file.mode = mode_of(r);
	for (unsigned i = 0; o && i < o->n_names; i++)
		ev->file.names[ev->file.n_names++] = (struct file_name){
			o->names[i].path, o->names[i].home[0] ? o->names[i].home : NULL };
}

/* By a link elsewhere, or below another mount, it is the program that is labelled: of its names the one
 * that rules mind. */
static const char *name_of(const struct daemon *d, const struct lsm_record *r, const char *path)
{
	const struct program *known = r->ino ? programs_find(d->programs, r->dev, r->ino) : NULL;

	if (!known || (path[0] && ruleset_sure_program(d->rules, path)))
		return path;
	for (unsigned i = 0; i < known->n_names; i++)
		if (ruleset_sure_program(d->rules, known->names[i]))
			return known->names[i];
	return path[0] ? path : known->names[0];
}

/* As elsewhere `exe` is the program that was to run; who asked is told by comm and lineage. */
static void fill_exec(struct daemon *d, const struct lsm_exec *x, struct event *ev)
{
	struct daemon_lsm *l = d->lsm;

	/* In many directories, one below the other, a name is still a name. */
	lsm_path_end(&x->program, l->program, sizeof(l->program));
	ev->kind = KIND_EXEC_OBSERVED;
	ev->subj.exe = name_of(d, &x->head, l->program);
	ev->subj.main_exe = false; /* that is what it runs until now */
	ev->exec = (struct exec_object){
		.path = ev->subj.exe,
		.argv = x->argv_len ? x->argv : NULL,
		.argv_len_bytes = x->argv_len,
		.argv_cut = x->argv_cut,
	};
}

static void take_record(void *arg, const struct lsm_record *r)
{
	struct daemon *d = arg;
	struct tree *tree = proctree_tree(d->tree, r->tree_id);
	struct event ev = {
		.seq = ++d->lsm->seq,
		.time_ns = r->time_ns,
		.source_name = "lsm",
		.settled = { .by = MECH_LSM, .refused = true },
	};
	enum verdict v;

	fill_subject(d, r, tree, &ev.subj);
	if (r->modes & LSM_RUN)
		fill_exec(d, (const struct lsm_exec *)r, &ev);
	else
		fill_file(d, r, &ev);
	v = bus_publish(&d->bus, &ev);
	if (tree && v == VERDICT_BLOCK)
		tree->blocked++;
	else if (tree && v == VERDICT_WARN)
		tree->warned++;
}

void daemon_lsm_dispatch(void *arg)
{
	struct daemon *d = arg;

	if (daemon_lsm_runs(d))
		lsm_take(d->lsm->lsm, take_record, d);
}

void daemon_lsm_stop(struct daemon *d)
{
	if (!daemon_lsm_runs(d))
		return;
	lsm_enforce(d->lsm->lsm, false);
	for (int i = 0; i < LAST_BATCHES && lsm_take(d->lsm->lsm, take_record, d) > 0; i++)
		;
	daemon_lsm_tick(d, UINT64_MAX);
}

/* ---- what is told about it ------------------------------------------------------------------- */

/* Main thread. */
void daemon_lsm_tick(struct daemon *d, uint64_t now_ns)
{
	struct daemon_lsm *l = d->lsm;
	struct lsm_figures f;
	uint64_t lost;

	if (!daemon_lsm_runs(d) || now_ns - l->looked_ns < TELL_LOST_NS)
		return;
	l->looked_ns = now_ns;
	lsm_figures(l->lsm, &f);
	lost = f.lost + f.too_many + f.malformed;
	if (lost == l->lost_told)
		return;
	log_warning("lsm: %llu refusals have no record of their own",
		    (unsigned long long)(lost - l->lost_told));
	daemon_own_record(d, "O1", "opens not recorded",
			  json_pack("{s:I, s:s}", "count", (json_int_t)(lost - l->lost_told), "why",
				    "the kernel refused them faster than each could be recorded"));
	l->lost_told = lost;
}

json_t *daemon_lsm_json(const struct daemon *d)
{
	struct lsm_figures f;

	if (!daemon_lsm_runs(d))
		return json_pack("{s:b, s:s}", "runs", false, "why",
				 d->lsm ? d->lsm->why :
				 d->feed ? "neither fanotify nor ebpf runs" : "nobody is watched");
	lsm_figures(d->lsm->lsm, &f);
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I}", "runs", true, "why", "", "no_execs",
			 lsm_no_execs(d->lsm->lsm) ? lsm_no_execs(d->lsm->lsm) : "", "labels",
			 (json_int_t)f.labels, "not_labelled", (json_int_t)f.not_labelled, "refused",
			 (json_int_t)f.refused, "not_recorded",
			 (json_int_t)(f.lost + f.too_many + f.malformed));
}
