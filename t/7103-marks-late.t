#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where it cannot be found out what is to be marked, oknek run does not run the command: in enforce
# mode it would be watched and not held.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_freeze atk_json

scene tmpfs && other_user && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
if [ ! -r "/proc/$DAEMON_PID/task/$DAEMON_PID/children" ]; then
	skip "late marks" "/proc tells no children"
	done_testing
fi
denied "when all is well an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

"$(bin atk_freeze)" "$DAEMON_PID" 18 &
freeze=$!
sleep 0.2
takes "${OTHER_TREE[@]}" sh -c "touch $OTHER_HOME/ran; cat $OTHER_SECRET"
kill $freeze
wait $freeze
diag "exit $TOOK_RC after $TOOK_MS ms: $(head -n 3 "$SCRATCH/took")"
is "$TOOK_RC" 125 "without its marks the run is refused"
ok "the command is not run" test ! -e "$OTHER_HOME/ran"
unlike "$(cat "$SCRATCH/took")" "$TOKEN" "and nothing is read"
like "$(cat "$SCRATCH/took")" '[a-z]' "it says why"

ok "the helpers are back" wait_for 10 "${OTHER_TREE[@]}" true
denied "and that user's agent is denied" "${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
denied "as the first one's" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
done_testing
