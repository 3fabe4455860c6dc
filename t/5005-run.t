#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek run needs no privilege and is a command's transparent parent; watch adopts what runs already,
# one's own only; unwatch is the operator's.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open keep_open atk_json

scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }

exits 0 "exit 0" "${IN_TREE[@]}" true
exits 1 "exit 1" "${IN_TREE[@]}" false
exits 42 "exit 42" "${IN_TREE[@]}" sh -c 'exit 42'
exits 137 "killed by signal 9" "${IN_TREE[@]}" sh -c 'kill -KILL $$'
exits 143 "killed by signal 15" "${IN_TREE[@]}" sh -c 'kill -TERM $$'
exits 127 "no such command" "${IN_TREE[@]}" "$SCRATCH/nowhere"
as_user touch "$WORK/plain"
exits 126 "not executable" "${IN_TREE[@]}" "$WORK/plain"
exits 125 "no daemon" "${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$SCRATCH/nowhere" run -- true

is "$("${IN_TREE[@]}" id -u)" "$TEST_UID" "the uid is kept"
is "$("${IN_TREE[@]}" sh -c 'echo "$HOME"')" "$TEST_HOME" "the environment is kept"
is "$(cd / && "${IN_TREE[@]}" pwd)" / "the directory is kept"
is "$(echo in | "${IN_TREE[@]}" cat)" in "stdin goes through"
is "$("${IN_TREE[@]}" sh -c 'echo err >&2' 2>&1 >/dev/null)" err "stderr goes through"
is "$("${IN_TREE[@]}" printf '%s|' a 'b c' '' '--json')" 'a|b c||--json|' "arguments go through"
is "$("${IN_TREE[@]}" sh -c 'ulimit -n')" "$("${OUTSIDE[@]}" sh -c 'ulimit -n')" "limits are kept"
is "$("${IN_TREE[@]}" sh -c 'ls /proc/self/fd | wc -l')" \
	"$("${OUTSIDE[@]}" sh -c 'ls /proc/self/fd | wc -l')" "no descriptor is left open to the command"
is "$("${IN_TREE[@]}" sh -c 'grep -E "^(SigBlk|SigIgn)" /proc/self/status')" \
	"$("${OUTSIDE[@]}" sh -c 'grep -E "^(SigBlk|SigIgn)" /proc/self/status')" "signals are as before"
is "$("${IN_TREE[@]}" sh -c 'grep NoNewPrivs /proc/self/status')" \
	"$("${OUTSIDE[@]}" sh -c 'grep NoNewPrivs /proc/self/status')" "privileges are as before"
before=$("${IN_TREE[@]}" cat /proc/self/loginuid)
is "$before" "$(cat /proc/self/loginuid)" "the audit uid is as before"

# Ending the run ends the command when it is told to.
timeout 60 "${IN_TREE[@]}" sleep "55.$$" &
sleep 0.5
runner=$(pgrep -n -u "$TEST_UID" -f "run --agent claude-code -- sleep 55.$$")
child=$(pgrep -n -u "$TEST_UID" -f "^sleep 55.$$")
kill -TERM "$runner"
ok "SIGTERM to run reaches the command" wait_for 5 eval "! kill -0 $child"

# adopt: a shell with a child that runs already
# shellcheck disable=SC2016
adoptee='echo $$ >"$2/adoptee"; (until [ -e "$2/go" ]; do sleep 0.05; done
	"$1" "$3" >"$2/child" 2>&1; echo $? >"$2/child.rc") & until [ -e "$2/go" ]; do sleep 0.05; done
	"$1" "$3" >"$2/own" 2>&1; echo $? >"$2/own.rc"; wait'
adopt() { # starts one; its pid is in $pid
	rm -f "$WORK"/{adoptee,go,child,child.rc,own,own.rc}
	timeout 60 "${OUTSIDE[@]}" bash -c "$adoptee" bash "$(bin plain_open)" "$WORK" "$SECRET" \
		>/dev/null 2>&1 &
	wait_for 5 test -s "$WORK/adoptee"
	pid=$(cat "$WORK/adoptee")
}
adopt
ok "a user adopts a process of its own" "${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" \
	watch --agent aider "$pid"
like "$(oknek --json agents)" "$pid" "it is among the agents"
as_user touch "$WORK/go"
ok "it has tried" wait_for 10 eval 'test -s "$WORK/own.rc" && test -s "$WORK/child.rc"'
is "$(cat "$WORK/own.rc")" 1 "the adopted process is denied"
is "$(cat "$WORK/child.rc")" 1 "so is the child that it had already"

sleep 50 &
other=$!
exits 2 "a user does not adopt somebody else's" "${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" \
	watch $other
kill $other
exits 2 "nobody adopts process 1" oknek watch 1
exits 2 "nobody adopts the daemon" oknek watch "$DAEMON_PID"
exits 2 "nobody adopts what is not there" oknek watch 4194303
exits 2 "a pid is a number" oknek watch me

adopt
ok "adopted again" oknek watch "$pid"
exits 2 "a user does not let go of it" "${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" unwatch "$pid"
ok "the operator does" oknek unwatch "$pid"
as_user touch "$WORK/go"
ok "it has tried" wait_for 10 test -s "$WORK/own.rc"
is "$(cat "$WORK/own.rc")" 0 "and is not denied any more"
ok "that is evidence" records_reach 1 O2

# What an adopted tree has open already is listed.
timeout 60 "${OUTSIDE[@]}" "$(bin keep_open)" "$SECRET" "$WORK/end" >"$SCRATCH/kept" 2>&1 &
wait_for 5 grep -q opened "$SCRATCH/kept"
pid=$(pgrep -n -f "^$(bin keep_open) ")
oknek watch "$pid" >"$SCRATCH/out" 2>&1
like "$(cat "$SCRATCH/out"; events --rule O1)" credentials "what it had open already is told"
as_user touch "$WORK/end"

ok "no member is left" wait_for 10 status_is members 0
ok "the daemon stops cleanly" stop_daemon
done_testing
