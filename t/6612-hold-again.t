#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Holds over reloads, changes of mode and the end of watching; two operators; too many at once; what is
# allowed for a time; programs that are held.
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
mkdir "$MNT/bin" && cp "$(readlink -f /bin/sh)" "$MNT/bin/dash"
cat >"$OWN_RULES/exec.yaml" <<-END
	id: X800
	name: test rule
	version: 1
	kind: exec_observed
	match: { all_of: [ { bash_command: { contains: forbidden } } ] }
	action: { default: block }
	evidence: { capture: [ argv ] }
END
write_config "exec: {programs: [\"$MNT/bin/dash\"]}" "on_block: hold" "rules: {X800: {on_block: deny}}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
is "$(oknek --json rules | jq -r '"\(.id) \(.on_block)"' | xargs)" "X700 hold X800 deny" \
	"the host says who is asked about, and of which rule not"
opens "$MNT/bin/dash" -c ': forbidden'
came 1 126 "what is not held is denied at once"

# --- a reload -----------------------------------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
wait_for 5 held 1
t=$(token)
sed -i 's/^on_block: hold/&\nhold: {deadline: 30s}/' "$CONFIG"
ok "reload" oknek update --reload-local
is "$(token)" "$t" "a reload leaves who is held, by the same token"
is "$(pending | jq '.deadline - .since')" 30 "with less time, if the rules say so"
write_config "exec: {programs: [\"$MNT/bin/dash\"]}" "on_block: hold" "rules: {X700: {action: allow}}"
ok "reload" oknek update --reload-local
came 2 0 "who is allowed by the new rules goes on"
write_config "exec: {programs: [\"$MNT/bin/dash\"]}" "on_block: hold"
ok "reload" oknek update --reload-local

# --- two operators --------------------------------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
wait_for 5 held 1
t=$(token)
for k in 1 2 3 4; do { oknek allow "t$t" >"$SCRATCH/op.$k" 2>&1; echo $? >>"$SCRATCH/op.$k"; } & p[k]=$!; done
wait "${p[@]}"
is "$(cat "$SCRATCH"/op.? | grep -c '^0$')" 1 "of four operators one is first"
is "$(cat "$SCRATCH"/op.? | grep -c 'answered already')" 3 "and the others are told"
came 3 0 "it opens"

# --- mode, unwatch ----------------------------------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 5 held 1
oknek mode observe >/dev/null
came 4 0 "who only observes holds nobody"
oknek mode enforce >/dev/null
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 5 held 1
ok "unwatch" oknek unwatch "$(pending | jq .process.pid)"
came 5 0 "who is watched no more is let go"
let_go() { [ "$(events --rule X700 --limit 1 | jq -r '[.verdict,.outcome,.decided_by]|join(" ")')" = "allow allowed operator" ]; }
ok "and the record says by whom, and not that it had ended" wait_for 5 let_go

# --- programs ---------------------------------------------------------------------------------------
opens "$MNT/bin/dash" -c ': forbidden; echo did'
ok "a program is held" wait_for 5 held 1
is "$(pending | jq -c '[.kind,.rule,.argv[1:]]')" '["exec_observed","X800",["-c",": forbidden; echo did"]]' \
	"and pending says with which arguments"
like "$(oknek pending)" 'X800 +.*dash -c : forbidden; echo did' "for people, too"
ok "allow" oknek allow "t$(token)"
came 6 0 "it runs" did
opens "$MNT/bin/dash" -c ': forbidden; echo did'
wait_for 5 held 1
ok "block" oknek block "t$(token)"
came 7 126 "it does not run"
records_reach 3 X800
is "$(events --rule X800 --limit 2 | jq -r '[.verdict,.outcome,.decided_by]|join(" ")')" \
	"allow allowed operator
block denied operator" "both are told"
like "$(events --rule X800 --limit 1 | jq -c .capture.argv)" 'forbidden; echo did' "with the arguments"

# --- for a time ---------------------------------------------------------------------------------------
# shellcheck disable=SC2016 # for that shell
opens bash -c 'for i in 1 2 3; do "$1" "$2"; done; sleep 8; "$1" "$2"' bash "$(bin plain_open)" "$SECRET"
wait_for 5 held 1
like "$(oknek allow "t$(token)" --for 7s)" 'until then' "allowed for seven seconds"
thrice() { [ "$(grep -c "$TOKEN" "$SCRATCH/got.8")" = 3 ]; }
ok "the same is not asked again" wait_for 5 thrice
ok "until they are over" wait_for 20 held 1
p=$(pending | jq .process.pid)
opens "$(bin plain_open)" "$SECRET"
ok "another tree is asked about" wait_for 5 held 2
ok "block --kill" oknek block "$p" --kill
came 8 137 "ends who was held"
oknek block "t$(token)" >/dev/null
came 9 1 "and no other"
for k in 10 11 12; do
	opens "$(bin plain_open)" "$SECRET"
	wait_for 5 held 1 && oknek block "$(pending | jq .process.pid)" --kill >/dev/null
	wait_for 10 ended $k
done
is "$(cat "$SCRATCH"/rc.1[0-2] | xargs)" "137 137 137" "who is ended does not hear of the answer before"

# --- too many -----------------------------------------------------------------------------------------
# Also where they are allowed when nobody answers: who has many could have all of his places taken.
sed -i 's/^  default: .*/&\n  on_timeout: allow/' "$OWN_RULES/aws.yaml"
ok "reload" oknek update --reload-local
# shellcheck disable=SC2016 # for that shell
opens bash -c 'for i in $(seq 33); do "$1" "$2" & done; wait' bash "$(bin plain_open)" "$SECRET"
ok "32 of a tree are held" wait_for 10 held 32
records_at_once() { events --rule X700 --limit 3 | jq -r '.decided_by + " " + .outcome' | grep -qx 'deadline denied'; }
ok "the next is denied at once" wait_for 5 records_at_once
ok "one answer for one of them" oknek block "t$(token)"
ok "is one for all who wait for the same" wait_for 5 held 0
ok "the evidence holds" oknek verify --state-dir "$STATE"
is "$(status_get enforcement.pending)" 0 "no place is lost"
ok "the daemon stops cleanly" stop_daemon
done_testing
