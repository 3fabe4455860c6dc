#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A rule is listed and shown whatever the name of its file is: names are bytes.
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open
scene tmpfs || { fail "the scene"; done_testing; }
odd=$(printf 'x\xff-\xc3\xa4-\xe2\x82.yaml')
write_rule "$odd" '.ssh/**' block X702
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
exits 1 "its rule is enforced" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/.ssh/id_test.pub"
like "$(oknek rules)" 'X702 +block' "it is listed"
like "$(oknek --json rules show X702)" 'rules/x.*xff-ä-.*xe2.*x82\.yaml' "it is shown, its name escaped"
like "$(oknek --json status)" '"count": ?2' "and counted"
like "$(oknek rules explain X702)" 'X702' "and explained"
like "$(oknek rules explain --rules "$OWN_RULES" X702)" 'X702' "also from the file"
echo 'id: X1' >"$OWN_RULES/$odd"
out=$(oknek update --reload-local 2>&1)
like "$out" 'rules/x.*yaml:1: ' "what is wrong with it is said"
ok "the daemon stops" stop_daemon
done_testing
