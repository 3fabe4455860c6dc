#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts that cannot be held or judged: dynamic loaders, a host where nobody reads another's
# memory, a helper that is gone; and the mark thread rests when nothing is held any more.
# serial
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_command jq
need_command python3
need_bin oknek oknekd stv_without

make_fs tmpfs "$SCRATCH/mnt"
test_user
B=$MNT/bin
mkdir -p "$B" "$SCRATCH/rules"
cp "$(readlink -f /bin/sh)" "$B/dash"
cp "$(readlink -f /bin/true)" "$B/ld-test.so.2" && ln -s ld-test.so.2 "$B/plain"
cp "$RULES"/R1_* "$SCRATCH/rules"
# rule ID FIELD VALUE
rule() {
	printf 'id: %s\nname: %s\nversion: 1\nkind: exec_observed\n' "$1" "$1"
	printf 'match:\n  all_of:\n    - %s: { eq: "%s" }\n' "$2" "$3"
	printf 'action:\n  default: block\nevidence:\n  capture: [ exe ]\n'
}
rule X1 exe "$B/ld-test.so.2" >"$SCRATCH/rules/X1.yaml"
rule X2 process_name ld.so >"$SCRATCH/rules/X2.yaml"
rule X3 exe "$B/plain" >"$SCRATCH/rules/X3.yaml"
bound() {
	oknek --json rules | jq -r --arg r "$1" '.. | objects | select(.rule? == $r or .id? == $r) |
		"\(.mechanism) \(.why // .bound_why // "")"' | head -n 1
}
exec_programs() { oknek --json status | jq .enforcement.exec.programs; }
status_get() { oknek --json status | jq -c ".$1"; }

write_config 'deadline: 8s' 'on_timeout: deny' "exec: {programs: [\"$B/dash\"]}"
start_daemon --rules "$SCRATCH/rules" || exit 1
agent true

# --- dynamic loaders -------------------------------------------------------------------
for r in X1 X2; do
	like "$(bound $r)" '^detect .*dynamic loader' "$r names a loader: detected"
done
like "$(bound R1)" '^fanotify' "R1 is held"
is "$(exec_programs)" 1 "the shell is marked, no loader is"
like "$(status_get enforcement.gaps)" 'plain.*it is a dynamic loader' \
	"and which link leads to one is told"

# --- the mark thread rests -------------------------------------------------------------
marks_tid() { grep -l '^oknek-marks$' /proc/"$DAEMON_PID"/task/*/comm | cut -d/ -f5; }
ticks() { awk '{print $14 + $15}' "/proc/$DAEMON_PID/task/$(marks_tid)/stat"; }
python3 -c 'import os, sys
a, b = sys.argv[1:]
open(a, "w").close()
while True:
    os.rename(a, b)
    os.rename(b, a)' "$B/a" "$B/b" &
maker=$!
sed 's/^exec: {/exec: {hold: false, /' "$CONFIG" >"$SCRATCH/not-held"
cp "$CONFIG" "$SCRATCH/held"
for i in 1 2 3; do
	[ $i = 1 ] || { cp "$SCRATCH/held" "$CONFIG"; oknek update --reload-local >/dev/null; }
	cp "$SCRATCH/not-held" "$CONFIG"
	ok "exec.hold: false while files are moved, reload $i" oknek update --reload-local
done
kill $maker
wait $maker 2>/dev/null
sleep 0.6
is "$(exec_programs)" 0 "no program is marked"
from=$(ticks)
sleep 1
took=$(($(ticks) - from))
ok "the mark thread rests: $took ticks in a second" [ $took -lt 20 ]
cp "$SCRATCH/held" "$CONFIG"
ok "exec.hold: true, reloaded" oknek update --reload-local
agent "$B/dash" -c 'exit 0'
is $? 0 "a shell runs"

# --- a helper that is gone -------------------------------------------------------------
keeper=$(pgrep -x -P "$DAEMON_PID" oknek-peek)
is "$(wc -w <<<"$keeper")" 1 "one keeper"
kill -KILL "$keeper"
gone() { status_get warnings | grep -q 'helper that reads held processes has ended'; }
ok "its end is told" wait_for 5 gone
s=$(date +%s%N)
agent "$B/dash" -c 'exit 0' 2>"$SCRATCH/err"
took=$((($(date +%s%N) - s) / 1000000))
like "$(cat "$SCRATCH/err")" 'Operation not permitted' "a shell gets the default"
ok "at once: $took ms" [ $took -lt 4000 ]
ok "it is counted" [ "$(status_get enforcement.unread)" -ge 1 ]
like "$(oknek status)" 'answered unread' "and told"
ok "the daemon stops" stop_daemon

# --- nobody reads another's memory -----------------------------------------------------
# shellcheck disable=SC2034 # start_daemon uses it
OKNEKD_UNDER=("$(bin stv_without)" process_vm_readv)
: >"$LOG"
start_daemon --rules "$SCRATCH/rules" || exit 1
like "$(grep 'cannot be read here' "$LOG" | head -n 1)" 'ptrace_scope=3' "a line says so"
like "$(bound R1)" '^detect .*cannot be read here.*ptrace_scope=3' "R1 is only detected"
like "$(status_get warnings)" 'cannot be read here' "status warns"
is "$(exec_programs)" 0 "no program is marked"
agent "$B/dash" -c 'exit 0'
is $? 0 "a member's shell runs"
is "$(status_get enforcement.unread)" 0 "nobody was answered unread"
ok "the daemon stops" stop_daemon

# --- nobody looks anything up ----------------------------------------------------------
# shellcheck disable=SC2034 # start_daemon uses it
OKNEKD_UNDER=()
start_daemon --rules "$SCRATCH/rules" || exit 1
agent true
is "$(exec_programs)" 1 "the shell is marked"
zygotes=$(pgrep -x -P "$DAEMON_PID" oknek-zygote)
ok "there are zygotes" [ -n "$zygotes" ]
# shellcheck disable=SC2086 # they are pids
kill -KILL $zygotes
sleep 0.2
for i in 1 2 3; do : >"$B/again.$i"; sleep 0.6; done
from=$(ticks)
sleep 1
took=$(($(ticks) - from))
ok "the mark thread rests: $took ticks in a second" [ $took -lt 20 ]
timeout 20 "$(bin oknek)" --run-dir "$RUN" mode observe >/dev/null 2>&1
unmarked() { [ "$(exec_programs)" = 0 ]; }
ok "observe: no program is marked any more" wait_for 5 unmarked
agent "$B/dash" -c 'exit 0'
is $? 0 "a shell runs"
ok "the daemon stops" stop_daemon
done_testing
