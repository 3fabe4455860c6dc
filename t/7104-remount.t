#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The filesystem with the home is unmounted and mounted again: marks die with the mount's inodes, and
# must be there again for the next tree and for one that lived meanwhile.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

# The loop device stays the same by an open descriptor; the last one to let go of it detaches it.
remount() {
	local dev
	dev=$(findmnt -no SOURCE "$MNT") && exec 9<"$dev" || return
	umount "$MNT" && mount "$dev" "$MNT"
	local rc=$?
	exec 9<&-
	return $rc
}
# A tree that tries once, when it is told to.
# shellcheck disable=SC2016 # expanded by the agent's shell
tries='echo >"$2/$4.up"; until [ -e "$2/$4.go" ]; do sleep 0.05; done
	"$1" "$3" >"$2/$4.out" 2>&1; echo $? >"$2/$4.rc"'
mkdir -m 777 "$SCRATCH/turns"
lives() { # lives NAME: from outside of the filesystem, so that it can be unmounted
	(cd / && exec timeout 30 "${IN_TREE[@]}" bash -c "$tries" bash "$(bin plain_open)" "$SCRATCH/turns" \
		"$SECRET" "$1") >/dev/null 2>&1 &
	wait_for 10 test -e "$SCRATCH/turns/$1.up"
}
tried() {
	touch "$SCRATCH/turns/$1.go"
	wait_for 10 test -s "$SCRATCH/turns/$1.rc"
}
turn() { cat "$SCRATCH/turns/$1.rc" 2>&1; }

if ! scene ext4; then
	skip "remount" "no ext4 can be mounted here"
	done_testing
fi
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
cd /
ok "a tree lives" lives first
denied "before, an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the filesystem is mounted anew" remount
gets "outside it opens" "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
denied "the next agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the tree that lived has tried" tried first
is "$(turn first)" 1 "it is denied"

# Now nobody comes meanwhile who would have the marks set.
ok "another tree lives" lives second
ok "the filesystem is mounted anew" remount
sleep 2
ok "the tree that lived has tried" tried second
is "$(turn second)" 1 "it is denied, though nobody ran anything meanwhile"
denied "the next agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
done_testing
