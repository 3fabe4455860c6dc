#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Built without BPF, the process feed compiles without a warning and falls back to the next best.
. "$(dirname "$0")/lib.sh"
need_command gcc pkg-config

cat >"$SCRATCH/feed.c" <<'END'
#include <stdio.h>
#include "sources/process.h"

int main(int argc, char **argv)
{
	struct process_feed *f = NULL;
	struct proctree *t;
	char why[256] = "";
	int r;

	if (proctree_open(NULL, &t) < 0)
		return 1;
	r = process_feed_open(argc > 1 ? argv[1] : NULL, t, NULL, &f, why);
	printf("%s|%s\n", r == 0 ? process_feed_name(f) : "none", why);
	process_feed_close(f);
	proctree_close(t);
	return 0;
}
END
# shellcheck disable=SC2046 # the flags are words
ok "it compiles" gcc -std=gnu17 -D_GNU_SOURCE -DOKNEK_NO_BPF -Wall -Wextra -Werror -I. \
	-o "$SCRATCH/feed" "$SCRATCH/feed.c" core/proctree.c core/proctree_file.c core/procstat.c core/io.c \
	sources/process.c sources/process_bpf.c sources/process_connector.c \
	sources/process_scan.c $(pkg-config --cflags --libs libmnl)
like "$("$SCRATCH/feed")" '^(connector|scan)\|bpf: built without it; .*using ' \
	"another feed is used, and why is said"
is "$("$SCRATCH/feed" bpf)" "none|bpf: built without it" "BPF asked for is an error"
is "$("$SCRATCH/feed" scan)" "scan|" "a scan works everywhere"
done_testing
