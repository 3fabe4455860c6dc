#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whom no operator answers gets what the rule says: at the deadline, from the guardian of a daemon that
# is stopped or killed, and when the daemon ends.
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
hold aws.yaml
write_config "hold: {deadline: 4s}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
like "$(oknek --json rules | jq -r '.mechanism')" '^fanotify$' "the rule is held by fanotify"

# --- nobody answers -----------------------------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
wait_for 5 held 1
came 1 1 "after the deadline it is denied"
records_reach 1 X700
is "$(events --rule X700 --limit 1 | jq -r '[.verdict,.outcome,.decided_by]|join(" ")')" \
	"block denied deadline" "by the deadline"

# --- the daemon cannot ----------------------------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 5 held 1
kill -STOP "$DAEMON_PID"
came 2 1 "the daemon is stopped: the guardian denies it"
kill -CONT "$DAEMON_PID"
guarded() { oknek --json events --limit 0 | jq -r 'select(.decided_by == "guardian")|.outcome' | grep -q denied; }
ok "and that is told" wait_for 10 guarded
is "$(oknek --json pending | grep -c .)" 0 "nothing is pending then"
# From here on nobody waits for the deadline.
sed -i 's/deadline: 4s/deadline: 60s/' "$CONFIG"
ok "reload" oknek update --reload-local
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 5 held 1
from=$SECONDS
ok "a stop answers who is held" stop_daemon
came 3 1 "with what is answered without an operator"
ok "long before its deadline" [ $((SECONDS - from)) -lt 50 ]
start_daemon --rules "$OWN_RULES"
is "$(events --rule X700 --limit 1 | jq -r '[.outcome,.decided_by]|join(" ")')" "denied deadline" "as is told"
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 5 held 1
from=$SECONDS
kill_daemon
came 4 1 "the daemon is killed: the guardian denies it at once"
ok "long before its deadline" [ $((SECONDS - from)) -lt 50 ]
start_daemon --rules "$OWN_RULES"
is "$(oknek --json pending | grep -c .)" 0 "the next daemon knows of nobody who waits"
ok "the evidence holds" oknek verify --state-dir "$STATE"
sed -i 's/on_block: hold/&\n  on_timeout: allow\n  deadline: 1s/' "$OWN_RULES/aws.yaml"
oknek update --reload-local >/dev/null
opens "$(bin plain_open)" "$SECRET"
came 5 0 "a rule may say that it is allowed then"
ok "the daemon stops cleanly" stop_daemon
done_testing
