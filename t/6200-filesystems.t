#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is protected on each filesystem: what is there, what comes later, what lies on a filesystem of
# its own below the home; and that a filesystem which cannot be trusted is said to be left out.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

open_it=$(bin plain_open)

later() { # later TYPE: files and directories that come while the daemon runs
	local d
	put "$TEST_HOME/.aws/credentials" "$TOKEN new inode"
	denied "$1: written anew in place" "${IN_TREE[@]}" "$open_it" "$SECRET"
	as_user rm "$SECRET"
	put "$SECRET" "$TOKEN again"
	denied "$1: removed and made again" "${IN_TREE[@]}" "$open_it" "$SECRET"
	put "$TEST_HOME/.config/gh/hosts.yml" "$TOKEN"
	sleep 0.3
	denied "$1: directories that did not exist" \
		"${IN_TREE[@]}" "$open_it" "$TEST_HOME/.config/gh/hosts.yml"
	as_user mkdir -p "$TEST_HOME/elsewhere/keys/deep"
	put "$TEST_HOME/elsewhere/keys/deep/one.key" "$TOKEN"
	as_user mv "$TEST_HOME/elsewhere/keys" "$TEST_HOME/keys"
	sleep 0.3
	denied "$1: a directory that is moved to a protected place" \
		"${IN_TREE[@]}" "$open_it" "$TEST_HOME/keys/deep/one.key"
	gets "$1: outside the tree it opens" "${OUTSIDE[@]}" "$open_it" "$TEST_HOME/keys/deep/one.key"
	d=$TEST_HOME/keys/deep/new
	as_user mkdir "$d"
	sleep 0.3
	put "$d/two.key" "$TOKEN"
	denied "$1: a new directory below **" "${IN_TREE[@]}" "$open_it" "$d/two.key"
	put "$TEST_HOME/free/two.key" "$TOKEN"
	gets "$1: what no rule names opens in the tree" \
		"${IN_TREE[@]}" "$open_it" "$TEST_HOME/free/two.key"
	as_user rm -rf "$TEST_HOME/.aws"
	as_user mkdir "$TEST_HOME/.aws"
	sleep 0.3
	put "$SECRET" "$TOKEN"
	denied "$1: the directory removed and made again" "${IN_TREE[@]}" "$open_it" "$SECRET"
	as_user mv "$TEST_HOME/.aws" "$TEST_HOME/.aws.old"
	as_user mkdir "$TEST_HOME/.aws"
	sleep 0.3
	put "$SECRET" "$TOKEN"
	denied "$1: another directory in its place" "${IN_TREE[@]}" "$open_it" "$SECRET"
	denied "$1: and the old one under its new name" \
		"${IN_TREE[@]}" "$open_it" "$TEST_HOME/.aws.old/credentials"
	as_user rm -rf "$TEST_HOME/.aws.old"
}

for type in tmpfs ext4 xfs btrfs overlay overlay-ext4; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	write_rule gh.yaml .config/gh/hosts.yml block X703
	write_rule keys.yaml 'keys/**' block X704
	if [ $type = btrfs ]; then
		# The secrets in a subvolume of their own: another device number in the same filesystem.
		as_user rm -rf "$TEST_HOME/.ssh"
		btrfs -q subvolume create "$TEST_HOME/.ssh"
		chown "$TEST_UID:$TEST_UID" "$TEST_HOME/.ssh"
		lay_secret
	fi
	put "$TEST_HOME/.ssh/id_test" "$TOKEN"
	write_rule ssh.yaml '.ssh/id_test' block X705
	if ! start_daemon --rules "$OWN_RULES"; then
		fail "$type: the daemon starts"
		scene_end
		continue
	fi
	denied "$type: what is there" "${IN_TREE[@]}" "$open_it" "$SECRET"
	denied "$type: in another directory (on btrfs: a subvolume)" \
		"${IN_TREE[@]}" "$open_it" "$TEST_HOME/.ssh/id_test"
	ok "$type: beside it" "${IN_TREE[@]}" cat "$TEST_HOME/.ssh/id_test.pub"
	later $type

	# A filesystem of its own where the rule points.
	as_user mkdir -p "$TEST_HOME/keys"
	if mount -t tmpfs -o "mode=755,uid=$TEST_UID,gid=$TEST_UID" oknek-test "$TEST_HOME/keys"; then
		put "$TEST_HOME/keys/mounted.key" "$TOKEN"
		ok "$type: stop" stop_daemon
		ok "$type: start with a filesystem below the home" start_daemon --rules "$OWN_RULES"
		denied "$type: a file on a filesystem mounted below the home" \
			"${IN_TREE[@]}" "$open_it" "$TEST_HOME/keys/mounted.key"
		ok "$type: stop" stop_daemon
		umount "$TEST_HOME/keys"
	fi
	rm -f "$OWN_RULES/gh.yaml" "$OWN_RULES/keys.yaml" "$OWN_RULES/ssh.yaml"
	[ -z "$DAEMON_PID" ] || ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done

# Outside fanotify.only nothing is marked, not even for a member.
scene tmpfs
mkdir "$MNT/only"
sed -i "s,only: .*,only: [\"$MNT/only\"]}," "$CONFIG"
ok "marks on one directory alone" start_daemon --rules "$OWN_RULES"
gets "what lies elsewhere is left alone" "${IN_TREE[@]}" "$open_it" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
done_testing
