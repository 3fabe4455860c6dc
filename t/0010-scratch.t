#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The filesystems and the user of tests are the test's alone, and go with it.
. "$(dirname "$0")/lib.sh"
need_root
# Somebody else: in the mount namespace that everybody is in.
if [ -z "${OKNEK_PRIVATE-}" ]; then
	sleep 60 &
	export OUTSIDE=$!
fi
in_private_mounts "$@"

declare -A type=([tmpfs]=tmpfs [ext4]=ext2/ext3 [xfs]=xfs [btrfs]=btrfs [overlay]=overlayfs
	[overlay-ext4]=overlayfs)
for fs in tmpfs ext4 xfs btrfs overlay overlay-ext4; do
	ok "$fs" make_fs $fs "$SCRATCH/$fs"
	is "$(stat -f -c %T "$MNT")" "${type[$fs]}" "is a $fs"
	is "$(grep -F "$SCRATCH" "/proc/$OUTSIDE/mountinfo" 2>&1)" "" "that nobody else sees"
done
make_fs ext4 "$SCRATCH/homes"
ok "a user" test_user
is "$(as_user id -un)" oknektest "has a name"
is "$(as_user id -Gn)" oknektest "and no groups"
is "$(as_user sh -c 'cd ~oknektest && pwd')" "$SCRATCH/homes/home/oknektest" "and a home"
ok "which it can write" as_user touch "$TEST_HOME/x"
nok "unlike the scratch directory" as_user touch "$SCRATCH/x"
is "$(grep -c oknektest "/proc/$OUTSIDE/root/etc/passwd" 2>&1)" 0 "others do not know it"
if command -v sudo >/dev/null; then
	test_sudo
	is "$(as_user sudo -n id -u)" 0 "sudo without a password"
fi
kill "$OUTSIDE"
done_testing
