#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What audit alone tells has happened: where a rule asks an operator the tree is stopped for it. What
# fanotify holds beside it is not stopped for again when audit tells of it.
# serial
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
in_private_mounts "$@"
need_bin aud_host oknek oknekd plain_open route
need_command jq

need_audit_alone
host() { "$(bin aud_host)" "$@"; }
host owner >"$SCRATCH/owner" 2>&1 || skip_all "no audit here: $(cat "$SCRATCH/owner")"
[ "$(host status | cut -d' ' -f2)" != 2 ] || skip_all "audit is locked"
ours() { host rules | grep -c "$(printf oknek- | od -An -tx1 | tr -d ' \n')"; }
alone() { [ "$(ours)" -eq 0 ] && [ "$(host owner)" = 0 ]; }
wait_for 2 alone || { start_daemon --source=audit && stop_daemon; rm -rf "$STATE" "$RUN"; } >/dev/null 2>&1
alone || skip_all "audit is another's: owner $(host owner), $(ours) rules of an oknekd"

scene tmpfs || { fail "the scene"; done_testing; }
cat >"$OWN_RULES/runs.yaml" <<-'END'
	id: X703
	name: a program
	version: 1
	kind: exec_observed
	match: {all_of: [{argv: {contains: forty-two}}]}
	action:
	  default: block
END
cat >"$OWN_RULES/connects.yaml" <<-'END'
	id: X704
	name: a port
	version: 1
	kind: socket_connect
	match: {all_of: [{dest_port: {eq: 7042}}]}
	action:
	  default: block
END
hold aws.yaml
hold runs.yaml
hold connects.yaml
write_config "hold: {deadline: 10m}"
if ! start_daemon --source=audit --rules "$OWN_RULES"; then
	grep -q 'audit:' "$LOG" && skip_all "$(grep 'audit:' "$LOG" | tail -n 1)"
	fail "a daemon with audit alone"
	done_testing
fi
"$(bin route)" serve 127.0.0.1 7042 >"$SCRATCH/ready" &
ok "somebody answers" wait_for 10 grep -q ready "$SCRATCH/ready"

# does WORDS: a tree of its own does that, and then something all the time.
does() {
	as_user rm -f "$WORK/ticks" "$WORK/end"
	# shellcheck disable=SC2016 # for that shell
	opens bash -c "$1"'; until [ -e "$0/end" ]; do echo x >>"$0/ticks"; sleep 0.05; done' "$WORK" "${@:2}"
}
ticks() { wc -l <"$WORK/ticks" 2>/dev/null || echo 0; }
stands() { local n; n=$(ticks); sleep 1; [ "$(ticks)" = "$n" ]; }
grows() { local n; n=$(ticks); wait_for 20 eval "[ \$(ticks) -gt $n ]"; }
finish() { as_user touch "$WORK/end"; wait_for 30 ended "$n"; }
# stopped_for KIND PATH RULE: the last
stopped_for() {
	ok "$1: its tree is stopped" wait_for 30 held 1
	ok "$1: nothing of it goes on" wait_for 20 stands
	is "$(pending | jq -r '[.after_fact,.kind,.path,.rule]|map(tostring)|join(" ")')" "true $1 $2 $3" \
		"$1: pending says so, and for what"
	records_reach 1 "$3"
	is "$(events --rule "$3" --limit 1 | jq -r '[.verdict,.outcome,.mechanism,.source]|join(" ")')" \
		"detected observed detect audit" "$1: the record says that it was after the fact"
}

# shellcheck disable=SC2016 # for that shell
does '"$1" "$2"' "$(bin plain_open)" "$SECRET"
stopped_for file_opened "$SECRET" X700
ok "allowed for ten minutes" oknek allow "t$(token)" --for 10m
ok "it goes on" grows
finish
# shellcheck disable=SC2016
does 'x=two; /bin/echo "forty-$x"'
stopped_for exec_observed /bin/echo X703
ok "blocked" oknek block "t$(token)"
ok "it goes on" grows
finish
# shellcheck disable=SC2016
does '"$1" tcp 127.0.0.1 7042' "$(bin route)"
stopped_for socket_connect "127.0.0.1 port 7042" X704
like "$(oknek allow "t$(token)" --for 10m)" 'nothing tells it from others' "it is allowed, once"
ok "it goes on" grows
finish
ok "the daemon stops" stop_daemon

# ---- beside fanotify -------------------------------------------------------------------------------------

rm -rf "$STATE"
ok "a daemon with both" start_daemon --source=audit,fanotify --rules "$OWN_RULES"
# shellcheck disable=SC2016
does '"$1" "$2"' "$(bin plain_open)" "$SECRET"
ok "the open is held" wait_for 30 held 1
is "$(pending | jq -r .after_fact)" null "before the fact"
ok "allowed, once" oknek allow "t$(token)"
ok "it goes on" grows
is "$(events --rule X700 --limit 1 | jq -r '[.verdict,.decided_by,.source]|join(" ")')" \
	"allow operator audit,fanotify" "audit tells it, too"
sleep 2
ok "and nothing is stopped for that" held 0
grows
is "$(records X700)" 1 "nor is it recorded again"
finish
# shellcheck disable=SC2016
does 'x=two; /bin/echo "forty-$x"'
stopped_for exec_observed /bin/echo X703
ok "allowed" oknek allow "t$(token)"
ok "it goes on" grows
finish
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops" stop_daemon
ok "audit is as it was" wait_for 20 alone
done_testing
