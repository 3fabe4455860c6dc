/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon: what oknekd is made of, and which thread owns what.
 *
 *   verdict thread  loop: permission and notification groups, feed, deadlines; `rules`, `homes`,
 *                   membership. Asked by others through loop_call().
 *   bulk thread     tools/daemon_bulk.c: what eBPF tells besides programs; leaves out what no rule
 *                   could match, hands the rest to the verdict thread
 *   audit thread    sources/audit_read.c: puts the kernel's audit records together, for the verdict thread
 *   mark thread     enforce/marks.c
 *   identify thread tools/daemon_identify.c: who was exec'd, marks for who was recognised
 *   scan thread     tools/daemon_scan.c: looks through /proc when the feed lost something; never
 *                   waits for marks
 *   recheck thread  tools/daemon_recheck.c: what runs, where its exec was held and the kernel could not
 *                   compare it; kills
 *   control threads tools/control.c: commands; changes of state one at a time under admin_lock
 *   store thread    store/
 *   main thread     signals, end of a pause, health
 */
#ifndef OKNEK_TOOLS_DAEMON_H
#define OKNEK_TOOLS_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/loop.h"
#include "core/objects.h"
#include "core/permission.h"
#include "core/proctree.h"
#include "core/watch.h"
#include "enforce/confine.h"
#include "enforce/guardian.h"
#include "enforce/lookup.h"
#include "enforce/marks.h"
#include "rules/rules.h"
#include "sources/fanotify.h"
#include "sources/process.h"
#include "store/store.h"
#include "tools/control.h"

/* sysexits(3) of oknekd(8). */
enum exit_status {
	EXIT_DONE = 0,
	EXIT_USAGE = 64,
	EXIT_UNAVAILABLE = 69,
	EXIT_LEFT = 75, /* the guardian is in charge: start another */
	EXIT_NOPERM = 77,
	EXIT_CONFIG = 78,
};

#define HOMES_KNOWN_MAX 64
#define SOURCES_MAX 8
#define MARKS_WAIT_MS 8000
#define PROCESS_WAIT_MS 1000
#define STORE_CLOSE_MS 5000

struct daemon_options {
	const char *config;
	bool config_given;
	const char *state_dir, *run_dir, *rules_dir;
	char *sources; /* comma separated, NULL: from the configuration */
	int mode;      /* enum mode, -1: from the configuration */
	bool foreground, check, replace;
	enum confine_refusal seccomp; /* --debug-seccomp */
};

struct known_home {
	uid_t uid;
	uint64_t asked_ns; /* the mark thread was told to look; 0 never. CLOCK_BOOTTIME */
	uint64_t used_ns;
	char path[1024]; /* "" not known */
};

struct unavailable {
	char name[32];
	char why[256];
};

enum daemon_nothing {
	DAEMON_ENFORCES,
	DAEMON_NOTHING_YET, /* there is nothing of what the rules name */
	DAEMON_HINDERED,    /* something is in the way */
};

struct daemon {
	struct daemon_options opt;
	struct config *config;
	bool memory_unlimited; /* RLIMIT_MEMLOCK */
	uint64_t caps;         /* bit per CAP_* that is kept */
	struct confine_program *guardian_calls; /* NULL: no list */
	int calls_confined;    /* by seccomp: 0, -errno */
	_Atomic int verdict_confined;
	void *signal_stack, *verdict_signal_stack;
	uint64_t rest_until_ns, rest_slept_ns; /* 0: openers may be held */
	struct daemon_watchdog {
		uint64_t interval_ns; /* 0: nobody asked for it */
		uint64_t due_ns, verdict_turns, control_turns;
		bool asked;
	} watchdog;
	struct { /* main thread */
		enum daemon_nothing now;
		char why[256];
		uint64_t since_ns, looked_ns;
		bool told; /* in log and evidence */
	} nothing;
	struct lookup *mark_lookup, *process_lookup;
	pthread_mutex_t process_lock; /* one caller at a time of process_lookup */

	/* What captures events; changed by the verdict thread, under the lock. NULL: nobody does. */
	pthread_mutex_t capture_lock;
	struct capture *capture;
	bool capture_all; /* not only those for which a rule fired */
	struct capture *capture_keeper; /* of what was captured, while nothing is; NULL: none */
	/* The time that the rules were given last; the verdict thread's. */
	int64_t decided_unix_ns;
	int32_t decided_utc_offset_s;

