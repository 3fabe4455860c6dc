#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an operator lets through for a time is that file: another one that comes to have its number, and then
# its name, too, is asked about.
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq mkfs.ext4
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene ext4 || skip_all "no ext4 can be made here"
write_rule aws.yaml '.aws/*'
hold aws.yaml
write_config "hold: {deadline: 60s}"
harmless=$TEST_HOME/.aws/notes
put "$harmless" "nothing but notes"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }

# One tree, which opens what is written to $WORK/ask.N.
# shellcheck disable=SC2016 # for that shell
opens bash -c 'for i in 1 2 3 4; do
		until [ -e "$2/ask.$i" ]; do sleep 0.05; done
		"$1" "$(cat "$2/ask.$i")" >"$2/out.$i" 2>&1
		echo $? >"$2/rc.$i"
	done' bash "$(bin plain_open)" "$WORK"
asks() { put "$WORK/ask.new" "$2"; as_user mv "$WORK/ask.new" "$WORK/ask.$1"; }
has_got() { wait_for 30 test -s "$WORK/rc.$1" && grep -q "$2" "$WORK/out.$1"; }
inode() { stat -c %i "$1"; }

asks 1 "$harmless"
ok "a file is held" wait_for 30 held 1
ok "it is allowed for ten minutes" oknek allow "t$(token)" --for 10m
ok "it opens" has_got 1 notes
asks 2 "$harmless"
ok "the same is not asked about" has_got 2 notes

# The secret is written anew, as it often is, by a file that takes its place, and which has that number.
number=$(inode "$harmless")
as_user rm "$harmless"
for i in $(seq 200); do
	put "$TEST_HOME/.aws/new.$i" "$TOKEN"
	[ "$(inode "$TEST_HOME/.aws/new.$i")" != "$number" ] || break
done
[ "$(inode "$TEST_HOME/.aws/new.$i")" = "$number" ] || { diag "the number is not used again here"; number=; }
as_user mv "$TEST_HOME/.aws/new.$i" "$SECRET"
asks 3 "$SECRET"
ok "the secret, of that number, is held" wait_for 30 held 1
is "$(pending | jq -r .path)" "$SECRET" "by its name"
oknek allow "t$(token)" --once >"$SCRATCH/out"
ok "somebody lets it through once" has_got 3 "$TOKEN"
as_user mv "$SECRET" "$harmless"
asks 4 "$harmless"
ok "so it is by the other's name" wait_for 30 held 1
[ -z "$number" ] || is "$(inode "$harmless")" "$number" "and number"
oknek block "t$(token)" >"$SCRATCH/out"
ok "blocked" wait_for 30 test -s "$WORK/rc.4"
nok "it has not got it" grep -q "$TOKEN" "$WORK/out.4"
ok "the tree ends" wait_for 30 ended 1
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops cleanly" stop_daemon
done_testing
