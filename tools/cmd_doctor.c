/* SPDX-License-Identifier: Apache-2.0 */
/* Findings, and how they are said. What is looked at is in tools/cli_doctor_*.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_doctor.h"
#include "tools/cli_prove.h"

#define INDENT 9
#define WIDTH 96

static void *have(void *p)
{
	if (!p) {
		cli_error("out of memory");
		exit(CLI_FAILED);
	}
	return p;
}

static char *text(const char *fmt, va_list ap)
{
	char *s;

	return vasprintf(&s, fmt, ap) < 0 ? have(NULL) : s;
}

void doctor_add(struct doctor *d, const char *check, enum doctor_state state, unsigned about,
		const char *means, const char *remedy, const char *fmt, ...)
{
	struct doctor_finding f = { .check = check, .state = state, .about = about,
				    .means = means, .remedy = remedy };
	va_list ap;

	va_start(ap, fmt);
	f.seen = text(fmt, ap);
	va_end(ap);
	d->findings = have(reallocarray(d->findings, d->n_findings + 1, sizeof(f)));
	d->findings[d->n_findings++] = f;
}

ssize_t doctor_read(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		n = read(fd, buf + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

int doctor_number(const char *path, int64_t *ret)
{
	char buf[64], *end;
	ssize_t n = doctor_read(path, buf, sizeof(buf));
	int64_t v;

	if (n < 0)
		return (int)n;
	errno = 0;
	v = strtoll(buf, &end, 10);
	if (errno || end == buf || (*end && *end != '\n'))
		return -EPROTO;
	*ret = v;
	return 0;
}

/* ---- rules ---------------------------------------------------------------------------------- */

bool doctor_rule_is(const struct doctor_rule *r, unsigned about)
{
	if (about & ABOUT_ALL)
		return true;
	if (r->kind == KIND_FILE_OPENED)
		return (about & ABOUT_BLOCK && r->action == VERDICT_BLOCK) ||
		       (about & ABOUT_WARN && r->action == VERDICT_WARN) ||
		       (about & ABOUT_HOME && r->home && r->action != VERDICT_ALLOW);
	return (about & ABOUT_EXEC && r->kind == KIND_EXEC_OBSERVED) ||
	       (about & ABOUT_CONNECT && r->kind == KIND_SOCKET_CONNECT);
}

/* Rules of one id stand together. Names them by id where all or several parts are meant. */
char *doctor_rule_names(const struct doctor *d, unsigned about)
{
	char *names = NULL;
	size_t size, i = 0;
	FILE *f = have(open_memstream(&names, &size));

	while (i < d->n_rules) {
		const struct doctor_rule *r = &d->rules[i], *first = NULL;
		unsigned all = 0, meant = 0;

		for (; i < d->n_rules && !strcmp(d->rules[i].id, r->id); i++, all++)
			if (doctor_rule_is(&d->rules[i], about)) {
				first = first ? first : &d->rules[i];
				meant++;
			}
		if (!meant)
			continue;
		fprintf(f, "%s%s", ftell(f) > 0 ? ", " : "", r->id);
		if (all > 1 && meant == all)
			fprintf(f, " (all %u parts)", all);
		else if (meant > 1)
			fprintf(f, " (%u of %u parts)", meant, all);
		else if (*first->part)
			fprintf(f, "/%s", first->part);
	}
	fclose(f);
	return have(names);
}

/* ---- output --------------------------------------------------------------------------------- */

static const char *state_name(enum doctor_state s)
{
	return s == DOCTOR_PROBLEM ? "problem" : s == DOCTOR_NOTE ? "note" : "ok";
}

/* Text of others' making need not be UTF-8. */
static json_t *string(const char *s)
{
	_cleanup_free_ char *e = NULL;
	json_t *j;

	if (!s)
		return json_null();
	j = json_string(s);
	if (j)
		return j;
	e = cli_escape(s, strlen(s));
	return json_string(e);
}

static json_t *rule_ids(const struct doctor *d, unsigned about)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n_rules; i++)
		if (doctor_rule_is(&d->rules[i], about))
			json_array_append_new(list, json_sprintf("%s%s%s", d->rules[i].id,
								 *d->rules[i].part ? "/" : "",
								 d->rules[i].part));
	return list;
}