	struct journal *journal;
	_Atomic bool store_failed;
	struct store *store;
	struct proctree *tree;
	struct process_feed *feed;
	char feed_why[256];
	struct objects *objects;
	struct programs *programs; /* whose start is held, or refused; NULL: nobody's */
	struct defaults *defaults; /* what the guardian knows of them */
	struct permission_table *permissions;
	struct watch_queue *queue;
	struct watch_groups groups;
	struct guardian *guardian;          /* NULL: no permissions to answer */
	struct guardian_peer *old_guardian; /* of the daemon before, until we have taken over */
	int members_fd, guardian_listen_fd;
	uint64_t guardian_again_ns;
	bool was_guarded;
	struct source *fanotify, *ebpf, *audit, *replay, *preload; /* NULL: does not run */
	struct source *follow; /* names, for labels alone; NULL: fanotify runs, or there are no labels */
	bool follow_names;     /* for audit, not for labels */
	char follow_why[256];  /* ebpf runs without fanotify, and there are none */
	_Atomic bool preload_watches; /* somebody who asked to be watched is just being */
	struct { /* of the feed, when there is no fanotify source; the verdict thread's */
		uint64_t n;
		bool open;
	} own_gaps;
	struct { /* losses of the eBPF source; main thread */
		uint64_t lost, at_ns;
		uint64_t pushed_out, pushed_at_ns;
		bool malformed;
	} ebpf_told;
	pthread_t audit_thread;
	_Atomic bool audit_running;
	bool audit_was_on;
	bool audit_marked; /* its mark is in the state directory */
	bool audit_left; /* who is a member does not matter any more; the verdict thread's */
	uint64_t audit_from_ns; /* whose start was before has no audit context; 0: nobody's. Verdict thread */
	_Atomic uint64_t audit_unseen; /* members of these */
	struct { /* what of the audit source was said; main thread */
		uint64_t overruns, kernel_lost, at_ns, unseen, looked_ns;
		uint64_t partial, malformed, cut, incomplete_at_ns;
		bool foreign;
	} audit_told;
	struct daemon_bulk {
		pthread_t thread;
		bool filters, running;
		pthread_mutex_t lock; /* the rest; held by its thread for a batch. Initialised if it filters */
		struct ruleset *rules; /* NULL: pass everything */
		bool everything;
	} bulk;
	struct daemon_fuse *fuse; /* NULL: nobody is held */
	struct daemon_fuse_audit *fuse_audit; /* NULL: audit does not run */
	struct daemon_recheck *recheck; /* NULL: the same */
	struct daemon_halt *halt; /* NULL: no tree is stopped after the fact */
	struct daemon_hold *hold; /* NULL: the same; the verdict thread's */
	_Atomic uint64_t holds_refused; /* there was no room to hold: denied at once */
	struct enforcer *enforcer;
	struct marks *marks;
	struct unavailable unavailable[SOURCES_MAX];
	unsigned n_unavailable;

	struct {                      /* the helper that reads held processes */
		struct peek *helper;  /* NULL: nobody is held, or can be read */
		char why[160];        /* and why not */
		bool more;            /* answers are left; the verdict thread's */
		_Atomic bool gone;
		_Atomic unsigned restarts;
		unsigned told_restarts; /* main thread */
		bool told_gone;
	} peek;
	struct daemon_lsm *lsm;       /* NULL: nobody is watched */
	struct daemon_egress *egress; /* NULL: nobody is watched */
	struct ruleset *rules; /* in force; changed by the verdict thread only */
	struct rules_cache *rules_cache; /* with admin_lock, or before threads */
	char pack_why[512];              /* the active pack was not served at the start */
	_Atomic bool pack_fell_back;     /* nor since then */
	struct zone zone;
	struct bus bus;
	struct loop *loop;
	pthread_t verdict_thread;
	bool verdict_running;
	struct known_home homes[HOMES_KNOWN_MAX];
	unsigned n_homes;
	uint64_t homes_full_ns; /* when nothing could be evicted; 0 never */

	int notice_fd[2]; /* pipe: verdict thread → identify thread */
	int identify_fd;  /* eventfd: look at flags */
	int scan_fd;      /* eventfd: the feed has a gap */
	pthread_t identify_thread, scan_thread;
	bool identify_running, scan_running;
	_Atomic bool threads_stop; /* of these two */
	_Atomic bool identify_all; /* some execs were not told: look at everybody */
	_Atomic uint64_t notices_lost;

