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

# ---- beside one that sees, and holds nothing -------------------------------------------------------

rm -f "$SCRATCH/last"
ok "a daemon with eBPF that only detects opens" start_daemon --source=ebpf,preload --rules "$OWN_RULES"
mechanism=$(oknek --json rules | jq -r 'select(.id == "X700").mechanism')
if [ "$mechanism" = preload ]; then
	records >/dev/null
	denied "a rule that the shim alone holds is held without being asked for" "${IN_TREE[@]}" cat "$SECRET"
	is "$(records)" "1 X700 block preload" "by it"
	exits 0 "the rest is read" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
	like "$(cat "$SCRATCH/out")" 'advisory: static programs' "and it is said that it can be bypassed"
	sleep 300 &
	like "$(oknek watch $! 2>&1)" 'advisory: static programs.*
.*runs already is asked only if it was started with the shim' "of one that runs already, too"
	kill $!
	sed 's/default: block/default: warn/' "$OWN_RULES/aws.yaml" >"$SCRATCH/warns" && cat "$SCRATCH/warns" >"$OWN_RULES/aws.yaml"
	ok "without such a rule" oknek update --reload-local
	unlike "$(tr '\0' '\n' < <("${IN_TREE[@]}" cat /proc/self/environ 2>"$SCRATCH/err"))" LD_PRELOAD "it is not carried"
	unlike "$(cat "$SCRATCH/err")" advisory "nor spoken of"
	write_rule aws.yaml .aws/credentials
else
	like "$mechanism" '^lsm$' "labels hold it"
fi
ok "it stops" stop_daemon

# ---- a daemon that does not ask programs -----------------------------------------------------------

MUST=("${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" run --agent claude-code --preload --preload-default deny --)
STRANGER=("${OUTSIDE[@]}" env OKNEK_RUN_DIR="$RUN" LD_PRELOAD="$(bin oknek_preload.so)" OKNEK_PRELOAD_DEFAULT=deny)
rm -f "$SCRATCH/last"
ok "a daemon without this source" start_daemon --source=fanotify,ebpf --rules "$OWN_RULES"
records >/dev/null
exits 0 "a member opens what it may" "${MUST[@]}" cat "$TEST_HOME/notes.txt"
like "$(cat "$SCRATCH/out")" 'does not run the source preload' "and it is said that it is not asked"
like "$(cat "$SCRATCH/out")" 'advisory: static programs' "nor would be, if it did not want to"
# shellcheck disable=SC2016 # for that shell
exits 0 "and runs others" "${MUST[@]}" bash -c 'cat "$1"; exit $?' - "$TEST_HOME/.aws/other"
records >/dev/null
denied "not the secret" "${MUST[@]}" cat "$SECRET"
is "$(records)" "1 X700 block $(oknek --json rules | jq -r 'select(.id == "X700").mechanism')" \
	"which is one record, of who holds it"
exits 1 "a stranger goes by its default" "${STRANGER[@]}" "$(bin pre_calls)" open "$TEST_HOME/notes.txt"
exits 0 "who asks to be watched is" "${STRANGER[@]}" OKNEK_PRELOAD_WATCH=unit "$(bin pre_calls)" open "$TEST_HOME/notes.txt"
denied "and refused what is" "${STRANGER[@]}" OKNEK_PRELOAD_WATCH=unit cat "$SECRET"
wait_for 60 stable
is "$(oknek --json events --rule X700 --limit 1 | jq -r .agent.id)" unit "under that name"
ok "observe" oknek mode observe
exits 0 "a mode that refuses nothing changes nobody's fate" "${MUST[@]}" cat "$TEST_HOME/notes.txt"
mkdir -p "$SCRATCH/root/etc/systemd/system" && printf '[Service]\nExecStart=/bin/true\n' >"$SCRATCH/root/etc/systemd/system/my.service"
ok "a unit" oknek watch --unit my --preload-default deny --root "$SCRATCH/root"
like "$(cat "$SCRATCH/out")" 'does not run the source preload' "hears it, too"
ok "it stops" stop_daemon
ok "a daemon with eBPF alone" start_daemon --source=ebpf --rules "$OWN_RULES"
if [ "$(oknek --json rules | jq -r 'select(.id == "X700").mechanism')" = detect ]; then
	exits 1 "where nothing can refuse an open the default holds, for members, too" \
		"${MUST[@]}" "$(bin pre_calls)" open "$TEST_HOME/notes.txt"
else
	exits 0 "labels can refuse an open" "${MUST[@]}" "$(bin pre_calls)" open "$TEST_HOME/notes.txt"
fi
ok "it stops" stop_daemon
done_testing
