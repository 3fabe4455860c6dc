#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A member makes thousands of names that rules protect and that lead where nothing can be marked.
# That this is not protected is told, but not as often as it likes.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd atk_manylinks atk_json

scene tmpfs && other_user || { fail "the scene"; done_testing; }
write_rule env.yaml '**/.env.*' warn X701
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
# links DIR TARGET [each]: 3,000 of them in a project of their own
links() {
	as_user mkdir "$TEST_HOME/$1" &&
		(cd "$TEST_HOME/$1" && timeout 20 "${IN_TREE[@]}" "$(bin atk_manylinks)" 3000 .env. "${@:2}")
}
ok "3,000 links to one file" links one /proc/self/environ
told=$(records O1)
diag "records: $told"
ok "are told in some hundred records at most" test "$told" -le 500
ok "3,000 links to as many" links many /proc/self/fdinfo/ each
told=$(records O1)
diag "records: $told"
ok "as well" test "$told" -le 500
# What it used up is not somebody else's.
"${OTHER_OUTSIDE[@]}" mkdir "$OTHER_HOME/project"
"${OTHER_OUTSIDE[@]}" ln -s /proc/self/fdinfo/0 "$OTHER_HOME/project/.env.other"
(cd "$OTHER_HOME/project" && "${OTHER_TREE[@]}" true) >/dev/null 2>&1
ok "another user's is told still" wait_for 5 eval 'events --limit 0 --rule O1 | grep -q env.other'
ok "status is not too long to be read" test "$(oknek status | wc -l)" -le 400
ok "the daemon stops cleanly" stop_daemon
ok "the evidence holds" oknek verify --state-dir "$STATE"
done_testing