	struct control *control;
	struct control_role roles[ROLES_MAX];
	pthread_mutex_t admin_lock;      /* mode, pause, reload */
	_Atomic int mode;                /* configured or set: enum mode */
	_Atomic int mode_now;            /* in force: OBSERVE while paused */
	_Atomic int64_t paused_until_s;  /* 0: no pause */
	_Atomic uint32_t proof_tree;     /* rules are enforced for it in each mode; 0: there was none */
	bool proving;                    /* one that tries them is about to be watched; with admin_lock */
	char proof_session[40];          /* of the last that did; with admin_lock */
	_Atomic bool marks_late;         /* marks are not yet as mode and rules want them */
	int64_t marks_retry_s, marks_backoff_s; /* with admin_lock; CLOCK_BOOTTIME */
	_Atomic uint64_t replay_done;
};

/* daemon_start.c: everything up and ready; an enum exit_status, said on stderr. */
int daemon_start(struct daemon *d);
void daemon_stop(struct daemon *d);

/* daemon_sources.c: which sources are asked for (-EINVAL: one that does not exist, said), and
 * opening them: an enum exit_status. */
struct daemon_wanted {
	bool fanotify, ebpf, audit, preload;
	bool calls;   /* ebpf was asked for: also by hooks in system calls, which cost everybody */
	char *replay; /* FILE, NULL: no */
};
int daemon_choose_sources(struct daemon *d, struct daemon_wanted *w);
int daemon_open_sources(struct daemon *d, const struct daemon_wanted *w);

/* daemon_feed.c: the process feed, whatever sources there are. Verdict thread, but for the first two.
 * Gaps as in sources/fanotify.h. */
bool daemon_watches(const struct daemon *d); /* somebody may be watched */
int daemon_feed_open(struct daemon *d);      /* tree and feed; said */
bool daemon_feed_drain(struct daemon *d);
void daemon_feed_gap(struct daemon *d);
uint64_t daemon_feed_gaps(const struct daemon *d);
bool daemon_feed_restored(struct daemon *d, uint64_t gaps_seen, bool complete);

/*
 * daemon_bulk.c: reads what eBPF tells in bulk. filter: before sources. rules: while others come to
 * serve, none; not on the verdict thread. everything: also what interests no rule. passes: would it
 * hand over this open; verdict thread.
 */
struct ebpf_filter;
void daemon_bulk_filter(struct daemon *d, struct ebpf_filter *ret);
int daemon_bulk_start(struct daemon *d);
void daemon_bulk_rules(struct daemon *d, struct ruleset *rs);
void daemon_bulk_everything(struct daemon *d, bool on);
bool daemon_bulk_passes(const struct daemon *d, const struct event *ev);
void daemon_bulk_stop(struct daemon *d);

/* daemon_ebpf.c. network: while privileged, once it is known whether the egress jail runs. tick: main
 * thread. */
int daemon_ebpf_open(struct daemon *d, bool calls, char why[192]);
void daemon_ebpf_network(struct daemon *d);
void daemon_ebpf_mode(struct daemon *d); /* any thread */
bool daemon_ebpf_sees(const struct daemon *d, enum event_kind kind);
void daemon_ebpf_tick(struct daemon *d, uint64_t now_ns);
void daemon_ebpf_warnings(const struct daemon *d, json_t *list);
void daemon_ebpf_figures(const struct daemon *d, json_t *entry); /* of status */

/*
 * daemon_audit.c. open: while privileged. start: on a thread that is confined, once the verdict thread
 * runs. tells: does audit tell of what this process does; it is not known yet whether it has. member,
 * gone, exec: verdict thread; the first two are handlers of the feed. settle: until the kernel has the
 * rules of whoever is watched by now, at most two seconds; not on the verdict thread.
 */
int daemon_audit_open(struct daemon *d, char why[192]);
void daemon_audit_clean(struct daemon *d); /* where it is not opened: of one that was killed; while privileged */
int daemon_audit_start(struct daemon *d);
void daemon_audit_stop(struct daemon *d);
void daemon_audit_close(struct daemon *d); /* nobody runs any more */
void daemon_audit_leave(struct daemon *d); /* the process ends, and its verdict thread runs until then */
bool daemon_audit_sees(const struct daemon *d, enum event_kind kind);
bool daemon_audit_tells(const struct daemon *d, const struct subject *subj);
void daemon_audit_member(void *arg, pid_t tgid);
void daemon_audit_gone(void *arg, pid_t tgid);
void daemon_audit_exec(struct daemon *d, const struct process_exec *e);
void daemon_audit_settle(struct daemon *d);
void daemon_audit_tick(struct daemon *d, uint64_t now_ns); /* main thread */
void daemon_audit_warnings(struct daemon *d, json_t *list);
void daemon_audit_figures(struct daemon *d, json_t *entry); /* of status */

/* daemon_fuse.c: the bus's hooks, by which what two sources see is one event; and fanotify's, by which
 * what was decided while an exec was held is known when it runs. */
