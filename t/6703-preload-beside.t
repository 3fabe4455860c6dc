#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The preload shim beside stronger sources: each action is one record, of the source that holds it.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd oknek_preload.so pre_calls
need_command jq

kept() { [ "$(oknek --json status | jq .evidence.pending)" = 0 ]; }
# What others see of the same comes on ways of its own: no more for a while, and nothing is pending.
newest() { oknek --json events --limit 1 | jq .seq; }
stable() {
	local at
	at=$(newest) && sleep 0.7 && kept && [ "$at" = "$(newest)" ]
}
records() {
	local last
	last=$(cat "$SCRATCH/last" 2>/dev/null)
	wait_for 60 stable
	oknek --json events --limit 1000 | jq -r --argjson l "${last:-0}" 'select(.seq > $l and .kind != null) |
		"\(.rule.id) \(.verdict) \(.mechanism)"' | sort | uniq -c | sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}

scene tmpfs || { fail "the scene"; done_testing; }
chmod 755 "$(bin oknek_preload.so)"
CARRIES=("${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" run --agent claude-code --preload --)
write_rule warned.yaml notes.txt warn X701
ok "a daemon with all there is" start_daemon --source=fanotify,ebpf,preload --rules "$OWN_RULES"
like "$(oknek --json rules | jq -r 'select(.id == "X700").mechanism')" '^(fanotify|lsm)$' "the kernel holds the rule"
records >/dev/null
denied "a secret" "${CARRIES[@]}" cat "$SECRET"
is "$(records)" "1 X700 block $(oknek --json rules | jq -r 'select(.id == "X700").mechanism')" \
	"is one record, of who holds it"
ok "what a rule warns of" "${CARRIES[@]}" cat "$TEST_HOME/notes.txt"
is "$(records)" "1 X701 warn detect" "is one record"
denied "without the shim" "${IN_TREE[@]}" cat "$SECRET"
is "$(records | awk '{ print $1 }')" 1 "the same"
words=$(tr '\0' '\n' < <("${IN_TREE[@]}" cat /proc/self/environ))
like "$words" "HOME=$TEST_HOME" "an environment"
unlike "$words" LD_PRELOAD "where others watch, it is not preloaded unasked"
# A program that has a function of that name of its own, and one that is checked for its memory.
cat >"$SCRATCH/own.c" <<'END'
#include <stdio.h>
int open(const char *path, int flags, ...);
int open(const char *path, int flags, ...) { return path && flags == 7 ? 42 : -1; }
int main(int argc, char **argv) { FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL; char b[9];
	return open("x", 7) == 42 && (!f || fread(b, 1, 8, f) != 1) ? f != NULL : 3; }
END
ok "the daemon stops" stop_daemon
ok "a daemon with the shim alone" start_daemon --source=preload --rules "$OWN_RULES"
for how in "gcc" "clang -fsanitize=address" "gcc -fsanitize=address -static-libasan"; do
	command -v "${how%% *}" >/dev/null || continue
	# shellcheck disable=SC2086 # they are words
	$how -O1 -o "$SCRATCH/bin/own" "$SCRATCH/own.c" 2>/dev/null || continue
	exits 0 "$how: its own open() is its own, the secret is denied" env ASAN_OPTIONS=detect_leaks=0 "${CARRIES[@]}" "$SCRATCH/bin/own" "$SECRET"
	exits 1 "$how: and the rest is read" env ASAN_OPTIONS=detect_leaks=0 "${CARRIES[@]}" "$SCRATCH/bin/own" "$TEST_HOME/notes.txt"
done
ok "it stops" stop_daemon
done_testing
