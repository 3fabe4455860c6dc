#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A home that is created only after its user's first run is protected for the next run at once, and
# for a tree that lives already within two seconds. So is one that is put in the place of another.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

mkdir -m 777 "$SCRATCH/turns"
for type in tmpfs ext4; do
	scene $type && other_user nohome && start_daemon --rules "$OWN_RULES" ||
		{ skip "$type" "cannot be made here"; continue; }
	ok "$type: a run without a home" "${OTHER_TREE[@]}" true
	ok "$type: the home is created" other_home
	denied "$type: the next run is denied" "${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
	gets "$type: outside it opens" "${OTHER_OUTSIDE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
	ok "$type: another home in its place" eval 'mv "$OTHER_HOME" "$OTHER_HOME.old" && other_home'
	denied "$type: the next run is denied" "${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
	denied "$type: in the old one, too" \
		"${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_HOME.old/.aws/credentials"
	mv "$OTHER_HOME" "$OTHER_HOME.older"
	ok "$type: stop" stop_daemon
	rm -rf "$STATE"

	# One that lives meanwhile; nobody else comes.
	ok "$type: start" start_daemon --rules "$OWN_RULES"
	rm -f "$SCRATCH/turns/"*
	# shellcheck disable=SC2016 # expanded by the agent's shell
	(cd / && exec timeout 30 "${OTHER_TREE[@]}" bash -c 'touch "$2/up"
		until [ -e "$2/go" ]; do sleep 0.05; done
		"$1" "$3" >"$2/out" 2>&1; echo $? >"$2/rc"' bash "$(bin plain_open)" "$SCRATCH/turns" \
		"$OTHER_SECRET") >/dev/null 2>&1 &
	ok "$type: a tree lives" wait_for 10 test -e "$SCRATCH/turns/up"
	ok "$type: the home is created" other_home
	sleep 2
	touch "$SCRATCH/turns/go"
	ok "$type: it has tried" wait_for 10 test -s "$SCRATCH/turns/rc"
	is "$(cat "$SCRATCH/turns/rc")" 1 "$type: it is denied two seconds later"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