int daemon_fuse_open(struct daemon *d);
bool daemon_fuse_before(void *arg, struct event *ev);
void daemon_fuse_others(void *arg); /* before eBPF tells of opens */
void daemon_fuse_named(void *arg, struct event *ev, enum verdict effect);
void daemon_exec_allowed(void *arg, const struct event *ev, const struct decision *decision,
			 uint64_t dev, uint64_t ino);
void daemon_fuse_after(void *arg, const struct verdict_note *note, enum outcome outcome);

/*
 * daemon_fuse_audit.c: the same for audit, as its hooks call it. refused: audit tells of an open that was
 * refused, which is no event. others: before audit tells. sweep: what audit was to tell, and has not, is
 * counted. Verdict thread, but for open and unconfirmed.
 */
int daemon_fuse_audit_open(struct daemon *d);
bool daemon_fuse_audit_before(struct daemon *d, struct event *ev);
void daemon_fuse_audit_refused(void *arg, struct event *ev);
void daemon_fuse_audit_named(struct daemon *d, struct event *ev, enum verdict effect);
void daemon_fuse_audit_after(struct daemon *d, const struct verdict_note *note, enum outcome outcome);
void daemon_fuse_audit_others(void *arg);
void daemon_fuse_audit_sweep(struct daemon *d);
uint64_t daemon_fuse_unconfirmed(const struct daemon *d);

/* daemon_preload.c: programs that ask by themselves. carried: who is watched from birth has to, since
 * nothing else watches, or holds one of the rules. */
struct rules_config;
int daemon_preload_open(struct daemon *d);
void daemon_preload_rules(const struct daemon *d, struct rules_config *c);
void daemon_preload_named(const struct daemon *d, struct event *ev, enum verdict effect);
bool daemon_preload_carried(struct daemon *d);
void daemon_preload_warnings(const struct daemon *d, json_t *list);
void daemon_preload_figures(const struct daemon *d, json_t *entry); /* of status */
const char *daemon_cmd_judge(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply);
const char *daemon_cmd_unit(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply);

/* daemon_peek.c: the helper that reads held processes. prepare: before threads and groups. */
int daemon_peek_prepare(struct daemon *d);
int daemon_peek(void *arg, const struct peek_question *q); /* as in fanotify_config; verdict thread */
enum open_mode daemon_opening(void *arg, const struct subject *subj, bool *also_read);
bool daemon_mode_hidden(void *arg, pid_t tgid);
int daemon_peek_fd(const struct daemon *d); /* -1: there is none */
uint64_t daemon_peek_next_ns(const struct daemon *d); /* when dispatch is to be called all the same */
void daemon_peek_dispatch(void *arg); /* verdict thread */
void daemon_peek_tick(struct daemon *d); /* main thread */
void daemon_peek_warnings(const struct daemon *d, json_t *list);
json_t *daemon_peek_json(const struct daemon *d);
void daemon_peek_close(struct daemon *d);

/* daemon_hold.c: who waits for an operator. operator: the bus's hook. again: when rules, mode or who is
 * watched are others than before; as resume, not on the verdict thread. */
int daemon_hold_open(struct daemon *d);
void daemon_hold_resume(struct daemon *d); /* trees of the daemon before are known */
bool daemon_operator(void *arg, struct event *ev, const struct decision *decision,
		     enum verdict *effect, enum decided_by *by);
void daemon_hold_again(struct daemon *d);
void daemon_hold_gone(void *arg, uint64_t dev, uint64_t ino); /* of fanotify: what was deleted */
void daemon_hold_close(struct daemon *d);

/* daemon_recheck.c: what runs is compared with what was decided after it began, where the kernel has
 * not done that; who runs something else that a rule blocks is killed. open: before the verdict thread.
 * stop: while that still runs. seen: by the verdict thread, of a process that runs another program. */
int daemon_recheck_open(struct daemon *d);
int daemon_recheck_start(struct daemon *d);
void daemon_recheck_stop(struct daemon *d);
void daemon_recheck_close(struct daemon *d);
uint64_t daemon_recheck_caps(const struct daemon *d);
void daemon_recheck_seen(struct daemon *d, pid_t tgid);
void daemon_recheck_tick(struct daemon *d, uint64_t now_ns); /* main thread */

/* daemon_halt.c: trees that are stopped after the fact. prepare: before threads, and before there is a group;
 * end: while the verdict thread runs, everybody goes on. after: the bus's hook. */
void daemon_halt_prepare(struct daemon *d);
int daemon_halt_start(struct daemon *d);
void daemon_halt_end(struct daemon *d);
void daemon_halt_close(struct daemon *d);
uint64_t daemon_halt_caps(const struct daemon *d);
void daemon_after(void *arg, const struct verdict_note *note, enum outcome outcome);

