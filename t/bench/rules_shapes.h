/* SPDX-License-Identifier: Apache-2.0 */
/* Rules by the thousand, and what to ask them: as shipped ones are, and the worst for an index. */
#ifndef OKNEK_T_BENCH_RULES_SHAPES_H
#define OKNEK_T_BENCH_RULES_SHAPES_H

#include <stdbool.h>
#include <stdio.h>

struct shape {
	const char *name;
	const char *match; /* with %1$u for the number of the rule; NULL: write_mixed() */
	const char *hit;   /* a path with the number of a rule; NULL: nothing fires */
	const char *miss;
	bool by_process;   /* the number is in the name of the process instead */
	bool linear;       /* nothing to index: for comparing, no budget */
};

static const struct shape shapes[] = {
	{ .name = "mixed", .hit = "/home/u/.tool%1$u/credentials",
	  .miss = "/home/u/work/project/src/module%1$u/main.c" },
	{ .name = "one basename", .match = "path: { glob: \"~/projects/p%1$u/config.json\" }",
	  .hit = "/home/u/projects/p%1$u/config.json",
	  .miss = "/home/u/projects/q%1$u/config.json" },
	{ .name = "**/*x*", .match = "path: { glob: \"**/*x%1$uy*\" }",
	  .hit = "/home/u/work/project/ax%1$uyb",
	  .miss = "/home/u/work/project/src/module%1$u/main.c" },
	{ .name = "regular", .match = "path: { match: '/tool%1$u/[a-z]+\\.(key|pem)$' }",
	  .hit = "/srv/tool%1$u/some.key", .miss = "/srv/some%1$u/tool/some.key" },
	{ .name = "process", .match = "process_name: { eq: tool%1$u }", .by_process = true,
	  .hit = "/usr/bin/tool%1$u", .miss = "/usr/bin/some%1$u" },
	{ .name = "process glob", .match = "process_name: { glob: \"tool%1$u?\" }", .by_process = true,
	  .hit = "/usr/bin/tool%1$ux", .miss = "/usr/bin/some%1$u" },
	{ .name = "no index", .match = "all_of: [ process_name: { ne: tool%1$u }, pid: { eq: 1 } ]",
	  .miss = "/srv/tool%1$u", .linear = true },
};

static inline void write_mixed(FILE *f, unsigned i)
{
	fprintf(f,
		"---\nid: R3\npart: tool%u\nname: credential read\nversion: 1\nauthors:\n"
		"  - somebody\nattack_techniques:\n  - mitre_atlas: AML.T0055\n"
		"kind: file_opened\nmatch:\n  any_of:\n    - path:\n        glob:\n"
		"          - \"~/.tool%u/credentials*\"\n          - \"~/.config/tool%u/**\"\n"
		"          - \"/etc/tool%u/*.key\"\n",
		i, i, i, i);
	if (i % 10 == 3)
		fprintf(f, "          - \"**/*.tool%u\"\n", i);
	if (i % 5 == 1)
		fprintf(f,
			"  none_of:\n    - path:\n        glob: [ \"~/.tool%u/**/*.pub\" ]\n",
			i);
	fprintf(f,
		"action:\n  default: %s\n  configurable: true\n  options: [ block, warn, allow ]\n"
		"evidence:\n  capture:\n    - path\n    - matched_category\n"
		"    - agent_identifier\n    - process_name\n    - exe\n    - parent_pid\n"
		"    - uid\n    - wall_clock\n  retain_for: 90d\n",
		i % 4 ? "block" : "warn");
}

static inline void write_rule(FILE *f, const struct shape *s, unsigned i)
{
	if (!s->match) {
		write_mixed(f, i);
		return;
	}
	fprintf(f, "---\nid: X%u\nname: n\nversion: 1\nkind: file_opened\n"
		"action: { default: block }\nmatch:\n  any_of:\n    - ", i + 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	fprintf(f, s->match, i);
#pragma GCC diagnostic pop
	fputc('\n', f);
}

#endif
