#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Processes forked as fast as the machine forks, orphans in sessions of their own: each is a member
# from its first instruction, and none is left in the table when they are gone.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd forkstorm atk_json

seconds=5
[ -z "${OKNEK_LONG-}" ] || seconds=30
scene tmpfs || { fail "the scene"; done_testing; }
rc=0
timeout 60 "${OUTSIDE[@]}" "$(bin forkstorm)" "$SECRET" 1 >"$SCRATCH/storm" 2>&1 || rc=$?
is $rc 0 "without oknek the descendants open the secret"
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
rc=0
timeout $((seconds + 40)) "${IN_TREE[@]}" "$(bin forkstorm)" "$SECRET" $seconds \
	>"$SCRATCH/storm" 2>&1 || rc=$?
diag "$(cat "$SCRATCH/storm")"
is $rc 1 "every descendant was denied"
is "$(number opened "$SCRATCH/storm")" 0 "none could open it"
is "$(number other "$SCRATCH/storm")" 0 "none was told anything else"
ok "no member is left" wait_for 15 status_is members 0
diag "feed: $(status_get feed)"

rc=0
timeout 40 "${OUTSIDE[@]}" "$(bin forkstorm)" "$SECRET" 2 >"$SCRATCH/storm" 2>&1 || rc=$?
diag "$(cat "$SCRATCH/storm")"
is $rc 0 "the same storm outside a tree is denied nothing"
is "$(number denied "$SCRATCH/storm")" 0 "not once, though pids come again"

# Both at once: pids of one kind are reused by the other.
timeout 40 "${OUTSIDE[@]}" "$(bin forkstorm)" "$SECRET" 3 >"$SCRATCH/outside" 2>&1 &
other=$!
rc=0
timeout 40 "${IN_TREE[@]}" "$(bin forkstorm)" "$SECRET" 3 >"$SCRATCH/inside" 2>&1 || rc=$?
wait $other
is $? 0 "side by side: outside nobody was denied"
is $rc 1 "side by side: inside everybody was"
diag "$(cat "$SCRATCH/outside" "$SCRATCH/inside")"
ok "no member is left" wait_for 15 status_is members 0
ok "the daemon stops cleanly" stop_daemon
done_testing
