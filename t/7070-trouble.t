#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Evidence cannot be written: the disk is full, the database is locked, the directory is read-only.
# The verdicts go on, the operator is told, and what could be kept is recorded later.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
mkdir -p "$STATE"
mount -t tmpfs -o size=4m,mode=700 oknek-state "$STATE"
ok "the daemon starts" start_daemon --rules "$OWN_RULES"

deny_some() { # deny_some LABEL
	local rc=0
	# shellcheck disable=SC2016
	timeout 20 "${IN_TREE[@]}" sh -c 'for _ in 1 2 3 4 5; do
			"$1" "$2"
			[ $? -eq 1 ] || exit 9
		done' sh "$(bin plain_open)" "$SECRET" >/dev/null 2>&1 || rc=$?
	is $rc 0 "$1: a member is denied, five times"
	gets "$1: outside the tree it opens" "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
}
recovered() { # recovered LABEL COUNT
	ok "$1: it recovers by itself" wait_for 40 status_is evidence.ok true
	ok "$1: what happened meanwhile is recorded" records_reach "$2" X700
	ok "$1: the evidence holds" oknek verify --state-dir "$STATE"
}

deny_some "in order"
ok "in order: it is recorded" records_reach 5 X700

if locker=$(bin atk_dblock); then
	"$locker" "$STATE/oknek.db" 8 >"$SCRATCH/locked" 2>&1 &
	ok "the database is locked" wait_for 5 grep -q locked "$SCRATCH/locked"
	deny_some "locked database"
	ok "locked database: the operator is told" wait_for 8 status_is evidence.ok false
	diag "$(status_get evidence.why)"
	recovered "locked database" 10
else
	skip "locked database" "atk_dblock is not built"
	deny_some "instead"
fi

dd if=/dev/zero of="$STATE/filler" bs=4k 2>/dev/null
deny_some "full disk"
for _ in 1 2 3 4 5 6 7 8; do
	timeout 60 "${IN_TREE[@]}" sh -c \
		'i=0; while [ $i -lt 100 ]; do : <"$1"; i=$((i + 1)); done 2>/dev/null' sh "$SECRET"
	status_is evidence.ok false && break
done
ok "full disk: the operator is told" wait_for 15 status_is evidence.ok false
diag "$(status_get evidence.why)"
isnt "$(oknek status | grep -ci 'not written')" 0 "full disk: status says so in words"
rm -f "$STATE/filler"
recovered "full disk" 15

ok "the daemon stops cleanly" stop_daemon

# It also starts there.
mount -o remount,ro "$STATE"
ok "it starts on a read-only state directory" start_daemon --rules "$OWN_RULES"
deny_some "started read-only"
mount -o remount,rw "$STATE"
ok "the daemon stops cleanly" stop_daemon
umount "$STATE"

# A filesystem that stands still, and one that gave up: the store's thread may hang in the kernel,
# the verdicts must not.
make_fs ext4 "$SCRATCH/state.ext4" && MNT=$SCRATCH/tmpfs.mnt
STATE=$SCRATCH/state.ext4/oknek
trap 'rc=$?; fsfreeze -u "$SCRATCH/state.ext4" 2>/dev/null; end_left_behind; (exit $rc); cleanup' EXIT
ok "it starts on ext4" start_daemon --rules "$OWN_RULES"
deny_some "ext4"
ok "ext4: it is recorded" records_reach 5 X700
ok "the filesystem is frozen" fsfreeze -f "$SCRATCH/state.ext4"
deny_some "frozen"
ok "frozen: status answers" timeout 5 "$(bin oknek)" --run-dir "$RUN" status
ok "the filesystem is thawed" fsfreeze -u "$SCRATCH/state.ext4"
recovered "thawed" 10

error=/sys/fs/ext4/$(basename "$(findmnt -no SOURCE "$SCRATCH/state.ext4")")/trigger_fs_error
mount -o remount,errors=remount-ro "$SCRATCH/state.ext4"
if [ -w "$error" ] && echo test >"$error"; then
	deny_some "read-only after an error"
	ok "read-only: the operator is told" wait_for 15 status_is evidence.ok false
	diag "$(status_get evidence.why)"
	ok "the daemon stops cleanly" stop_daemon
else
	skip "read-only after an error" "no $error"
	ok "the daemon stops cleanly" stop_daemon
fi
done_testing