/* daemon_verdict.c: starts the verdict thread, which inherits the caller's priority. -errno. */
int daemon_start_verdicts(struct daemon *d);

/* daemon_signals.c. A stack for handlers, of the calling thread; freed by that thread. -errno. */
int daemon_signal_stack(void **ret);
void daemon_signal_stack_free(void *stack);
void daemon_catch_crashes(void);
void daemon_catch_trap(void); /* in the guardian; async-signal-safe */
/* Whatever hangs from here on, the process ends in ten seconds. */
void daemon_stop_in_time(void);
bool daemon_told_to_end(void); /* a signal that is not taken yet says so */

/* daemon_suspend.c. Main thread. last_chance: before what is held gets its default. While the verdict
 * thread runs; takes a third of a second at most. Returns how many holds it has ended. */
unsigned daemon_last_chance(struct daemon *d);
void daemon_suspend(struct daemon *d);
void daemon_suspend_tick(struct daemon *d);

/* daemon_notify.c: the service manager, without waiting. */
void daemon_notify(const char *state);
void daemon_notify_ready(struct daemon *d);
void daemon_notify_reloading(void);
void daemon_notify_patience(unsigned seconds); /* starting takes so much longer, at most */
void daemon_watchdog_init(struct daemon *d);
void daemon_watchdog_tick(struct daemon *d, uint64_t now_ns);

/* daemon_nothing.c: enforce mode, and nothing is marked. Main thread, but for the first two. */
unsigned daemon_blocking_rules(const struct ruleset *rs); /* that hold something here; NULL: 0 */
/* why: unchanged if it enforces. */
enum daemon_nothing daemon_enforces_nothing(struct daemon *d, unsigned blocking, char why[256]);
void daemon_notify_status(struct daemon *d, const char *before); /* before: "READY=1\n", "" */
void daemon_nothing_first(struct daemon *d); /* before it is ready */
void daemon_nothing_tick(struct daemon *d, uint64_t now_ns);

/* daemon_privilege.c: before threads. */
void daemon_raise_limits(struct daemon *d);
void daemon_settle_log(bool keeper); /* for log_start() */
/* What the guardian may; before it is started. Then, in its process: it keeps that alone. */
void daemon_prepare_guardian(struct daemon *d);
void daemon_settle_guardian(void *arg);
int daemon_drop_privileges(struct daemon *d); /* -EPERM, said */
/* The calling thread: raised is for threads that clone the guardian, verdict is one below it. */
void daemon_raise_priority(void);
void daemon_verdict_priority(void);
void daemon_ordinary_priority(void);
/* The calling thread, which is the verdict thread, asks for no more than its list from here on. */
void daemon_confine_verdicts(struct daemon *d);
/* The same for the calling thread and those it makes: once the verdict thread is made. */
void daemon_confine(struct daemon *d);
json_t *daemon_privilege_json(const struct daemon *d);

/* daemon_resume.c: trees of an earlier daemon are watched from the start, their secrets marked. */
void daemon_resume_trees(struct daemon *d);

/*
 * daemon_egress.c: where members may connect. prepare: before threads and groups. open: while
 * privileged, when there is a feed. apply: with admin_lock, or before threads; takes the egress
 * section of `from`, and is in force at once; -errno, err says what is wrong.
 */
struct rules_config;
int daemon_egress_prepare(struct daemon *d, bool jail); /* jail: it is to be tried */
void daemon_egress_open(struct daemon *d);
bool daemon_egress_runs(const struct daemon *d);
bool daemon_egress_advises(const struct daemon *d); /* who asks, or is told of: there is no jail */
/* Says where it stands, as the jail would; raw: nobody looks at such a socket's packets. Any thread. */
void daemon_egress_class(struct daemon *d, struct dest_object *dest, bool raw);
bool daemon_egress_is_closed(const struct daemon *d);     /* any thread */
bool daemon_egress_sees_families(const struct daemon *d); /* of sockets, all that leave this host */
void daemon_egress_rules(const struct daemon *d, const struct config *site, struct rules_config *c);
/* Will the jail have room for what both say? Touches nothing. -E2BIG: err says for what not. */
int daemon_egress_check(const struct daemon *d, const struct config *site, struct ruleset *rs,
			struct rules_error *err);
int daemon_egress_apply(struct daemon *d, struct config *from, struct ruleset *rules, char *err,
			size_t size);
