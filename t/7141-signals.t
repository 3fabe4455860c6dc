#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Signals: a crash is said in one line and leaves no core; SIGTERM at any moment ends the daemon, which
# answers first and closes the group that asks for permissions last; before the host sleeps what is
# held is answered.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_command strace
need_bin oknek oknekd plain_open atk_json atk_freeze

scene tmpfs || { fail "the scene"; done_testing; }

# ---- crashes ---------------------------------------------------------------------------------

for sig in SEGV BUS ILL FPE ABRT SYS TRAP; do
	: >"$LOG"
	start_daemon --rules "$OWN_RULES" || { fail "$sig: the daemon starts"; continue; }
	[ $sig != SEGV ] || denied "an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	: >"$SCRATCH/core.before"
	kill "-$sig" "$DAEMON_PID"
	ok "$sig: it ends" wait_daemon
	is "$DAEMON_STATUS" $((128 + $(kill -l $sig))) "$sig: by that signal"
	like "$(cat "$LOG")" "crashed: signal $(kill -l $sig).* in thread " "$sig: which is said"
	is "$(find "$ROOT" "$SCRATCH" "$RUN" -xdev -maxdepth 1 -name 'core*' -newer "$SCRATCH/core.before" -type f)" \
		"" "$sig: there is no core"
done
: >"$LOG"
if start_daemon --rules "$OWN_RULES" --debug-fault decide:1:segv; then
	timeout 20 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1
	isnt $? 124 "the verdict thread crashes: who asked is answered"
	ok "it ends" wait_daemon
	like "$(cat "$LOG")" 'crashed: signal 11 in thread oknek-verdict' "and says which thread it was"
fi
ok "the next one starts" start_daemon --rules "$OWN_RULES"
denied "and denies" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "and stops cleanly" stop_daemon

# ---- SIGTERM ---------------------------------------------------------------------------------

for ms in 0 10 30 60 100 200; do
	exe=$(bin oknekd)
	"$exe" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" --rules "$OWN_RULES" \
		</dev/null >>"$LOG" 2>&1 &
	DAEMON_PID=$!
	sleep "$(printf '0.%03d' $ms)"
	kill -TERM "$DAEMON_PID"
	ok "SIGTERM after $ms ms of a start: it ends" wait_daemon
	if tail -n 2 "$LOG" | grep -q 'Too many open files'; then
		skip "as it was told to" "there are no more fanotify groups"
	elif [ $ms -gt 0 ]; then
		is "$DAEMON_STATUS" 0 "as it was told to"
	fi
	ok "and nobody is left" wait_for 5 no_daemon_left
done

permission_fd() {
	local f flags
	for f in "/proc/$DAEMON_PID/fdinfo/"*; do
		flags=$(sed -n 's/^fanotify flags:\([0-9a-f]*\) .*/\1/p' "$f" 2>/dev/null)
		[ -n "$flags" ] && [ $((0x$flags & 0xc)) -ne 0 ] && echo "${f##*/}"
	done
}
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
denied "an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
fd=$(permission_fd)
timeout -s INT 20 strace -f -qq -e trace=close,write,fanotify_mark -p "$DAEMON_PID" -o "$SCRATCH/trace" 2>"$SCRATCH/strace.err" &
tracer=$!
if wait_for 5 grep -q '^TracerPid:.*[1-9]' "/proc/$DAEMON_PID/status"; then
	kill -TERM "$DAEMON_PID"
	kill -TERM "$DAEMON_PID"
	kill -INT "$DAEMON_PID"
	ok "told three times it stops" wait_daemon
	is "$DAEMON_STATUS" 0 "as if told once"
	wait $tracer
	closed=$(grep -n "close($fd) " "$SCRATCH/trace" | tail -n 1 | cut -d: -f1)
	marks=$(grep -n 'fanotify_mark(.*FAN_MARK_REMOVE\|fanotify_mark(.*FAN_MARK_FLUSH' "$SCRATCH/trace" | tail -n 1 | cut -d: -f1)
	answers=$(grep -n "write($fd, " "$SCRATCH/trace" | tail -n 1 | cut -d: -f1)
	diag "marks until ${marks:-none}, answers until ${answers:-none}, closed at ${closed:-none}"
	ok "the group is closed" test -n "$closed"
	ok "after the last answer" test "${answers:-0}" -lt "${closed:-0}"
	ok "and after the marks" test "${marks:-0}" -lt "${closed:-0}"
else
	skip "the order of a stop" "strace cannot attach: $(head -n 1 "$SCRATCH/strace.err")"
	stop_daemon
fi
ok "nobody is left" wait_for 5 no_daemon_left

# ---- a stop that hangs -----------------------------------------------------------------------

start_daemon --rules "$OWN_RULES" --debug-fault decide:1:spin || { fail "it starts"; done_testing; }
timeout 20 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1
isnt $? 124 "the verdict thread spins: who asked is answered"
kill -TERM "$DAEMON_PID"
ok "all the same it ends" wait_daemon
is "$DAEMON_STATUS" 69 "and says that it was not as it should"
for p in $(daemon_pids); do kill -KILL "$p"; done
wait_for 5 no_daemon_left

# ---- sleep -----------------------------------------------------------------------------------

write_config 'deadline: 8s'
start_daemon --rules "$OWN_RULES" || { fail "it starts"; done_testing; }
# A member whose change the mark thread has not looked at, since its helper stands still, waits: the
# secret is replaced by a new file, which nobody has marked yet.
# shellcheck disable=SC2016 # expanded by the shell in the tree
timeout 30 "${IN_TREE[@]}" bash -c 'until [ -e "$1/go" ]; do sleep 0.05; done
	echo x >"$2.new"; mv "$2.new" "$2"; read -r _ <"$2"; echo done >"$1/done"' \
	bash "$WORK" "$SECRET" >/dev/null 2>&1 &
waiter=$!
ok "a member" wait_for 5 eval '[ "$(status_get members)" -ge 1 ]'
"$(bin atk_freeze)" "$DAEMON_PID" 12 &
freeze=$!
sleep 0.3
as_user touch "$WORK/go"
if wait_for 5 eval '[ "$(status_get enforcement.pending)" -ge 1 ]'; then
	from=${EPOCHREALTIME/./}
	kill -USR1 "$DAEMON_PID"
	ok "before the host sleeps" wait_for 7 test -e "$WORK/done"
	took=$(((${EPOCHREALTIME/./} - from) / 1000))
	diag "answered after $took ms"
	ok "what is held is answered, long before its deadline" test $took -lt 4000
else
	fail "before the host sleeps: nothing is held"
fi
# Who writes the log is among those that stood still.
kill $freeze 2>/dev/null
wait $freeze $waiter
ok "and said" wait_for 5 grep -q 'about to sleep: 1 held' "$LOG"
ok "the daemon stops cleanly" stop_daemon
done_testing
