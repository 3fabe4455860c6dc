#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon stops, is killed, is stopped in its tracks, while openers wait for it: nobody hangs,
# nobody who is not a member is ever denied or waits for it, and no member gets through unless it
# was told to stop. When it is back it enforces again, on those who were watched before as well.
# serial
# sanitize: thread
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd hammer plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }

# during LABEL CMD…: members and others open as fast as they can while CMD happens.
during() {
	local label=$1 inside outside
	shift
	timeout 60 "${IN_TREE[@]}" "$(bin hammer)" "$SECRET" 4 4 >"$SCRATCH/inside" 2>&1 &
	inside=$!
	timeout 60 "${OUTSIDE[@]}" "$(bin hammer)" "$SECRET" 2 4 >"$SCRATCH/outside" 2>&1 &
	outside=$!
	sleep 1.5
	"$@"
	wait $inside
	isnt $? 124 "$label: no member hangs"
	wait $outside
	diag "inside: $(cat "$SCRATCH/inside")" "outside: $(cat "$SCRATCH/outside")"
	is "$(number unanswered "$SCRATCH/inside")" 0 "$label: every member was answered"
	is "$(number unanswered "$SCRATCH/outside")" 0 "$label: so was everybody else"
	is "$(number denied "$SCRATCH/outside")" 0 "$label: nobody outside was denied"
}
stop_cleanly() { ok "SIGTERM under load: it stops cleanly" stop_daemon; }
kill_it() { kill_daemon; }
stopped_for_a_while() {
	kill -STOP "$DAEMON_PID"
	sleep 2
	kill -CONT "$DAEMON_PID"
}
reload_often() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do oknek update --reload-local >/dev/null 2>&1; done
}

ok "it starts" start_daemon --rules "$OWN_RULES"
during "reload under load" reload_often
is "$(number opened "$SCRATCH/inside")" 0 "reload under load: no member got through"

during "stopped for two seconds" stopped_for_a_while
is "$(number opened "$SCRATCH/inside")" 0 "stopped for two seconds: no member got through"
ok "stopped for two seconds: others went on" test "$(number max_us "$SCRATCH/outside")" -le 1000000
denied "and afterwards it denies" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

during "SIGTERM under load" stop_cleanly
gets "nobody is held by what is gone" "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"

ok "it starts again" start_daemon --rules "$OWN_RULES"
denied "and denies" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# A member that lives through it all.
# shellcheck disable=SC2016
timeout 120 "${IN_TREE[@]}" bash -c 'until [ -e "$2/turn" ]; do sleep 0.05; done
	"$1" "$3" >"$2/out" 2>&1; echo $? >"$2/rc"' bash "$(bin plain_open)" "$WORK" "$SECRET" \
	>/dev/null 2>&1 &
sleep 0.5
during "kill -9 under load" kill_it
is "$(number opened "$SCRATCH/inside")" 0 "kill -9 under load: no member got through"
ok "kill -9 under load: others went on" test "$(number max_us "$SCRATCH/outside")" -le 1000000
gets "after kill -9 it opens outside" timeout 20 "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
ok "it starts again after kill -9" start_daemon --rules "$OWN_RULES"
denied "and denies" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
as_user touch "$WORK/turn"
ok "the old member has tried" wait_for 20 test -s "$WORK/rc"
is "$(cat "$WORK/rc")" 1 "the old member is denied by the new daemon"
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops cleanly" stop_daemon
done_testing
