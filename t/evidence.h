/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of journal, records and store share: a rule, an event, a scratch folder. */
#ifndef OKNEK_T_EVIDENCE_H
#define OKNEK_T_EVIDENCE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/bus.h"
#include "core/cleanup.h"
#include "core/proctree.h"
#include "core/rule.h"
#include "store/journal.h"

static const struct rule evidence_rule = {
	.id = "R3",
	.part = "aws",
	.version = 2,
	.name = "credential read",
	.pack = "core 1",
	.kind = KIND_FILE_OPENED,
	.action = VERDICT_BLOCK,
	.mechanism = MECH_FANOTIFY,
	.retain_s = 90 * 86400,
	.n_capture = 5,
	.capture = {FIELD_PATH, FIELD_AGENT_IDENTIFIER, FIELD_BASELINE_DISTANCE,
		    FIELD_OPEN_MODE, FIELD_MATCHED_CATEGORY},
};

static const struct tree evidence_tree = {
	.id = 1,
	.agent = "claude-code",
	.session = "5f2c",
	.root_pid = 4700,
	.uid = 1000,
};

struct evidence {
	struct event ev;
	struct decision d;
	struct verdict_note note;
};

/* A member opens its AWS credentials and is refused. perm: any non-NULL pointer says that an
 * answer was due; nothing looks into it. */
static inline void evidence_make(struct evidence *e, const char *path)
{
	*e = (struct evidence){
		.ev =
			{
				.kind = KIND_FILE_OPENED,
				.source_name = "fanotify",
				.subj = {.tgid = 4711,
					 .ppid = 4700,
					 .uid = 1000,
					 .auid = 1000,
					 .comm = "cat",
					 .exe = "/usr/bin/cat",
					 .cgroup = "/user.slice",
					 .lineage = "claude > bash > cat",
					 .tree = &evidence_tree},
				.file = {.n_names = 1,
					 .names = {{.path = path}},
					 .mode = OPEN_MODE_READ},
				.perm = (struct permission *)e,
			},
		.d = {.verdict = VERDICT_BLOCK,
		      .n_fired = 1,
		      .fired = {{.rule = &evidence_rule, .verdict = VERDICT_BLOCK}}},
	};
	e->note = (struct verdict_note){
		.ev = &e->ev,
		.d = &e->d,
		.mode = MODE_ENFORCE,
		.mechanism = MECH_FANOTIFY,
		.by = BY_RULE,
		.category = "aws",
	};
}

static inline uint64_t evidence_decide(struct journal *j, const char *path)
{
	struct evidence e;

	evidence_make(&e, path);
	return journal_recorder(j)->decided(journal_recorder(j), &e.note);
}

static inline uint64_t evidence_record(struct journal *j, const char *path)
{
	uint64_t t = evidence_decide(j, path);

	if (t)
		journal_recorder(j)->answered(journal_recorder(j), t, OUTCOME_DENIED, 1);
	return t;
}

static inline int evidence_remove(const char *path, const struct stat *st, int flag,
				  struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

struct scratch {
	char dir[64];
};

static inline int scratch_setup(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));

	strcpy(s->dir, "/tmp/oknek-t.XXXXXX");
	if (!mkdtemp(s->dir))
		return -1;
	*state = s;
	return 0;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;

	nftw(s->dir, evidence_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	free(s);
	return 0;
}

/* DIR/name; eight at a time. Tests run one after the other. */
static inline const char *in(struct scratch *s, const char *name)
{
	static char buf[8][160];
	static unsigned n;
	char *p = buf[n++ % ARRAY_SIZE(buf)];

	snprintf(p, sizeof(buf[0]), "%s/%s", s->dir, name);
	return p;
}

#endif
