#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The control socket against peers that mean ill: a gigabyte without a line feed, thousands of
# connections of several users, descriptors passed along, lies about who one is, a pid that is
# another's by the time it asks, a pid namespace. The daemon keeps what it has, and the operator in.
# serial
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd atk_json stv_socket

MANY=10000 patience_ms=1000
[ "${BUILD##*/}" = build ] || { MANY=2000 patience_ms=5000; }
scene tmpfs && other_user "" && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
bad=$(bin stv_socket) sock=$RUN/oknek.sock
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$DAEMON_PID/status"; }
descriptors() { find "/proc/$DAEMON_PID/fd" -mindepth 1 2>/dev/null | wc -l; }
oknek status >/dev/null
rss=$(resident) fds=$(descriptors)

# One request of a gigabyte.
timeout 60 "${OUTSIDE[@]}" "$bad" giant "$sock" 1073741824 >"$SCRATCH/out" 2>&1
diag "$(cat "$SCRATCH/out")"
like "$(cat "$SCRATCH/out")" 'answer=.*at most 65536 bytes|errno=(32|104)' "a gigabyte is cut off"
sent=$(number sent "$SCRATCH/out")
ok "after a few hundred kilobytes" test "${sent:-999999999}" -lt 4194304
for who in IN_TREE OTHER_OUTSIDE ROOT_OUTSIDE; do
	declare -n words=$who
	timeout 60 "${words[@]}" "$bad" giant "$sock" 1073741824 >"$SCRATCH/out" 2>&1
	sent=$(number sent "$SCRATCH/out")
	ok "and so is one of $who" test "${sent:-999999999}" -lt 4194304
done

fillers=()
# Half requests, as many as can be had; of a member, two users and root's own tree.
for who in IN_TREE OUTSIDE OTHER_OUTSIDE ROOT_TREE; do
	declare -n words=$who
	timeout 60 "${words[@]}" "$bad" fill "$sock" $((MANY / 4)) 4 >"$SCRATCH/fill.$who" 2>&1 &
	fillers[${#fillers[@]}]=$!
	sleep 0.3 # or the next has all that this user may have
done
sleep 1
slow=0 refused=0
for _ in $(seq 20); do
	takes "$(bin oknek)" --run-dir "$RUN" status
	[ "$TOOK_RC" -eq 0 ] || refused=$((refused + 1))
	[ "$TOOK_MS" -le "$slow" ] || slow=$TOOK_MS
done
most=$(descriptors)
wait "${fillers[@]}"
diag "$(tail -n 1 "$SCRATCH"/fill.*)" "root's slowest status took $slow ms, $most descriptors then"
is $refused 0 "root is answered meanwhile"
ok "within a second" test $slow -le "$patience_ms"
ok "the number of connections is bounded" test "$most" -lt $((fds + 600))
ok "anybody is answered afterwards" wait_for 15 "${OTHER_OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" status

# Descriptors that come along are never kept.
timeout 60 "${OUTSIDE[@]}" "$bad" fds "$sock" 200 >"$SCRATCH/out" 2>&1
is $? 0 "descriptors passed along are closed"
diag "$(cat "$SCRATCH/out")"
ok "none is left" wait_for 15 eval "[ \$(descriptors) -le $((fds + 4)) ]"
[ "${BUILD##*/}" != build ] || ok "memory is what it was" test "$(resident)" -lt $((rss + 8192))

# Who one is, the kernel says.
timeout 10 "${ROOT_TREE[@]}" "$bad" lie "$sock" '{"cmd":"mode","mode":"observe"}' >"$SCRATCH/out" 2>&1
like "$(cat "$SCRATCH/out")" '"code":"denied"|"code": "denied"' "a member of uid 0 that says it is PID 1 is denied"
timeout 10 "$bad" reuse "$sock" '{"cmd":"mode","mode":"observe"}' >"$SCRATCH/out" 2>&1
rc=$?
diag "$(cat "$SCRATCH/out")"
if [ $rc -eq 2 ]; then
	skip "whose pid is another's" "the pid could not be had again"
else
	like "$(cat "$SCRATCH/out")" 'denied|answer=none' "nobody speaks for a process whose pid is another's"
fi
is "$(status_get mode)" enforce "the mode is what it was"

# A pid namespace changes neither uid nor membership.
nok "a user in a pid namespace of its own changes nothing" unshare --pid --fork --kill-child -- \
	"${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" mode observe
like "$(cat "$SCRATCH/out")" 'only root|denied' "and is told why"
nok "nor does a member" "${ROOT_TREE[@]}" unshare --pid --fork --kill-child -- \
	"$(bin oknek)" --run-dir "$RUN" mode observe
like "$(cat "$SCRATCH/out")" 'watched tree' "who is told why"
is "$(status_get mode)" enforce "the mode is what it was"
ok "what was refused is evidence" records_reach 1 O2
ok "the daemon stops cleanly" stop_daemon
done_testing
