#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A member gives a directory a protected name and takes it away again, as fast as it can: each time
# there is something to look for. Others are watched and denied in time meanwhile; the daemon changes
# its mode, and ends, in time.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_renames atk_json atk_latency

scene tmpfs && other_user && start_daemon || { fail "the scene"; done_testing; }
flood() { # flood SECONDS: in the background
	(cd "$WORK" && exec timeout $(($1 + 3)) "${IN_TREE[@]}" "$(bin atk_renames)" "$TEST_HOME" .kube \
		"$1") >"$SCRATCH/flood" 2>&1 &
	flood=$!
	sleep 1
}
flood_over() {
	wait "$flood"
	diag "$(cat "$SCRATCH/flood")"
}
cd /

flood 6
takes "${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
is "$TOOK_RC" 1 "under the flood another user's agent is denied"
unlike "$(cat "$SCRATCH/took")" "$TOKEN" "and sees nothing"
ok "within three seconds ($TOOK_MS ms)" test "$TOOK_MS" -le 3000
takes "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$TOOK_RC" 1 "another agent of the same user is denied, too ($TOOK_MS ms)"
flood_over
"${OTHER_OUTSIDE[@]}" "$(bin atk_latency)" "$OTHER_SECRET" 1 >"$SCRATCH/out" 2>&1
diag "$(cat "$SCRATCH/out")"

isnt "$(permission_marks)" 0 "there are permission marks"
flood 6
from=${EPOCHREALTIME/./}
timeout 15 "$(bin oknek)" --run-dir "$RUN" mode observe >"$SCRATCH/mode" 2>&1 &
mode=$!
wait_for 12 eval '[ "$(permission_marks)" -eq 0 ]'
ms=$(((${EPOCHREALTIME/./} - from) / 1000))
ok "under the flood and observing no mark asks for a permission within five seconds ($ms ms)" \
	test $ms -le 5000
wait $mode
is $? 0 "the mode has changed"
flood_over
ok "back to enforce" wait_for 10 oknek mode enforce
denied "and it enforces" "${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"

flood 8
from=${EPOCHREALTIME/./}
kill -TERM "$DAEMON_PID"
wait_daemon
ms=$(((${EPOCHREALTIME/./} - from) / 1000))
is "${DAEMON_STATUS-still there}" 0 "under the flood SIGTERM ends the daemon"
ok "within five seconds ($ms ms)" test $ms -le 5000
flood_over
ok "nothing of it is left" wait_for 5 no_daemon_left
done_testing
