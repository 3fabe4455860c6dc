#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Something else sits where a secret should be: a pipe, a socket, a device, a directory, a filesystem
# whose server never answers. The daemon starts, answers, and stops as if nothing were there; only
# whoever opens such a thing waits for it.
# sanitize: address
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

open_it=$(bin plain_open)
put_key() { put "$TEST_HOME/.ssh/id_test" "$TOKEN"; }

# alive LABEL: the daemon answers, enforces elsewhere, and hinders nobody.
alive() {
	ok "$1: status answers" timeout 5 "$(bin oknek)" --run-dir "$RUN" status
	denied "$1: another secret is denied" \
		timeout 10 "${IN_TREE[@]}" "$open_it" "$TEST_HOME/.ssh/id_test"
	gets "$1: outside the tree it opens" \
		timeout 10 "${OUTSIDE[@]}" "$open_it" "$TEST_HOME/.ssh/id_test"
	ok "$1: ordinary files open in the tree" \
		timeout 10 "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
}
# around LABEL: it is there as the daemon starts, as rules are reloaded, and as it stops.
around() {
	local began=$SECONDS
	ok "$1: the daemon starts" start_daemon --rules "$OWN_RULES"
	ok "$1: within ten seconds" test $((SECONDS - began)) -lt 10
	alive "$1"
	# A member asks for it; it may wait for ever, and that is its own affair.
	timeout -s KILL 2 "${IN_TREE[@]}" "$open_it" "$SECRET" >/dev/null 2>&1
	alive "$1, asked for"
	ok "$1: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	alive "$1, reloaded"
	ok "$1: the daemon stops cleanly" stop_daemon
}
empty_place() { as_user rm -rf "$TEST_HOME/.aws"; as_user mkdir "$TEST_HOME/.aws"; }

for type in tmpfs ext4; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	write_rule ssh.yaml .ssh/id_test block X705
	put_key

	empty_place
	as_user mkfifo "$SECRET"
	around "$type, a FIFO"

	empty_place
	mknod "$SECRET" c 5 0 && chmod 666 "$SECRET"
	around "$type, a terminal"

	empty_place
	as_user mkdir "$SECRET"
	around "$type, a directory"

	empty_place
	as_user ln -s credentials "$SECRET"
	around "$type, a link to itself"

	empty_place
	as_user ln -s ../.ssh/id_test "$SECRET"
	around "$type, a link to another secret"

	empty_place
	as_user rmdir "$TEST_HOME/.aws"
	as_user ln -s / "$TEST_HOME/.aws"
	around "$type, a directory that is a link to /"
	as_user rm "$TEST_HOME/.aws"
	as_user mkdir "$TEST_HOME/.aws"

	# While it runs.
	lay_secret
	ok "$type: start" start_daemon --rules "$OWN_RULES"
	denied "$type: a file first" "${IN_TREE[@]}" "$open_it" "$SECRET"
	timeout 10 "${IN_TREE[@]}" sh -c 'mv "$1" "$1.x"; mkfifo "$1"' sh "$SECRET"
	sleep 0.2
	timeout -s KILL 1 "${IN_TREE[@]}" cat "$SECRET" >/dev/null 2>&1
	alive "$type, a member put a FIFO there"
	denied "$type: and the file is denied where it went" "${IN_TREE[@]}" "$open_it" "$SECRET.x"
	ok "$type: the daemon stops cleanly" stop_daemon
	as_user rm -rf "$SECRET" "$SECRET.x"

	server=$(bin atk_fusehang) || { skip "$type, FUSE" "atk_fusehang is not built"; scene_end; continue; }
	for where in open lookup; do
		empty_place
		"$server" "$TEST_HOME/.aws" $where >"$SCRATCH/fuse" 2>&1 &
		fuse=$!
		if ! wait_for 5 grep -q mounted "$SCRATCH/fuse"; then
			skip "$type, FUSE" "cannot be mounted: $(cat "$SCRATCH/fuse")"
			break
		fi
		around "$type, a FUSE server that hangs at $where"
		kill -KILL $fuse
		wait $fuse 2>/dev/null
		umount -l "$TEST_HOME/.aws"
	done

	# It is mounted over the place while the daemon runs.
	empty_place
	lay_secret
	ok "$type: start" start_daemon --rules "$OWN_RULES"
	denied "$type: a file first" "${IN_TREE[@]}" "$open_it" "$SECRET"
	"$server" "$TEST_HOME/.aws" lookup >"$SCRATCH/fuse" 2>&1 &
	fuse=$!
	if wait_for 5 grep -q mounted "$SCRATCH/fuse"; then
		timeout -s KILL 1 "${IN_TREE[@]}" cat "$SECRET" >/dev/null 2>&1
		alive "$type, FUSE mounted meanwhile"
		ok "$type: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
		alive "$type, FUSE mounted meanwhile, reloaded"
	fi
	kill -KILL $fuse
	wait $fuse 2>/dev/null
	umount -l "$TEST_HOME/.aws" 2>/dev/null
	denied "$type: the file below is denied as before" "${IN_TREE[@]}" "$open_it" "$SECRET"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
