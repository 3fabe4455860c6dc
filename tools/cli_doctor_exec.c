/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are held when they are started: by whom their arguments are read, and which rules hold. */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli_doctor.h"

#define PEEK_COMM "oknek-peek"
#define SCOPE_NOBODY 3 /* Documentation/admin-guide/LSM/Yama.rst: no attach, and no reading */

#define HELD_MEANS "judged by the arguments that are read from whoever starts a program"

/* -1: there is no Yama. */
static int64_t ptrace_scope(void)
{
	int64_t v;

	return doctor_number("/proc/sys/kernel/yama/ptrace_scope", &v) < 0 ? -1 : v;
}

bool doctor_can_peek(void)
{
	return ptrace_scope() < SCOPE_NOBODY;
}

static const struct doctor_process *by_pid(const struct doctor *d, pid_t pid)
{
	for (size_t i = 0; i < d->n_processes; i++)
		if (d->processes[i].pid == pid)
			return &d->processes[i];
	return NULL;
}

/* Its parent, of the same name, starts it again when it has died. NULL: none runs. */
static const struct doctor_process *find_reader(const struct doctor *d)
{
	for (size_t i = 0; i < d->n_processes; i++) {
		const struct doctor_process *p = &d->processes[i], *parent;

		if (!p->ours || strcmp(p->comm, PEEK_COMM) != 0)
			continue;
		parent = by_pid(d, p->ppid);
		if (parent && parent->ours && !strcmp(parent->comm, PEEK_COMM))
			return p;
	}
	return NULL;
}

/* "" when they cannot be read. */
static char *capabilities_of(pid_t pid)
{
	char path[64], status[8192], hex[32];
	char *caps = NULL;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (doctor_read(path, status, sizeof(status)) > 0 &&
	    doctor_parse_field(status, "CapPrm", hex, sizeof(hex)) == 0)
		caps = doctor_parse_capabilities(hex);
	return caps ? caps : strdup("");
}

static void check_reader(struct doctor *d, const char *scope)
{
	static const char unread[] = "answered unread: who is held gets what on_timeout says, and how a held "
				     "file is opened is not known";
	const struct doctor_process *p = find_reader(d);
	_cleanup_free_ char *caps = NULL;
	bool may;

	if (!p) {
		doctor_add(d, "peek", DOCTOR_PROBLEM, ABOUT_EXEC, unread, "start oknekd again",
			   PEEK_COMM " does not run; %s", scope);
		return;
	}
	caps = capabilities_of(p->pid);
	may = caps && doctor_has_word(caps, "sys_ptrace") && doctor_has_word(caps, "dac_read_search");
	doctor_add(d, "peek", may ? DOCTOR_OK : DOCTOR_PROBLEM, ABOUT_EXEC,
		   may ? HELD_MEANS ", and so is how a held file is opened" : unread,
		   may ? NULL : "start oknekd again", PEEK_COMM ", pid %d, %s; %s", (int)p->pid,
		   caps && *caps ? caps : "without capabilities", scope);
}

/* Does the helper run, and may it read? */
static void check_peek(struct doctor *d)
{
	const json_t *peek = json_object_get(json_object_get(d->status, "enforcement"), "peek");
	int64_t v = ptrace_scope();
	char scope[64];

	if (v < 0)
		snprintf(scope, sizeof(scope), "no Yama here");
	else
		snprintf(scope, sizeof(scope), "kernel.yama.ptrace_scope = %lld", (long long)v);
	if (peek && !json_is_true(json_object_get(peek, "reads"))) {
		doctor_add(d, "peek", DOCTOR_PROBLEM, ABOUT_EXEC,
			   "only detected, or answered unread, and how a held file is opened is not known",
			   v >= SCOPE_NOBODY ? "a host that boots with kernel.yama.ptrace_scope below 3" :
					       "start oknekd again", "%s; %s", cli_str(peek, "why"), scope);
	} else if (peek && d->daemon_pid) {
		check_reader(d, scope);
	} else if (!peek || v >= SCOPE_NOBODY) {
		doctor_add(d, "peek", v >= SCOPE_NOBODY ? DOCTOR_PROBLEM : DOCTOR_OK, ABOUT_EXEC,
			   v >= SCOPE_NOBODY ? "only detected: nobody may read the arguments of another" :
					       HELD_MEANS,
			   v >= SCOPE_NOBODY ? "a host that boots with kernel.yama.ptrace_scope below 3" :
					       NULL, "%s", scope);
	}
}

static void check_holding(struct doctor *d)
{
	const json_t *exec = json_object_get(json_object_get(d->status, "enforcement"), "exec");
	unsigned block = 0, held = 0;
	int64_t programs = cli_int(exec, "programs");
	const char *why = "";
	bool idle;

	for (size_t i = 0; i < d->n_rules; i++) {
		const struct doctor_rule *r = &d->rules[i];

		if (r->kind != KIND_EXEC_OBSERVED || r->action != VERDICT_BLOCK)
			continue;
		block++;
		if (r->mechanism != MECH_DETECT)
			held++;
		else if (!*why)
			why = r->why;
	}
	/* Marks stand while rules are enforced and somebody is watched. */
	idle = strcmp(cli_str(d->status, "mode"), "enforce") != 0 || cli_int(d->status, "members") == 0;
	if (!block) {
		doctor_add(d, "exec", DOCTOR_OK, ABOUT_EXEC, "not about programs that are to be refused",
			   NULL, "no rule blocks programs");
		return;
	}
	if (!exec || held == 0 || idle) {
		doctor_add(d, "exec", held < block ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_EXEC,
			   held < block ? "recorded after the program began, where it cannot be held" :
					  "asked before a program of a member's runs",
			   NULL, "%u of %u rules that block programs %s%s%s", held, block,
			   exec ? "are held when a member starts one" : "can be held here",
			   *why ? "; else: " : "", why);
		return;
	}
	doctor_add(d, "exec", programs == 0 || held < block ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_EXEC,
		   programs == 0 ? "recorded after the program began: no program is marked yet" :
				   "asked before a program of a member's runs",
		   programs == 0 ? "oknek status names what could not be marked" : NULL,
		   "%u of %u rules that block programs are held, %lld %s marked%s%s", held, block,
		   (long long)programs, cli_plural(programs, "program is", "programs are"),
		   *why ? "; else: " : "", why);
}

void doctor_check_exec(struct doctor *d)
{
	check_peek(d);
	check_holding(d);
}
