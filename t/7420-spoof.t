#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who is a member cannot be said by anybody but the kernel: not by netlink messages of others, nor by
# having the pid that somebody had before. With each process feed that this host has.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json stv_without stv_netlink stv_reuse

# The daemon's port on the proc connector; nothing when it has none.
port() {
	local inodes
	inodes=$(readlink "/proc/$DAEMON_PID/fd/"* | sed -n 's/^socket:\[\(.*\)\]$/\1/p')
	awk -v list="$inodes" 'BEGIN { split(list, a); for (i in a) mine[a[i]] = 1 }
		$2 == 11 && ($NF in mine) { print $3; exit }' /proc/net/netlink
}
# The member has its child, and no more come or go.
steady() {
	local before
	before=$(status_get members)
	pgrep -u "$TEST_UID" -x sleep && sleep 0.5 && [ "$before" = "$(status_get members)" ]
}
spoofed() {
	local child parent
	parent=$(pgrep -u "$TEST_UID" -x sleep | head -n 1)
	child=$1
	timeout 20 "$(bin stv_netlink)" "$(port)" 2000 "$parent" "$child" >"$SCRATCH/out" 2>&1
	diag "netlink: $(cat "$SCRATCH/out")"
}

scene tmpfs || { fail "the scene"; done_testing; }
bin plain_open >/dev/null && bin stv_reuse >/dev/null
for feed in bpf connector; do
	OKNEKD_UNDER=()
	[ $feed = bpf ] || OKNEKD_UNDER=("$(bin stv_without)" bpf)
	ok "$feed: the daemon starts" start_daemon --rules "$OWN_RULES"
	if [ "$(status_get feed.name)" != $feed ]; then
		skip "$feed" "this host feeds by $(status_get feed.name)"
		ok "the daemon stops" stop_daemon
		continue
	fi
	denied "$feed: the secret is protected" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	rc=0
	timeout 60 "$(bin stv_reuse)" "$SECRET" 300 "${ROOT_TREE[@]}" >"$SCRATCH/out" 2>&1 || rc=$?
	diag "$feed: $(cat "$SCRATCH/out")"
	if [ $rc -eq 2 ]; then
		skip "$feed: reused pids" "they could not be had"
	else
		is $rc 0 "$feed: a pid that was a member's is nobody's, and the other way round"
	fi

	# A watched process, said to have forked a stranger and to be gone itself.
	# They wait in a read, and fork nobody whom the count of members could show or not.
	as_user rm -f "$WORK/member" "$WORK/stranger"
	as_user mkfifo "$WORK/member" "$WORK/stranger"
	# shellcheck disable=SC2016
	timeout 60 "${IN_TREE[@]}" bash -c 'sleep 41 & read -r _ <"$1/member"; kill %1
		"$2" "$3"' x "$WORK" "$(bin plain_open)" "$SECRET" >"$SCRATCH/member" 2>&1 &
	member=$!
	# shellcheck disable=SC2016
	timeout 60 "${OUTSIDE[@]}" bash -c 'read -r _ <"$1/stranger"
		cat "$2"' x "$WORK" "$SECRET" >"$SCRATCH/stranger" 2>&1 &
	stranger=$!
	ok "$feed: there is a member" wait_for 10 steady
	before=$(status_get members)
	if [ -n "$(port)" ]; then
		spoofed "$(pgrep -P $stranger | head -n 1)"
	elif [ $feed = connector ]; then
		fail "the connector's port is not found"
	fi
	is "$(status_get members)" "$before" "$feed: nobody has become or ceased to be a member"
	echo >"$WORK/member"
	echo >"$WORK/stranger"
	wait $member
	is $? 1 "$feed: the member is denied"
	wait $stranger
	is $? 0 "$feed: the stranger is not"
	ok "$feed: the daemon stops cleanly" stop_daemon
done
done_testing
