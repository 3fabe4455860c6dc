#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whoever tells how a file is opened cannot, and an operator is asked, or would be: the deadline is kept,
# and the end of the daemon lets nobody go.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
asks_mode() { sed -i 's/any_of/all_of/; s/^    - path: .*/&\n    - open_mode: { eq: read }/' "$OWN_RULES/aws.yaml"; }
hold aws.yaml
# fanotify alone: there, how is asked of the helper.
write_config "hold: {deadline: 15s}" "deadline: 10s"
start_daemon --source=fanotify --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
readers() {
	local p
	for p in $(daemon_pids); do [[ $(cat "/proc/$p/comm" 2>/dev/null) != oknek-peek* ]] || echo "$p"; done
}
last() { events --rule X700 --limit 1 | jq -r '[.outcome,.decided_by]|join(" ")'; }

opens "$(bin plain_open)" "$SECRET"
ok "an open is held" wait_for 5 held 1
# shellcheck disable=SC2046 # numbers
kill -STOP $(readers)
asks_mode
ok "a reload asks how it is opened" oknek update --reload-local
ok "it is held still" held 1
ok "its deadline comes" wait_for 40 ended 1
came 1 1 "it is denied then"
records_reach 1 X700
is "$(last)" "denied deadline" "by the deadline, and not by who looks after us"
# shellcheck disable=SC2046 # numbers
kill -CONT $(readers)
opens "$(bin plain_open)" "$SECRET"
ok "the next is held" wait_for 5 held 1
ok "block" oknek block "t$(token)"
came 2 1 "and denied"

# shellcheck disable=SC2046 # numbers
kill -STOP $(readers)
opens "$(bin plain_open)" "$SECRET"
waits() { [ "$(oknek --json pending | grep -c .)" = 1 ]; }
ok "one waits to be looked at" wait_for 5 waits
ok "the daemon stops" stop_daemon
came 3 1 "and denies it"
done_testing