void daemon_egress_mode(struct daemon *d);
void daemon_egress_prove(struct daemon *d, uint32_t tree); /* enforced for it in each mode */
int daemon_egress_start(struct daemon *d);
/* If jails are kept, pins ours; else, and until take_over, it ends with us. */
void daemon_egress_pin(struct daemon *d);
/* The maps of members that earlier daemons kept; how many. take_over: we are ready, their jails go. */
unsigned daemon_egress_kept_members(const struct daemon *d, const int **ret);
void daemon_egress_take_over(struct daemon *d);
bool daemon_egress_restart(const struct daemon *d); /* what is read at the start only has changed */
void daemon_egress_stop(struct daemon *d);
void daemon_egress_close(struct daemon *d);
void daemon_egress_dispatch(void *arg); /* verdict thread */
int daemon_egress_fd(const struct daemon *d);
unsigned daemon_egress_kept(const struct daemon *d, int *fds, unsigned max);
uint64_t daemon_egress_caps(const struct daemon *d);
json_t *daemon_egress_json(struct daemon *d, bool privileged);
void daemon_egress_warnings(struct daemon *d, json_t *list);
const char *daemon_cmd_egress(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply);

/* daemon_exec.c: programs that are held when a member starts them, as `site` wants it. */
void daemon_exec_rules(const struct daemon *d, const struct config *site, struct rules_config *c);
json_t *daemon_exec_json(struct daemon *d); /* when there are marks */

/*
 * daemon_lsm.c: opens that the kernel refuses by itself. open: while privileged, before threads, when
 * there is a feed. Rules are prepared (with admin_lock, or before threads), marked for, put into force
 * by the verdict thread when it is given them, and settled: served, or not.
 */
void daemon_lsm_open(struct daemon *d);
bool daemon_lsm_runs(const struct daemon *d);
unsigned daemon_lsm_mechanism(const struct daemon *d, enum event_kind kind); /* its bit, or 0 */
void daemon_lsm_prepare(struct daemon *d, struct ruleset *rules);
void daemon_lsm_serve(struct daemon *d);
void daemon_lsm_settle(struct daemon *d, bool served);
void daemon_lsm_mode(struct daemon *d);
void daemon_lsm_prove(struct daemon *d, uint32_t tree); /* enforced for it in each mode */
int daemon_lsm_label(void *arg, int fd, const struct object *o); /* mark thread; as in struct marks_config */
/* Programs are refused by what they are called, and by their files. */
bool daemon_lsm_finds_programs(const struct daemon *d);
bool daemon_lsm_names(struct daemon *d); /* some name is refused */
/* A program of a name that rules give, whenever it is looked at; mark thread. */
void daemon_lsm_program(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path, bool first);
int daemon_lsm_fd(const struct daemon *d);
void daemon_lsm_dispatch(void *arg); /* verdict thread */
unsigned daemon_lsm_kept(const struct daemon *d, int *fds, unsigned max);
uint64_t daemon_lsm_caps(const struct daemon *d);
void daemon_lsm_tick(struct daemon *d, uint64_t now_ns); /* main thread */
json_t *daemon_lsm_json(const struct daemon *d);
void daemon_lsm_stop(struct daemon *d); /* refuses nothing more; what it refused is told */
void daemon_lsm_close(struct daemon *d);

/* daemon_follow.c: labels without fanotify as a source, as daemon_lsm_open() has it; no_lsm: why there can
 * be none, NULL: there can. Said. */
void daemon_follow_open(struct daemon *d, const char *no_lsm);
void daemon_follow_for_audit(struct daemon *d); /* after that */
void daemon_follow_dispatch(void *arg); /* verdict thread */
void daemon_follow_warnings(const struct daemon *d, json_t *list);

/* daemon_guardian.c. find: before the run directory is locked; with --replace the daemon that runs is
 * gone afterwards, or -errno. start: while privileged. adopt: how many were born in between. */
int daemon_guardian_find(struct daemon *d);
int daemon_guardian_start(struct daemon *d);
void daemon_guardian_start_maker(struct daemon *d); /* at raised priority, without privilege */
unsigned daemon_guardian_adopt(struct daemon *d);
void daemon_guardian_take_over(struct daemon *d); /* ready: the one before us ends */
void daemon_guardian_tick(struct daemon *d);      /* main thread */
bool daemon_is_guarded(void *arg);
json_t *daemon_guardian_json(const struct daemon *d);
void daemon_guardian_stop(struct daemon *d); /* before the group is closed */
/* Ends what must be ended so that the guardian may take over from us: then _exit(). */
void daemon_leave(struct daemon *d);