static json_t *everything(const struct doctor *d)
{
	json_t *findings = json_array(), *rules = json_array();

	for (size_t i = 0; i < d->n_findings; i++) {
		const struct doctor_finding *f = &d->findings[i];

		json_array_append_new(
			findings, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "check", f->check, "state",
					    state_name(f->state), "seen", string(f->seen), "means",
					    string(f->means), "remedy", string(f->remedy), "rules",
					    rule_ids(d, f->about)));
	}
	for (size_t i = 0; i < d->n_rules; i++) {
		const struct doctor_rule *r = &d->rules[i];

		json_array_append_new(rules,
				      json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "id", r->id,
						"part", r->part, "kind", event_kind_name(r->kind),
						"action", verdict_name(r->action), "mechanism",
						mechanism_name(r->mechanism), "bound",
						r->mechanism != MECH_DETECT, "why", string(r->why)));
	}
	return json_pack("{s:o, s:o, s:O}", "findings", findings, "rules", rules, "held", d->held);
}

/* Words from column INDENT to WIDTH; `at` is where the cursor stands. */
static void print_wrapped(const char *s, int at)
{
	_cleanup_free_ char *e = cli_escape(s, strlen(s));

	for (char *save = NULL, *w = strtok_r(e, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		int len = (int)strlen(w);

		if (at > INDENT && at + 1 + len > WIDTH) {
			printf("\n%*s", INDENT, "");
			at = INDENT;
		} else if (at > INDENT) {
			putchar(' ');
			at++;
		}
		fputs(w, stdout);
		at += len;
	}
	putchar('\n');
}

static void print_means(const struct doctor *d, const struct doctor_finding *f)
{
	_cleanup_free_ char *names = doctor_rule_names(d, f->about), *s = NULL;

	if (asprintf(&s, "%s%s%s", names, *names ? ": " : "", f->means) < 0)
		s = have(NULL);
	printf("%*s", INDENT, "");
	print_wrapped(s, INDENT);
	if (!f->remedy)
		return;
	printf("%*s", INDENT, "");
	cli_printf(d->cli, CLI_BOLD, "do:");
	print_wrapped(f->remedy, INDENT + 3);
}

/* What is wrong first. What is right takes a line. */
static void print_findings(const struct doctor *d, bool all)
{
	static const enum cli_colour colours[] = { CLI_GREEN, CLI_YELLOW, CLI_RED };

	for (int s = DOCTOR_PROBLEM; s >= DOCTOR_OK; s--)
		for (size_t i = 0; i < d->n_findings; i++) {
			const struct doctor_finding *f = &d->findings[i];

			if ((int)f->state != s)
				continue;
			cli_printf(d->cli, colours[s], "%-8s", state_name(f->state));
			cli_printf(d->cli, CLI_BOLD, " %-14s ", f->check);
			cli_text(f->seen);
			putchar('\n');
			if (f->state != DOCTOR_OK || all)
				print_means(d, f);
		}
}

static void print_rules(const struct doctor *d)
{
	unsigned by[MECH_COUNT] = { 0 }, warn = 0;

	for (size_t i = 0; i < d->n_rules; i++) {
		if (d->rules[i].action == VERDICT_BLOCK)
			by[d->rules[i].mechanism]++;
		else
			warn++;
	}
	printf("%-8s ", "rules");
	if (!d->rules_from) {
		puts("none could be read");
		return;
	}
	printf("%zu", d->n_rules);
	for (int m = MECH_COUNT - 1; m >= 0; m--)
		if (by[m])
			printf(m == MECH_DETECT ? ", %u that block but are only detected" :
						  ", %u held by %s",
			       by[m], mechanism_name((enum mechanism)m));
	if (warn)
		printf(", %u that only warn", warn);
	putchar('\n');
}

static void print_held(const struct doctor *d)
{
	json_t *p;
	size_t i;

	json_array_foreach(json_object_get(d->held, "processes"), i, p) {
		printf("%-8s ", i ? "" : "held");
		cli_text(cli_str(p, "name"));
		printf(" %lld: uid %lld, %lld %s, ", (long long)cli_int(p, "pid"),
		       (long long)cli_int(p, "uid"), (long long)cli_int(p, "threads"),
		       cli_plural(cli_int(p, "threads"), "thread", "threads"));
		cli_text(*cli_str(p, "capabilities") ? cli_str(p, "capabilities") :
						       "no capability");
		printf(", %s, %s", json_is_true(json_object_get(p, "seccomp")) ? "seccomp" : "no seccomp",
		       json_is_true(json_object_get(p, "no_new_privs")) ? "no_new_privs" :
									  "new privileges");
		if (*cli_str(p, "sockets")) {
			fputs(", sockets ", stdout);
			cli_text(cli_str(p, "sockets"));
		}
		putchar('\n');
	}
}

/* ---- the command ---------------------------------------------------------------------------- */

static void doctor_free(struct doctor *d)
{
	for (size_t i = 0; i < d->n_findings; i++)
		free(d->findings[i].seen);
	for (size_t i = 0; i < d->n_rules; i++) {
		free(d->rules[i].id);
		free(d->rules[i].part);
		free(d->rules[i].why);
	}
	free(d->findings);
	free(d->rules);
	free(d->processes);
	json_decref(d->status);
	json_decref(d->held);
}

static void examine(struct doctor *d)
{
	doctor_check_daemon(d);
	doctor_check_kernel(d);
	doctor_check_config(d);
	doctor_check_rules(d);
	doctor_check_exec(d);
	doctor_check_sysctl(d);
	doctor_check_limits(d);
	doctor_check_others(d);
	doctor_check_places(d);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct doctor d = { .cli = cli, .config = OKNEK_CONFIG, .state_dir = OKNEK_STATE_DIR,
			    .root = geteuid() == 0 };
	const char *config = NULL;
	bool all = false, problem = false, prove = false;
	struct prove_options proof = { .brief = false };
	const struct cli_option opts[] = { { "config", &config, NULL },
					   { "state-dir", &d.state_dir, NULL },
					   { "rules", &d.rules_dir, NULL },
					   { "all", NULL, &all },
					   { "prove", NULL, &prove },
					   { "brief", NULL, &proof.brief },
					   { "user", &proof.user, NULL },
					   { "in", &proof.dir, NULL },
					   { NULL, NULL, NULL } };
	int r = cli_options(cli, argc, argv, opts, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	if (prove && (all || config || d.rules_dir))
		return cli_usage(cli, "--all, --config and --rules are not for --prove");
	if (prove)
		return prove_command(cli, &proof);
	if (proof.brief || proof.user || proof.dir)
		return cli_usage(cli, "--brief, --user and --in are for --prove");
	d.config_given = config != NULL;
	d.config = config ? config : OKNEK_CONFIG;
	d.held = have(json_object());
	examine(&d);
	if (cli->json) {
		_cleanup_json_ json_t *j = everything(&d);

		cli_json_line(cli, j, NULL);
	} else {
		print_held(&d);
		print_rules(&d);
		print_findings(&d, all);
	}
	for (size_t i = 0; i < d.n_findings; i++)
		problem |= d.findings[i].state == DOCTOR_PROBLEM;
	doctor_free(&d);
	r = cli_flush();
	return r == CLI_DONE && problem ? CLI_FOUND : r;
}

const struct cli_command cmd_doctor = {
	.name = "doctor",
	.args = "[--all] [--config FILE] [--state-dir DIR] [--rules DIR] | --prove [--brief] "
		"[--user NAME] [--in DIR]",
	.summary = "what is held here, what this host lacks, and what that means for each rule",
	.help = "  --all          also explains what is as it should be\n"
		"  --config FILE  --state-dir DIR  --rules DIR\n"
		"                 what the daemon is started with, where that is not the default\n"
		"  --prove        tries every rule by every route, on decoys, and tells what was denied,\n"
		"                 detected and open; for operators\n"
		"  --brief        a line per rule instead\n"
		"  --user NAME    as this user (root only; default: who calls)\n"
		"  --in DIR       where a directory of decoys is made and removed (default: its home)\n"
		"\nWithout a daemon it looks at the host alone. Exits with 1 if there is a problem.\n"
		"What only root can look at is left out, and said, for others.\n",
	.run = run,
};
