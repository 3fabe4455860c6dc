/* SPDX-License-Identifier: Apache-2.0 */
/* oknekd: watches the process trees of AI coding agents and answers for their secrets. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/log.h"
#include "tools/daemon.h"

#define TICK_MS 250
#define LAST_WORDS_MS 1000
#define MAP_FROM_BYTES (1 << 20)
#define TRIM_FROM_BYTES (2 << 20)

static const char usage_text[] =
	"usage: oknekd [--source=LIST] [--config FILE] [--state-dir DIR] [--run-dir DIR]\n"
	"              [--rules DIR] [--mode observe|enforce] [--foreground] [--replace] [--check]\n"
	"              [--version]\n"
	"              [--debug-fault POINT[:NTH][:kill|stop|spin|segv]]\n"
	"              [--debug-seccomp kill|off]\n";

enum { OPT_REPLACE = 255, OPT_SOURCE = 256, OPT_CONFIG, OPT_STATE, OPT_RUN, OPT_RULES, OPT_MODE, OPT_FOREGROUND,
       OPT_CHECK, OPT_VERSION, OPT_HELP, OPT_FAULT, OPT_SECCOMP };

static const struct option long_options[] = {
	{ "source", required_argument, NULL, OPT_SOURCE },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "state-dir", required_argument, NULL, OPT_STATE },
	{ "run-dir", required_argument, NULL, OPT_RUN },
	{ "rules", required_argument, NULL, OPT_RULES },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "replace", no_argument, NULL, OPT_REPLACE },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "debug-fault", required_argument, NULL, OPT_FAULT },
	{ "debug-seccomp", required_argument, NULL, OPT_SECCOMP },
	{ NULL, 0, NULL, 0 },
};

/* Fills opt; -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct daemon_options *opt)
{
	char err[256];
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_SOURCE:
			opt->sources = optarg;
			break;
		case OPT_CONFIG:
			opt->config = optarg;
			opt->config_given = true;
			break;
		case OPT_STATE:
			opt->state_dir = optarg;
			break;
		case OPT_RUN:
			opt->run_dir = optarg;
			break;
		case OPT_RULES:
			opt->rules_dir = optarg;
			break;
		case OPT_MODE:
			opt->mode = mode_parse(optarg);
			if (opt->mode < 0) {
				fprintf(stderr, "oknekd: --mode: observe or enforce is expected, not %s\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		case OPT_FOREGROUND:
			opt->foreground = true;
			break;
		case OPT_CHECK:
			opt->check = true;
			break;
		case OPT_REPLACE:
			opt->replace = true;
			break;
		case OPT_VERSION:
			printf("oknekd %s\n", OKNEK_VERSION);
			return EXIT_DONE;
		case OPT_HELP:
			fputs(usage_text, stdout);
			return EXIT_DONE;
		case OPT_FAULT:
			if (fault_arm(optarg, err) < 0) {
				fprintf(stderr, "oknekd: --debug-fault: %s\n", err);
				return EXIT_USAGE;
			}
			break;
		case OPT_SECCOMP:
			if (strcmp(optarg, "kill") != 0 && strcmp(optarg, "off") != 0) {
				fprintf(stderr, "oknekd: --debug-seccomp: kill or off is expected, not %s\n",
					optarg);
				return EXIT_USAGE;
			}
			opt->seccomp = optarg[0] == 'k' ? CONFINE_TRAP : CONFINE_OFF;
			break;
		default:
			return EXIT_USAGE; /* getopt has said why, in one line */
		}
	}
	if (optind < argc) {
		fprintf(stderr, "oknekd: unexpected argument: %s\n", argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

/*
 * In the background: the parent stays until the child is ready, and exits with its status if it
 * never is. Returns the descriptor to tell the parent by, -1 in the foreground.
 */
static int into_background(void)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds) < 0 || (pid = fork()) < 0) {
		log_error("cannot go into the background: %s", strerror(errno));
		exit(EXIT_UNAVAILABLE);
	}
	if (pid) {
		char ready;
		int status;

		close(fds[1]);
		if (read(fds[0], &ready, 1) == 1)
			_exit(EXIT_DONE);
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_UNAVAILABLE);
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

static int check(struct daemon *d)
{
	struct daemon_wanted w = { 0 };
	struct rules_error err = { "" };
	int r;

	if (d->opt.sources && daemon_choose_sources(d, &w) < 0)
		return EXIT_USAGE; /* said */
	r = daemon_load_rules(d, &d->rules, &err);
	if (r < 0) {
		fprintf(stderr, "%s\n", err.text[0] ? err.text : strerror(-r));
		return EXIT_CONFIG;
	}
	printf("%s: ok, mode %s; %s: %zu rules\n", d->opt.config,
	       mode_name(d->opt.mode >= 0 ? (enum mode)d->opt.mode : d->config->mode),
	       ruleset_origin(d->rules), ruleset_count(d->rules));
	daemon_notice_expired(d->rules, time(NULL), NULL);
	daemon_warn_exceptions(d->rules);
	daemon_warn_detected(d);
	ruleset_unref(d->rules);
	return EXIT_DONE;
}

static void reload(struct daemon *d)
{
	struct rules_error err = { "" };
	json_t *notices = json_array();
	int r;

	daemon_notify_reloading();
	pthread_mutex_lock(&d->admin_lock);
	r = daemon_reload(d, &err, notices);
	pthread_mutex_unlock(&d->admin_lock);
	if (r < 0)
		log_error("rules are unchanged: %s", err.text[0] ? err.text : strerror(-r));
	else
		log_notice("rules were read again");
	json_decref(notices);
	daemon_notify_ready(d);
}

