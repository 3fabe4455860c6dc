#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Connections are never held: what the kernel refuses is denied at once, and for what it does not know
# enough of the tree is stopped after the fact.
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach plain_open
need_command jq

R=$(bin reach)
"$R" up 203.0.113.1 203.0.113.2 203.0.113.3 || skip_all "no addresses"
scene tmpfs || { fail "the scene"; done_testing; }
rm "$OWN_RULES"/*
rule() { # ID MATCH
	printf '%s\n' "id: $1" 'name: a connection' 'version: 1' 'kind: socket_connect' "match: {$2}" 'action:' \
		'  default: block' >"$OWN_RULES/$1.yaml"
	hold "$1.yaml"
}
rule X801 'all_of: [{dest_ip: {eq: 203.0.113.1}}, {process_name: {eq: reach}}]'
rule X802 'any_of: [{dest_ip: {eq: 203.0.113.2}}, {all_of: [{dest_ip: {eq: 203.0.113.3}}, {process_name: {eq: reach}}]}]'
write_config "hold: {deadline: 10m}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
[ "$(oknek --json egress | jq -r .attached)" = true ] || skip_all "no egress jail here"
bound() { oknek --json rules | jq -r "select(.id == \"$1\") | .mechanism + \" \" + (.why // \"\")"; }
like "$(bound X801)" '^detect .*does not know process_name: only detected' "what the kernel does not know is detected"
like "$(bound X802)" '^(cgroup|lsm) what it says by process_name is only detected; connections cannot be held: denied at once' \
	"what it knows it denies at once"

# does ADDRESS: a tree of its own connects, and then does something all the time.
does() {
	as_user rm -f "$WORK/ticks" "$WORK/end"
	# shellcheck disable=SC2016 # for that shell
	opens bash -c '"$1" tcp "$2" 443; echo "then $?"; until [ -e "$0/end" ]; do echo x >>"$0/ticks"; sleep 0.05; done' \
		"$WORK" "$R" "$1"
}
ticks() { wc -l <"$WORK/ticks" 2>/dev/null || echo 0; }
stands() { local n; n=$(ticks); sleep 1; [ "$(ticks)" = "$n" ]; }
grows() { local n; n=$(ticks); wait_for 20 eval "[ \$(ticks) -gt $n ]"; }
finish() { as_user touch "$WORK/end"; wait_for 30 ended "$n"; }
stopped() { # ADDRESS RULE
	does "$1"
	ok "$1: its tree is stopped" wait_for 30 held 1
	ok "$1: nothing of it goes on" wait_for 20 stands
	is "$(pending | jq -r '[.after_fact,.kind,.path,.rule]|map(tostring)|join(" ")')" \
		"true socket_connect $1 port 443 $2" "$1: pending says so, and for what"
	records_reach 1 "$2"
	is "$(events --rule "$2" --limit 1 | jq -r .verdict)" detected "$1: the record says that it was after the fact"
}

stopped 203.0.113.1 X801
out=$(oknek allow "t$(token)" --always 2>&1)
is "$?" 2 "there is no --always for connections"
like "$out" 'egress.allow' "and what there is is said"
like "$(oknek allow "t$(token)" --for 10m)" 'only this once: nothing tells it from others' "it is allowed, once"
ok "it goes on" grows
finish
stopped 203.0.113.3 X802
ok "blocked" oknek block "t$(token)"
ok "it goes on" grows
finish
n_before=$(records X802)
does 203.0.113.2
ok "what the kernel refuses is recorded" records_reach $((n_before + 1)) X802
is "$(events --rule X802 --limit 1 | jq -r '[.verdict,.outcome]|join(" ")')" "block denied" "as denied"
ok "it goes on" grows
ok "and nobody is asked" held 0
finish
like "$(cat "$SCRATCH/got.$n")" 'then 1' "it was refused"
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops" stop_daemon
done_testing
