#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pattern that floats holds in the project a command is run in, in directories that are made later
# too. Where programs keep files by the thousand, what matches is marked, and not each directory.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open

scene tmpfs || { fail "the scene"; done_testing; }
write_rule state.yaml '**/terraform.tfstate' block X702
sed -i 's|~/\*\*/|**/|' "$OWN_RULES/state.yaml"
project=$TEST_HOME/project
as_user mkdir -p "$project/src" "$project/node_modules/a/b"
for i in $(seq 200); do
	as_user mkdir "$project/node_modules/p$i"
done
secret_at() { printf '%s\n' "state = $TOKEN" | as_user tee "$1" >/dev/null; }
secret_at "$project/src/terraform.tfstate"
secret_at "$project/node_modules/a/b/terraform.tfstate"
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
cd "$project" || fail "the project"

denied "in the project" "${IN_TREE[@]}" "$(bin plain_open)" "$project/src/terraform.tfstate"
denied "where programs keep theirs, what is there already" \
	"${IN_TREE[@]}" "$(bin plain_open)" "$project/node_modules/a/b/terraform.tfstate"
marks=$(permission_marks)
ok "not each of 200 directories there has a permission mark ($marks)" test "$marks" -lt 100
isnt "$marks" 0 "but there are some"
gets "outside a tree it opens" "${OUTSIDE[@]}" "$(bin plain_open)" "$project/src/terraform.tfstate"
# A tree that lives meanwhile, so that changes are followed.
timeout 60 "${IN_TREE[@]}" sleep 50 >/dev/null 2>&1 &
as_user mkdir "$project/new"
sleep 0.5
secret_at "$project/new/terraform.tfstate"
denied "in a directory that is new, at once" \
	"${IN_TREE[@]}" "$(bin plain_open)" "$project/new/terraform.tfstate"
secret_at "$project/node_modules/p7/terraform.tfstate"
sleep 0.5
denied "where programs keep theirs, what came a moment ago" \
	"${IN_TREE[@]}" "$(bin plain_open)" "$project/node_modules/p7/terraform.tfstate"
cd / || exit
ok "the daemon stops cleanly" stop_daemon
done_testing