/* daemon_rules.c */
int daemon_load_rules(struct daemon *d, struct ruleset **ret, struct rules_error *err);
/* The configuration refuses to start when nothing would hold a rule that blocks; said. */
/* Says which exceptions go by what anybody can choose, and which can have no effect. */
void daemon_warn_exceptions(const struct ruleset *rs);
/* Says which rules that block no mechanism could hold, with file and line. */
void daemon_warn_detected(const struct daemon *d);
bool daemon_unenforceable(const struct daemon *d);
/* Reads the rules again, and what oknek.yaml says about them; nothing changes on failure. notices:
 * an array of texts for whoever asked; they are logged as well. */
int daemon_reload(struct daemon *d, struct rules_error *err, json_t *notices);
/* Would it reload with another pack in the place of the active one? Changes nothing. *ret: as it would
 * serve. With admin_lock. */
enum daemon_pack_choice {
	DAEMON_PACK_ACTIVE, /* the shipped one where there is none */
	DAEMON_PACK_INCOMING,
	DAEMON_PACK_INTERRUPTED, /* what was active before an update that was killed */
	DAEMON_PACK_PREVIOUS,
	DAEMON_PACK_SHIPPED,
};
int daemon_try_rules(struct daemon *d, enum daemon_pack_choice which, struct ruleset **ret,
		     struct rules_error *err);
/* Warns of exceptions that have no effect any more; list as above, or NULL. */
void daemon_notice_expired(const struct ruleset *rs, int64_t now_s, json_t *list);
/* daemon_pack.c: puts into *c and dirs where rules come from: --rules DIR, else the active pack of the
 * state directory, else the shipped one; both verified by the built-in key. *ret owns the pack's
 * files, NULL without one. -errno: err says what is wrong. */
struct daemon_pack;
int daemon_choose_pack(struct daemon *d, enum daemon_pack_choice which, struct rules_config *c,
		       const char *dirs[], struct daemon_pack **ret, struct rules_error *err);
bool daemon_pack_active(const struct daemon *d); /* one was activated, good or bad */
/* Are packs of this daemon in the folder that dev and ino say? */
bool daemon_pack_dir_is(const struct daemon *d, int64_t dev, int64_t ino);
/* Before threads: rs serves instead of the active pack, and why; said, recorded and warned of. */
void daemon_pack_instead(struct daemon *d, const struct ruleset *rs, const char *why);
void daemon_pack_warnings(struct daemon *d, json_t *list); /* for status */
/* What a signature does not say: these rules may be in a pack. NULL: there is none. */
int daemon_pack_check(const struct daemon_pack *p, const struct ruleset *rs,
		      struct rules_error *err);
void daemon_pack_free(struct daemon_pack *p); /* NULL is fine */
json_t *daemon_pack_json(const struct daemon *d, const struct ruleset *rs); /* for status */
/* Does what is decided about this open depend on how it opens, which nobody knows? */
bool daemon_mode_matters(void *arg, const struct event *ev);
/* The bus's decide hook. */
void daemon_decide(void *arg, const struct event *ev, struct decision *ret, const char **category);
/* As it is when it is UTF-8, else with \\xNN for each byte that is not: jansson takes no others. */
json_t *daemon_json_text(const char *text);
bool daemon_reader_candidate(void *arg, const char *exe);

/* daemon_capture.c: which events are kept from now on; with admin_lock, or before threads. -errno,
 * said. start: the thread that writes them. */
int daemon_capture(struct daemon *d, const struct config_capture *want);
int daemon_capture_start(struct daemon *d);
void daemon_capture_stop(struct daemon *d); /* nobody waits for a verdict any more */
json_t *daemon_capture_json(struct daemon *d);

/* daemon_mode.c */
enum mode daemon_mode_now(void *arg);
bool daemon_is_proof(void *arg, const struct event *ev); /* of a tree that tries the rules */
/* -ETIMEDOUT: it is in force, but marks are still being set or taken away; that goes on. */
int daemon_set_mode(struct daemon *d, enum mode mode);
int daemon_pause(struct daemon *d, int64_t seconds); /* the same */
/* Ends a pause that is over, tries marks that were late again. Main thread. */
void daemon_mode_tick(struct daemon *d);
/* With admin_lock: marks are not as they should be, in time. */
void daemon_marks_are_late(struct daemon *d);

/* daemon_watch.c: who is watched. */
struct watch_request {
	pid_t pid;
	const char *agent, *how;
	const char *home, *cwd; /* as the asker knows them; NULL: ask /proc */
	/* Of the process that was checked: another that has its pid now is not watched. 0: any. */
	uint64_t start_time_ns;
	bool strict; /* in enforce mode: not without its marks */
	bool proof;  /* home has decoys, which are held in each mode */
};
struct watch_result {
	uint32_t tree;
	char session[40], agent[32];
	unsigned members;
	char home[1024];
	bool marks_late; /* not all marks stood when it was answered */
};
/* -ESRCH, -EEXIST (a member already), -EPERM (one of ours), -ENOSPC, -ECANCELED (strict, and the
 * marks do not stand), -EOPNOTSUPP (no source that watches), -errno. Not on the verdict thread. */
