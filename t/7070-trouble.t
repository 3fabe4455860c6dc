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
	local bad=0
	for _ in 1 2 3 4 5; do
		timeout 10 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1
		[ $? -eq 1 ] || bad=$((bad + 1))
	done
	is $bad 0 "$1: a member is denied"
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

before=$(records X700)
mount -o remount,ro "$STATE"
deny_some "read-only state directory"
ok "read-only: the operator is told" wait_for 15 status_is evidence.ok false
diag "$(status_get evidence.why)"
mount -o remount,rw "$STATE"
recovered "read-only" $((before + 5))
ok "the daemon stops cleanly" stop_daemon

# It also starts there.
mount -o remount,ro "$STATE"
ok "it starts on a read-only state directory" start_daemon --rules "$OWN_RULES"
deny_some "started read-only"
mount -o remount,rw "$STATE"
ok "the daemon stops cleanly" stop_daemon
umount "$STATE"

# With nothing left of all that, it begins a new chain.
mkdir -p "$STATE"
ok "it starts afresh" start_daemon --rules "$OWN_RULES"
deny_some "afresh"
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops cleanly" stop_daemon
done_testing
