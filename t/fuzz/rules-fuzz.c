/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a rule file; what loads is asked about a few events. */
#include "core/proctree.h"
#include "rules/rules.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rules_config config = {
		.mechanisms = { [KIND_FILE_OPENED] = 1u << MECH_FANOTIFY },
	};
	static const struct tree tree = { .id = 1, .agent = "claude-code", .root_pid = 1 };
	static const char *const paths[] = { "/home/u/.aws/credentials", "/", "",
					     "//a/./b.pem/..", "relative", "/\xff\n{*" };
	const struct wall_clock clock = { .hour = 3, .dow = 0 };
	struct rules_error err;
	struct ruleset *rs;

	if (ruleset_load_buffer("f", data, size, &config, &rs, &err))
		return 0;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
			struct event ev = {
				.kind = (enum event_kind)kind,
				.subj = { .tgid = 1 + (int)(i % 2), .comm = "", .exe = "/bin/cat",
					  .cgroup = "", .lineage = "", .tree = i % 3 ? &tree : NULL,
					  .homes = { 2, { "/home/u", "/" } } },
			};
			struct decision d;
			const char *category;

			if (kind == KIND_FILE_OPENED || kind == KIND_FILE_CHANGED ||
			    kind == KIND_FILE_SCANNED) {
				ev.file.names[0].path = paths[i];
				ev.file.names[1].path = paths[(i + 1) % 6];
				ev.file.names[1].home = "/home/u";
				ev.file.n_names = (unsigned)(i % 3);
			} else if (kind == KIND_SOCKET_CONNECT) {
				memset(ev.dest.addr, (int)i, sizeof(ev.dest.addr));
			}
			rules_decide(rs, &ev, &clock, &d, &category);
			pathset_reach(ruleset_pathset(rs), "/home/u/.aws", "/home/u", NULL);
		}
	ruleset_unref(rs);
	return 0;
}