static void wake_followers(struct daemon *d, uint64_t *last_seq)
{
	struct store_status st;

	store_status(d->store, &st);
	if (st.last_seq != *last_seq)
		control_wake(d->control);
	*last_seq = st.last_seq;
}

/* Signals and slow clocks, until we are told to end. */
static int serve(struct daemon *d, const sigset_t *signals)
{
	struct timespec tick = { 0, TICK_MS * (long)NSEC_PER_MSEC };
	uint64_t last_seq = 0;

	for (;;) {
		int sig = sigtimedwait(signals, NULL, &tick);

		if (sig == SIGUSR2 && !daemon_is_guarded(d)) {
			log_warning("there is no guardian to leave in charge: nothing is held until "
				    "the next daemon is ready");
			sig = SIGTERM;
		}
		if (sig == SIGTERM || sig == SIGINT || sig == SIGUSR2)
			return sig;
		if (sig == SIGHUP)
			reload(d);
		daemon_mode_tick(d);
		daemon_guardian_tick(d);
		if (sig == SIGUSR1)
			daemon_suspend(d);
		daemon_suspend_tick(d);
		daemon_watchdog_tick(d, clock_boottime_ns());
		daemon_ebpf_tick(d, clock_boottime_ns());
		daemon_audit_tick(d, clock_boottime_ns());
		daemon_nothing_tick(d, clock_boottime_ns());
		daemon_lsm_tick(d, clock_boottime_ns());
		daemon_peek_tick(d);
		log_tell_dropped();
		wake_followers(d, &last_seq);
		if (atomic_load(&d->replay_done) && !daemon_watches(d))
			return 0;
	}
}

static int run(struct daemon *d)
{
	sigset_t signals;
	int ready_fd = -1, status, sig;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (daemon_signal_stack(&d->signal_stack) < 0)
		return EXIT_UNAVAILABLE;
	daemon_catch_crashes();
	if (!d->opt.foreground)
		ready_fd = into_background();
	if (log_start(daemon_settle_log) < 0)
		log_warning("messages are written by the daemon itself, which may wait for their reader");
	status = daemon_start(d);
	if (!status) {
		daemon_nothing_first(d);
		daemon_notify_ready(d);
		daemon_watchdog_init(d);
		log_notice("ready, mode %s", mode_name(daemon_mode_now(d)));
		if (ready_fd >= 0 && write(ready_fd, "1", 1) < 0)
			log_warning("nobody waited for us to be ready");
		cleanup_close(&ready_fd);
		sig = serve(d, &signals);
		if (sig == SIGUSR2) {
			log_notice("leaving: the guardian answers until another daemon does");
			daemon_stop_in_time();
			daemon_leave(d);
			log_stop(LAST_WORDS_MS);
			_exit(EXIT_LEFT);
		}
		daemon_notify("STOPPING=1\nSTATUS=stopping");
	}
	daemon_stop_in_time();
	daemon_stop(d);
	log_stop(LAST_WORDS_MS);
	daemon_signal_stack_free(d->signal_stack);
	return status;
}

/* Else the database would be opened as what messages are written to. */
static void open_standard_descriptors(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			_exit(EXIT_UNAVAILABLE);
}

/*
 * Else each of the threads that take turns with reloads keeps what a rule set needed, and locked
 * memory is not given back. What may not wait for a lock does not allocate either. The thresholds,
 * once said, no longer follow the largest piece: what libbpf needs to read the kernel's types, 10 MB
 * for a moment, would be ours for good. What the next reload will need stays.
 */
static void share_one_heap(void)
{
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, MAP_FROM_BYTES);
	mallopt(M_TRIM_THRESHOLD, TRIM_FROM_BYTES);
#endif
}

/* By the name that it has for everybody: operators are told it, who are elsewhere. No link is followed:
 * what one leads to may be another by the next reload, and rules.d is beside the name. */
static char *whole_name(const char *path)
{
	_cleanup_free_ char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *ret;

	return here && asprintf(&ret, "%s/%s", here, path) >= 0 ? ret : NULL;
}

int main(int argc, char **argv)
{
	struct daemon *d;
	char err[512], *config = NULL;
	int status;

	share_one_heap();
	d = calloc(1, sizeof(*d));
	open_standard_descriptors();
	if (!d)
		return EXIT_UNAVAILABLE;
	d->opt = (struct daemon_options){ .config = OKNEK_CONFIG, .state_dir = OKNEK_STATE_DIR,
					  .run_dir = OKNEK_RUN_DIR, .mode = -1 };
	argv[0] = (char *)"oknekd"; /* what getopt says begins with it */
	pthread_mutex_init(&d->process_lock, NULL);
	pthread_mutex_init(&d->admin_lock, NULL);
	pthread_mutex_init(&d->capture_lock, NULL);
	d->notice_fd[0] = d->notice_fd[1] = d->identify_fd = d->scan_fd = -1;
	status = parse_options(argc, argv, &d->opt);
	if (status < 0) {
		config = d->opt.check ? NULL : whole_name(d->opt.config);
		if (config)
			d->opt.config = config;
		if (config_load(d->opt.config, d->opt.config_given, &d->config, err) < 0) {
			fprintf(stderr, "%s\n", err);
			status = EXIT_CONFIG;
		} else {
			status = d->opt.check ? check(d) : run(d);
		}
	}
	rules_cache_free(d->rules_cache);
	config_free(d->config);
	free(d);
	free(config);
	return status;
}
