#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Beside the daemon is somebody who answers when it does not: stopped, dead, replaced. Members are
# denied all the time, nobody else waits, and the next daemon takes over without a gap.
# serial
# sanitize: address
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open hammer no_leader atk_json

exec 2>"$SCRATCH/shell" # where the shell says what was killed
guardian() { status_get guardian.pid; }
has_guardian() { [ "$(guardian)" -gt 0 ]; }
replaced() { [ "$(status_get guardian.restarts)" -ge "$1" ] && status_is guardian.alive true; }
# By guardian, of this path and verdict: how many records.
by_guardian() { events --limit 0 | grep '"decided_by":"guardian"' | grep -c "$1"; }
# Without a daemon to ask: who is it?
guardians() { local p; for p in $(daemon_pids); do [ "$(cat "/proc/$p/comm")" != oknek-guardian ] || echo "$p"; done; }
alone() { [ "$(guardians | wc -l)" -eq 1 ] && ! kill -0 "${1:-0}" 2>/dev/null; }
# A member that tries again and again, and is told when to stop; what it read is in a file.
# shellcheck disable=SC2016 # expanded by the member
keeps_trying='until [ -e "$1/stop" ]; do
		if "$2" "$3" >>"$1/$4.got" 2>/dev/null; then echo got >>"$1/$4.leaks"; fi
		echo x >>"$1/$4.tries"
	done'
tries() { wc -l <"$WORK/$1.tries"; }
tries_more() { [ "$(tries "$1")" -gt "$2" ]; }
goes_on() { # goes_on NAME DESC: it is answered, still
	local n
	n=$(tries "$1")
	ok "$2" wait_for 10 tries_more "$1" $((n + 5))
}

if ! scene tmpfs || ! start_daemon --rules "$OWN_RULES"; then
	fail "the scene"
	done_testing
fi
ok "there is a guardian" wait_for 5 has_guardian
first=$(guardian)
ok "it has a name" wait_for 5 grep -qx oknek-guardian "/proc/$first/comm"
is "$(status_get guardian.answered_members)" 0 "it has answered nobody"
fds=$(find "/proc/$first/fd" "/proc/$DAEMON_PID/fd" -mindepth 1 -printf '%h\n' | sort | uniq -c | awk '{ print $1 }' | uniq | wc -l)
is "$fds" 1 "it has the descriptors of the daemon"

"${IN_TREE[@]}" bash -c "$keeps_trying" bash "$WORK" "$(bin plain_open)" "$SECRET" one &
ok "a member tries" wait_for 10 test -s "$WORK/one.tries"
goes_on one "and is answered"

# --- the daemon is stopped
kill -STOP "$DAEMON_PID"
takes "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
is "$TOOK_RC" 0 "stopped: somebody else gets in"
diag "stopped: somebody else waited $TOOK_MS ms"
ok "stopped: and does not wait" test "$TOOK_MS" -lt 900
goes_on one "stopped: the member goes on"
kill -CONT "$DAEMON_PID"
ok "stopped: the guardian has counted members" wait_for 10 eval '[ "$(status_get guardian.answered_members)" -gt 0 ]'
ok "stopped: and others" test "$(status_get guardian.answered_strangers)" -gt 0
ok "stopped: there are records of it" wait_for 10 eval '[ "$(by_guardian "$SECRET")" -gt 0 ]'
ok "stopped: one says why" wait_for 10 eval 'events --limit 0 | grep -q "the daemon was stopped"'
n=$(status_get guardian.answered_members)
goes_on one "afterwards the daemon answers again"
is "$(status_get guardian.answered_members)" "$n" "and the guardian does not"

# --- the guardian is gone, or does not answer
kill -KILL "$first"
ok "a guardian that was killed is replaced" wait_for 10 replaced 1
isnt "$(guardian)" "$first" "by another"
kill -STOP "$(guardian)"
ok "one that was stopped is replaced" wait_for 10 replaced 2
ok "that is recorded" wait_for 10 eval '[ "$(events --limit 0 | grep -c "guardian replaced")" -ge 2 ]'
kill -TERM "$(guardian)"
sleep 0.5
ok "it does not obey SIGTERM" replaced 2
goes_on one "the member is answered"

