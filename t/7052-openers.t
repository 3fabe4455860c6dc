#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Five thousand openers at one moment, half of them members: the daemon's descriptors stay bounded,
# each opener gets its own answer, and nobody who is not a member is denied.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd crowd atk_json plain_open

each=2500
scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
limit=$(awk '/Max open files/ { print $4 }' "/proc/$DAEMON_PID/limits")
gate=$WORK/gate
timeout 170 "${OUTSIDE[@]}" "$(bin crowd)" "$SECRET" $each "$gate" >"$SCRATCH/outside" 2>&1 &
outside=$!
timeout 170 "${IN_TREE[@]}" "$(bin crowd)" "$SECRET" $each "$gate" >"$SCRATCH/inside" 2>&1 &
inside=$!
ok "all are ready" wait_for 60 eval \
	'grep -q ready "$SCRATCH/outside" && grep -q ready "$SCRATCH/inside"'
as_user touch "$gate"
most=0
while kill -0 $outside 2>/dev/null || kill -0 $inside 2>/dev/null; do
	n=$(find "/proc/$DAEMON_PID/fd" -mindepth 1 2>/dev/null | wc -l)
	[ "$n" -le $most ] || most=$n
	sleep 0.02
done
wait $outside
out_rc=$?
wait $inside
in_rc=$?
diag "outside: $(tail -n 1 "$SCRATCH/outside")" "inside: $(tail -n 1 "$SCRATCH/inside")" \
	"at most $most descriptors seen, limit $limit"
is $out_rc 0 "no opener outside the tree was denied or left waiting"
is $in_rc 1 "every opener inside was denied"
is "$(number unanswered "$SCRATCH/outside")" 0 "outside: none unanswered"
is "$(number unanswered "$SCRATCH/inside")" 0 "inside: none unanswered"
if [ "$limit" = unlimited ] || [ $most -lt "$limit" ]; then
	pass "descriptors did not run out"
else
	fail "descriptors did not run out"
fi
ok "nothing is pending" wait_for 10 status_is enforcement.pending 0
ok "descriptors are given back" wait_for 10 eval \
	'[ "$(find "/proc/$DAEMON_PID/fd" -mindepth 1 | wc -l)" -lt 200 ]'
denied "the next one is denied, too" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon

# A daemon that may have very few descriptors: a limit of its own making must deny nobody.
rm -f "$gate"
ok "it starts with few descriptors" eval \
	'ulimit -S -n 256 && start_daemon --rules "$OWN_RULES"; r=$?; ulimit -S -n "$(ulimit -H -n)"; [ $r -eq 0 ]'
timeout 120 "${OUTSIDE[@]}" "$(bin crowd)" "$SECRET" 600 "$gate" >"$SCRATCH/outside" 2>&1 &
outside=$!
wait_for 30 grep -q ready "$SCRATCH/outside"
as_user touch "$gate"
wait $outside
is $? 0 "with few descriptors, too, nobody outside is denied"
diag "$(cat "$SCRATCH/outside")"
ok "the daemon stops cleanly" stop_daemon
done_testing
