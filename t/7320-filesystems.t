#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An automount that never comes, a file server that stopped, a mapping that nobody fills: where the
# daemon has to look is somebody else's, who does not answer. Others go on.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/stranger.sh
. t/attack/stranger.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json atk_latency atk_fusehang str_autofs fusehang lease_hold

scene tmpfs && other_user || { fail "the scene"; done_testing; }
daemon_words
server=
stop_server() {
	kill -CONT $server 2>/dev/null
	kill -KILL $server
	wait $server 2>/dev/null
	umount -l "$1"
}

# ---- an automount below a home: what a rule names is behind it, and a project is --------------

label="an automount that never comes"
write_rule net.yaml 'net/*/token' block X732
as_user mkdir -p "$TEST_HOME/net" "$OTHER_HOME"
"$(bin str_autofs)" "$TEST_HOME/net" >"$SCRATCH/autofs" 2>&1 &
server=$!
if ! wait_for 5 grep -q mounted "$SCRATCH/autofs"; then
	skip "$label" "no autofs here: $(cat "$SCRATCH/autofs")"
else
	exits 124 "$label: whoever looks behind it waits" \
		timeout -k 1 1 "${OUTSIDE[@]}" ls "$TEST_HOME/net/host/token"
	began=$SECONDS
	ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
	ok "$label: in time" test $((SECONDS - began)) -lt 20
	goes_on "$label"
	ok "$label: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	goes_on "$label, reloaded"
	like "$(oknek --json status)" "$TEST_HOME/net" "$label: status names the gap"
	ends "$label"
fi
stop_server "$TEST_HOME/net"
rm "$OWN_RULES/net.yaml"

# ---- a whole home on a file server that has stopped ---------------------------------------------

# A stopped FUSE server stands for a dead NFS server: both leave whoever asks in the kernel, and one
# that took the request cannot be asked again.
label="a home on a file server that stopped"
mkdir -p "$OTHER_HOME"
for where in lookup open; do
	"$(bin atk_fusehang)" "$OTHER_HOME" $where >"$SCRATCH/fuse" 2>&1 &
	server=$!
	if ! wait_for 5 grep -q mounted "$SCRATCH/fuse"; then
		skip "$label" "no FUSE: $(cat "$SCRATCH/fuse")"
		kill -KILL $server 2>/dev/null
		continue
	fi
	kill -STOP $server
	ok "$label ($where): the daemon starts" stuck_ready "${DAEMON[@]}"
	# Its user has work, time and again; each that is not served is refused.
	(while :; do timeout -k 1 15 "${OTHER_TREE[@]}" true; done) >/dev/null 2>&1 &
	asking=$!
	sleep 0.5
	goes_on "$label ($where)"
	kill $asking
	wait $asking 2>/dev/null
	takes "${OTHER_TREE[@]}" true
	diag "$label ($where): its own user's run: status $TOOK_RC after $TOOK_MS ms"
	ok "$label ($where): its own user is served or refused" test $TOOK_MS -lt 11000
	ends "$label ($where)"
	stop_server "$OTHER_HOME"
done

# ---- a project on it ----------------------------------------------------------------------------

label="a project on a file server that stopped"
write_rule state.yaml '**/terraform.tfstate' block X733
sed -i 's|~/\*\*/|**/|' "$OWN_RULES/state.yaml"
project=$WORK/project
as_user mkdir -p "$project"
"$(bin atk_fusehang)" "$project" lookup >"$SCRATCH/fuse" 2>&1 &
server=$!
if wait_for 5 grep -q mounted "$SCRATCH/fuse"; then
	ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
	cd "$project" || exit
	kill -STOP $server
	takes "${IN_TREE[@]}" true
	cd "$ROOT" || exit
	diag "$label: status $TOOK_RC after $TOOK_MS ms: $(head -n 1 "$SCRATCH/took")"
	ok "$label: a run there is served or refused" test $TOOK_MS -lt 11000
	goes_on "$label"
	ok "$label: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	goes_on "$label, reloaded"
	ends "$label"
fi
stop_server "$project"
rm "$OWN_RULES/state.yaml"

# ---- a link of a member's that leads there ------------------------------------------------------

label="a protected name that a member leads to a stopped file server"
mkdir "$MNT/dead"
"$(bin atk_fusehang)" "$MNT/dead" lookup >"$SCRATCH/fuse" 2>&1 &
server=$!
write_rule ssh.yaml .ssh/id_test block X734
put "$TEST_HOME/.ssh/id_test" "$TOKEN"
if wait_for 5 grep -q mounted "$SCRATCH/fuse"; then
	ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
	kill -STOP $server
	denied "$label: first as it was" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/.ssh/id_test"
	# shellcheck disable=SC2016 # expanded by the shell that links
	timeout 60 "${IN_TREE[@]}" sh -c 'while :; do
		ln -sfn "$2/file" "$1/.ssh/new"; mv -T "$1/.ssh/new" "$1/.ssh/id_test"; done' \
		sh "$TEST_HOME" "$MNT/dead" >/dev/null 2>&1 &
	linking=$!
	sleep 0.3
	goes_on "$label"
	ok "$label: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	goes_on "$label, reloaded"
	kill $linking
	end_left_behind
	wait $linking 2>/dev/null
	ends "$label"
fi
stop_server "$MNT/dead"
rm "$OWN_RULES/ssh.yaml"

# ---- its own state directory, at the worst moment -----------------------------------------------

# A thread of the daemon that is in the kernel for good keeps all of its descriptors open when it is
# killed, and so the group for whose answers others wait: the guardian gives them.
label="the state directory stands still, and the daemon is killed"
if make_fs ext4 "$SCRATCH/state.ext4"; then
	MNT=$SCRATCH/tmpfs.mnt
	trap 'rc=$?; fsfreeze -u "$SCRATCH/state.ext4" 2>/dev/null; end_left_behind; (exit $rc); cleanup' EXIT
	words=("${DAEMON[@]}")
	STATE=$SCRATCH/state.ext4/oknek
	daemon_words
	ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
	ok "$label: frozen" fsfreeze -f "$SCRATCH/state.ext4"
	goes_on "$label: before"
	sleep 1
	kill -KILL "$DAEMON_PID"
	sleep 0.3
	opens_fast "$label: after"
	gets "$label: after: outside the tree it opens" \
		timeout 10 "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$label: thawed" fsfreeze -u "$SCRATCH/state.ext4"
	ok "$label: it is gone" wait_daemon
	ok "$label: and all with it" wait_for 10 no_daemon_left
	ok "$label: it starts again" stuck_ready "${DAEMON[@]}"
	goes_on "$label: again"
	ends "$label"
	STATE=$SCRATCH/state
	DAEMON=("${words[@]}")
else
	skip "$label" "no ext4"
fi

# ---- leases, as a stranger holds them, on what the daemon reads itself -------------------------

label="a lease on the configuration and on a rule"
ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
# Broken after lease-break-time at the latest: who reloads waits, and nobody else.
timeout -k 1 30 "$(bin lease_hold)" "$OWN_RULES/aws.yaml" 25 >"$SCRATCH/lease" 2>&1 &
holder=$!
if wait_for 5 grep -q held "$SCRATCH/lease"; then
	timeout 3 "$(bin oknek)" --run-dir "$RUN" update --reload-local >/dev/null 2>&1
	kill -HUP "$DAEMON_PID"
	goes_on "$label"
else
	skip "$label" "no lease: $(cat "$SCRATCH/lease")"
fi
kill $holder
wait $holder 2>/dev/null
ok "$label: with the lease gone rules are read" \
	timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
ends "$label"
done_testing
