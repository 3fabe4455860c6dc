#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Eight members open protected files as fast as they can, and everybody else goes on working: each
# attempt is denied, none is left unanswered, and the evidence holds.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd hammer plain_open atk_json atk_tamper

seconds=10
[ -z "${OKNEK_LONG-}" ] || seconds=60
scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }

timeout $((seconds + 40)) "${IN_TREE[@]}" "$(bin hammer)" "$SECRET" 8 $seconds \
	>"$SCRATCH/hammer" 2>&1 &
load=$!
sleep 1
slow=0 tried=0
end=$((SECONDS + seconds - 2))
while [ $SECONDS -lt $end ]; do
	timeout 2 "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1 || slow=$((slow + 1))
	tried=$((tried + 1))
	sleep 0.05
done
rc=0
wait $load || rc=$?
diag "$(cat "$SCRATCH/hammer")"
is "$rc" 1 "every attempt of the members was denied"
is "$(number unanswered "$SCRATCH/hammer")" 0 "none was left unanswered"
is "$(number attempts "$SCRATCH/hammer")" "$(number denied "$SCRATCH/hammer")" \
	"as many denied as attempted"
is $slow 0 "$tried reads outside the tree succeeded meanwhile, each within two seconds"
is "$(status_get enforcement.pending)" 0 "nothing is pending"
diag "evidence: $(oknek --json status | "$(bin atk_json)" get evidence)"
ok "ordinary work in the tree goes on" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
ok "the evidence is committed" wait_for 60 status_is evidence.pending 0
ok "and holds" oknek verify --state-dir "$STATE"
denied_by_daemon=$(status_get enforcement.denied)
is "$denied_by_daemon" "$(number denied "$SCRATCH/hammer")" "the daemon counted the same"
lost=$(status_get evidence.lost)
recorded=$("$(bin atk_tamper)" "$STATE/oknek.db" "select count(*) from events where rule = 'X700'")
diag "recorded $recorded, lost and counted $lost"
is $((recorded + lost)) "$denied_by_daemon" "each is a record, or counted as one that was lost"
ok "the daemon stops cleanly" stop_daemon
done_testing