int daemon_watch(struct daemon *d, const struct watch_request *rq, struct watch_result *ret);
/* Verdict thread: a process that was recognised is watched from here on. 0 if it is new;
 * daemon_watch_complete() then finds out the rest, on another thread. As daemon_watch(). */
int daemon_watch_at_once(struct daemon *d, const struct process_exec *e, const char *agent);
void daemon_watch_complete(struct daemon *d, pid_t pid);
/* Adopts until nobody new is found. *found: how many were, also on failure. -ENOSPC: no room for
 * some; -EAGAIN: there was no end of new ones. Not on the verdict thread. */
int daemon_rescan(struct daemon *d, unsigned *found);
int daemon_unwatch(struct daemon *d, uint32_t tree, unsigned *members);
const char *daemon_home_of(void *arg, uid_t uid);
void daemon_home_known(void *arg, uid_t uid, const char *home);

/* Has this uid a home worth marking before it runs an agent? People and root, no services. */
bool daemon_is_person(uid_t uid);

/* daemon_identify.c */
int daemon_identify_start(struct daemon *d);
void daemon_on_exec(void *arg, const struct process_exec *e);
/* Any thread: execs may have been missed. Never waits. */
void daemon_identify_everybody(struct daemon *d);

/* daemon_scan.c */
int daemon_scan_start(struct daemon *d);
void daemon_feed_lost(void *arg); /* verdict thread; never waits */
/* Ends the scan and the identify thread. */
void daemon_threads_stop(struct daemon *d);
void daemon_wake(int eventfd);

/* daemon_lists.c: copies of what the verdict thread alone may look at, a few at a time, so that no
 * asker keeps it from verdicts. Not on the verdict thread. */
struct tree_brief {
	uint32_t id, members;
	pid_t root_pid;
	uid_t uid;
	int64_t since_unix_s;
	uint64_t blocked, warned;
	uint32_t parked, parked_refused;
	char agent[32], session[40], how[16];
};
/* Freed by the caller; NULL: none, or no memory. */
struct tree_brief *daemon_trees(struct daemon *d, size_t *n);
struct tree_place {
	uint32_t id;
	uid_t uid;
	char home[1024], cwd[1024]; /* home: $HOME where that differs from the password database's */
};
struct tree_place *daemon_tree_places(struct daemon *d, size_t *n);
struct ruleset *daemon_rules_ref(struct daemon *d); /* in force now; ruleset_unref() */
const char *daemon_cmd_agents(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply);
const char *daemon_cmd_rules(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply);
const char *daemon_cmd_allow(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply);
const char *daemon_cmd_block(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply);
const char *daemon_cmd_pending(void *arg, const struct control_peer *peer, const json_t *req,
			       struct control_reply *reply);
const char *daemon_cmd_held(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply);

/* daemon_commands.c, daemon_status.c, daemon_evidence.c: what the control socket offers. */
extern const struct control_command daemon_commands[];
json_t *daemon_status_json(struct daemon *d, bool privileged);
const char *daemon_cmd_events(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply);
const char *daemon_cmd_show(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply);
const char *daemon_cmd_why(void *arg, const struct control_peer *peer, const json_t *req,
			   struct control_reply *reply);
bool daemon_is_member(void *arg, pid_t pid);
void daemon_refused(void *arg, const struct control_peer *peer, const char *cmd, uint64_t more);
/* A child of the caller that waits is watched from here on, as rq says; the rest of rq is of req. */
const char *daemon_run_child(struct daemon *d, const struct control_peer *peer, const json_t *req,
			     struct watch_request *rq, struct control_reply *reply);
/* daemon_prove.c: a tree that tries the rules on decoys, and what it found out. */
const char *daemon_cmd_prove(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply);
const char *daemon_cmd_proved(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply);
/* What an operator did, with who that is. Steals detail, which may be NULL. */
void daemon_operator_act(struct daemon *d, const struct control_peer *peer, const char *cmd,
			 json_t *detail);
/* An answer that is an error: `code`, and in words. */
const char *daemon_say(struct control_reply *r, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Evidence of an operator's act (O2) or of a gap (O1). Steals detail. */
void daemon_own_record(struct daemon *d, const char *id, const char *name, json_t *detail);

#endif