# --- the daemon is dead
old=$DAEMON_PID
kill_daemon
ok "dead: the guardian stays" wait_for 5 alone "$old"
takes "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
is "$TOOK_RC" 0 "dead: somebody else gets in"
ok "dead: and does not wait" test "$TOOK_MS" -lt 900
goes_on one "dead: the member goes on"
# A child that left its parent, born while nobody but the kernel keeps the list.
nok "dead: nor a socket that accepts" "$(bin oknek)" --run-dir "$RUN" status
held=$(find "/proc/$(guardians)/fd" -lname "$STATE/*" -o -lname "$RUN/*.lock" | wc -l)
is "$held" 0 "dead: the guardian holds neither lock nor database"
ok "it starts again" start_daemon --rules "$OWN_RULES"
ok "the old guardian ends" wait_for 5 eval '[ "$(guardians)" = "$(guardian)" ]'
goes_on one "the member is answered by the new one"
ok "what the guardian did is in evidence" wait_for 10 eval 'events --limit 0 | grep -q "the daemon died"'
ok "and that it answered meanwhile" wait_for 10 eval 'events --limit 0 | grep -q "its guardian answered"'

# --- born while there is no daemon: double fork, own session, parent gone
# shellcheck disable=SC2016 # expanded by the member
"${IN_TREE[@]}" bash -c 'touch "$1/up"; until [ -e "$1/dead" ]; do sleep 0.02; done
	(setsid bash -c "$5" bash "$1" "$2" "$3" born &); (setsid bash -c "$5" bash "$1" "$2" "$3" born2 &)' \
	bash "$WORK" "$(bin plain_open)" "$SECRET" "" "$keeps_trying" &
ok "another tree" wait_for 10 test -e "$WORK/up"
old=$DAEMON_PID
kill_daemon
ok "dead again: the guardian stays" wait_for 5 alone "$old"
as_user touch "$WORK/dead"
ok "dead: children are born and leave their parents" wait_for 10 test -s "$WORK/born.tries"
ok "dead: more of them" wait_for 10 test -s "$WORK/born2.tries"
ok "it starts again" start_daemon --rules "$OWN_RULES"
goes_on born "the child is answered by the new daemon"

# --- another daemon in place of one that lives
old=$DAEMON_PID
nok "a second daemon does not start" timeout 20 "$(bin oknekd)" --foreground --run-dir "$RUN" \
	--state-dir "$STATE" --config "$CONFIG" --rules "$OWN_RULES"
ok "but with --replace it does" start_daemon --rules "$OWN_RULES" --replace
ok "the one before is gone" wait_for 10 eval '! kill -0 "$old"'
isnt "$(status_get guardian.pid)" 0 "the new one has a guardian"
ok "the old guardian ends" wait_for 5 eval '[ "$(guardians)" = "$(guardian)" ]'
goes_on one "the member is answered"
goes_on born2 "and the child"

as_user touch "$WORK/stop"
wait_for 5 eval '[ "$(status_get members)" = 0 ]'
is "$(cat "$WORK"/*.leaks 2>/dev/null | wc -l)" 0 "in all that time no member got at the secret"
diag "$(cat "$WORK"/*.tries | wc -l) tries"
ok "evidence holds together" oknek verify "$STATE/oknek.db"
ok "it stops cleanly, and leaves nobody behind" stop_daemon
ok "the guardian's socket is gone" test ! -e "$RUN/guardian.sock"

# --- the only member has lost the thread that it began with, and goes on
ok "it starts again" start_daemon --rules "$OWN_RULES"
"${IN_TREE[@]}" "$(bin no_leader)" "$WORK/over" "$WORK/leaderless" "$SECRET" &
asked() { [ "$(grep -c denied "$WORK/leaderless" 2>/dev/null)" -ge "$1" ]; }
ok "a member without a leader is denied" wait_for 30 asked 5
old=$DAEMON_PID
kill_daemon
ok "dead: the guardian stays" wait_for 5 alone "$old"
wait_for 60 asked $(($(wc -l <"$WORK/leaderless") + 200)) # more than 4 seconds
ok "it is there still" alone "$old"
is "$(grep -cv denied "$WORK/leaderless")" 0 "and denies it each time"
as_user touch "$WORK/over"
ok "it ends with that member" wait_for 60 no_daemon_left

# --- nobody is watched: nothing to keep
ok "it starts once more" start_daemon --rules "$OWN_RULES"
kill_daemon
ok "without members the guardian ends with the daemon" wait_for 5 no_daemon_left
scene_end
done_testing
