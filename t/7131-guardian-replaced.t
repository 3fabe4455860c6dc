#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guardian in the cases that are easily missed: cloned again without privilege, asked by those who
# say nothing, beside a daemon that was killed and cannot end.
# serial
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open grd_idle
need_command fsfreeze

exec 2>"$SCRATCH/shell" # where the shell says what was killed
FROZEN=
thaw() { [ -z "$FROZEN" ] || fsfreeze -u "$FROZEN" 2>/dev/null; FROZEN=; }
trap 'rc=$?; thaw; end_left_behind; (exit $rc); cleanup' EXIT
guardian() { status_get guardian.pid; }
has_guardian() { [ "$(guardian)" -gt 0 ]; }
replaced() { [ "$(status_get guardian.restarts)" -ge "$1" ] && status_is guardian.alive true; }
guardians() { local p; for p in $(daemon_pids); do [ "$(cat "/proc/$p/comm")" != oknek-guardian ] || echo "$p"; done; }
# Fields 40 and 41 of proc(5), stat: real-time priority and policy (2: SCHED_RR).
priority() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f38,39; }
of_thread() { # of_thread NAME: its number
	local t
	for t in "/proc/$DAEMON_PID"/task/*; do
		[ "$(cat "$t/comm")" != "$1" ] || echo "${t##*/}"
	done
}

make_fs ext4 "$SCRATCH/state.ext4" || { skip_all "no filesystem can be made"; }
if ! scene tmpfs || ! STATE=$SCRATCH/state.ext4/oknek start_daemon --rules "$OWN_RULES"; then
	fail "the scene"
	done_testing
fi
STATE=$SCRATCH/state.ext4/oknek
# Somebody to keep for, who asks when no daemon is there.
# shellcheck disable=SC2016 # expanded by the member
"${IN_TREE[@]}" bash -c 'until [ -e "$1/go" ]; do sleep 0.05; done
	"$2" "$3" >"$1/got" 2>&1; echo $? >"$1/rc"; sleep 300' bash "$WORK" "$(bin plain_open)" "$SECRET" &
ok "there is a guardian" wait_for 5 has_guardian

# --- its priority
first=$(guardian)
before=$(priority "$first")
case $before in
*" 2") pass "it runs before others: $before" ;;
*) diag "no real-time priority is to be had here" ;;
esac
kill -KILL "$first"
ok "it is replaced" wait_for 10 replaced 1
second=$(guardian)
is "$(priority "$second")" "$before" "the new one has the same priority"
maker=$(of_thread oknek-maker)
isnt "$maker" "" "a thread makes them"
is "$(grep -E '^Cap(Prm|Eff)' "/proc/$DAEMON_PID/task/$maker/status")" \
	"$(grep -E '^Cap(Prm|Eff)' "/proc/$DAEMON_PID/status")" "which may no more than others of the daemon"
is "$(grep '^Seccomp:' "/proc/$DAEMON_PID/task/$maker/status")" \
	"$(grep '^Seccomp:' "/proc/$DAEMON_PID/status")" "and has their list of system calls"

# --- connections that say nothing
"$(bin grd_idle)" "$RUN/guardian.sock" 6 >"$SCRATCH/idle" &
idle=$!
ok "somebody holds connections to it" wait_for 10 grep -q connected "$SCRATCH/idle"
old=$DAEMON_PID
ok "another daemon takes over all the same" start_daemon --rules "$OWN_RULES" --replace
gone() { ! kill -0 "$old" 2>&-; }
ok "the one before is gone" wait_for 10 gone
ok "and so is its guardian" wait_for 10 eval '[ "$(guardians)" = "$(guardian)" ]'
kill "$idle"

# --- killed, and not gone: a thread of it waits for a filesystem that stands still
FROZEN=$SCRATCH/state.ext4
ok "the filesystem of the evidence is frozen" fsfreeze -f "$FROZEN"
denied "a member is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
stuck() { grep -q '^State:.D' "/proc/$DAEMON_PID"/task/*/status; }
ok "a thread stands" wait_for 10 stuck
old=$DAEMON_PID
kill -KILL "$old"
zombie() { grep -q '^State:.Z' "/proc/$old/status"; }
ok "it is killed, and there" wait_for 5 zombie
takes "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
is "$TOOK_RC" 0 "somebody else gets in"
g=$(guardians)
holds_lock() { find "/proc/$g/fd" -lname "$RUN/oknekd.lock" | grep -q .; }
released() { ! holds_lock; }
ok "the guardian is in charge, and gives up the daemon's lock" wait_for 5 released
ok "while the daemon is still there" zombie
as_user touch "$WORK/go"
ok "a member is answered by it" wait_for 5 test -s "$WORK/rc"
is "$(cat "$WORK/rc")" 1 "and denied"
sum=0
for _ in 1 2 3 4 5 6 7 8 9 10; do
	takes "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
	sum=$((sum + TOOK_MS))
done
diag "ten opens of others took $sum ms"
ok "nobody waits for it to be missed" test $sum -lt 3000
thaw
wait_daemon
ok "another starts" start_daemon --rules "$OWN_RULES"
ok "that it died is recorded" wait_for 10 eval 'events --limit 0 | grep -q "the daemon died"'
ok "it stops" stop_daemon
scene_end
done_testing
