#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names in the egress section: resolved at start and reload, by a helper without privilege; one that
# has no address is a warning, its last ones stay. What people are told of a denied connection. And
# on_unenforceable.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach
need_command jq

R=$(bin reach)
"$R" up 203.0.113.1 203.0.113.2 203.0.113.3 169.254.169.254 2001:db8::1 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
hosts() { printf '%s\n' '127.0.0.1 localhost' "$@" >"$SCRATCH/hosts"; }
hosts '203.0.113.1 llm.example' '2001:db8::1 llm.example' '169.254.169.254 evil.example'
mount --bind "$SCRATCH/hosts" /etc/hosts
echo 'hosts: files' >"$SCRATCH/nsswitch"
mount --bind "$SCRATCH/nsswitch" /etc/nsswitch.conf
printf 'nameserver 203.0.113.3\n' >"$SCRATCH/resolv"
mount --bind "$SCRATCH/resolv" /etc/resolv.conf
reach() { # reach WANT DESC WAY…
	local want=$1 desc=$2 rc=0
	shift 2
	agent "$R" "$@" >/dev/null 2>&1 || rc=$?
	is $rc "$want" "$desc"
}

write_config 'egress: {gateway: [LLM.example:443, missing.example], allow: [evil.example]}'
start_daemon || skip_all "no daemon"
reach 0 "a name is reached by its address" tcp 203.0.113.1 443
reach 0 "and by the other one" tcp 2001:db8::1 443
reach 1 "by that port alone" tcp 203.0.113.1 80
reach 1 "another is not" tcp 203.0.113.2 443
reach 1 "a name that leads to cloud metadata does not allow it" tcp 169.254.169.254 80
reach 0 "the name server of resolv.conf is reached" sendto 203.0.113.3 53
like "$(oknek --json status | jq -c .warnings)" 'missing.example cannot be resolved' "a name without address is a warning"
like "$(oknek egress)" 'LLM.example:443: .*203.0.113.1.*asked' "oknek egress has the addresses and their age"
is "$(oknek --json egress | jq -r '.gateway[1].error != null')" true "and what is wrong with the other"
names=$(for p in $(pgrep -P "$DAEMON_PID"); do [ "$(cat "/proc/$p/comm")" = oknek-names ] && echo "$p"; done)
isnt "$names" '' "there is a helper for names"
is "$(awk '/^CapPrm|^CapEff/ { print $2 }' "/proc/$names/status" | sort -u)" 0000000000000000 "without privilege"
isnt "$(awk '/^Uid/ { print $2 }' "/proc/$names/status")" 0 "which is not root"

hosts '203.0.113.2 llm.example'
ok "reload" oknek update --reload-local
ok "the new address is reached" wait_for 5 agent "$R" tcp 203.0.113.2 443
reach 0 "and the old one, for a while" tcp 203.0.113.1 443
hosts
ok "reload" oknek update --reload-local
sleep 1.5
reach 0 "without an answer the last ones stay" tcp 203.0.113.2 443
like "$(oknek egress)" 'as before: ' "which is told"
printf 'nameserver 203.0.113.2\n' >"$SCRATCH/resolv"
wait_for 10 agent "$R" sendto 203.0.113.2 53
reach 0 "another resolv.conf is noticed" sendto 203.0.113.2 53
reach 1 "the old one is no resolver any more" sendto 203.0.113.3 53

# ---- what people are told ------------------------------------------------------------------------

reach 1 "denied" tcp 203.0.113.3 8443
ok "the event is there" wait_for 5 eval 'oknek events | grep -q 203.0.113.3:8443'
like "$(oknek events | tail -n 2)" 'BLOCK +R5 .*203.0.113.3:8443 .*EPERM via cgroup' "oknek events"
oknek why >"$SCRATCH/why"
like "$(cat "$SCRATCH/why")" 'denied .*reach .pid [0-9]+. connecting to 203.0.113.3:8443: rule' "oknek why names the destination"
like "$(cat "$SCRATCH/why")" 'egress.allow in /etc/oknek/oknek.yaml: ..203.0.113.3:8443' "and the way to allow it"
unlike "$(tail -n 1 "$SCRATCH/why")" 'readers' "no reader of a file is offered"
reach 1 "docker's socket is denied" unix /nonexistent/docker.sock
like "$(oknek events | tail -n 1)" 'R5 .*/nonexistent/docker.sock' "and its path told"

# ---- too fast to be told one by one --------------------------------------------------------------

seq=$(oknek --json events --limit 1 | jq .seq)
agent bash -c 'for ((i = 0; i < 3000; i++)); do : >/dev/udp/203.0.113.3/9; done' 2>/dev/null
noted() { oknek --json events --rule O1 | jq -s "map(select(.seq > $seq and .rule.name == \"connections not recorded\") | .capture.count) | add // 0"; }
told() { oknek --json events --rule R5 --limit 10000 | jq -s "map(select(.seq > $seq)) | length"; }
# What is counted is told every few seconds: the last of it after the last of what is recorded.
wait_for 60 eval '[ $(($(told) + $(noted))) -ge 3000 ]'
diag "$(told) records, $(noted) counted"
is $(($(told) + $(noted))) 3000 "each of 3,000 refusals is recorded or counted"
is "$(oknek --json egress | jq .not_recorded)" "$(noted)" "which oknek egress tells, also when the tree has ended"
# The same for what a rule warns of, which is let through.
cp "$CONFIG" "$SCRATCH/good"
echo 'rules: {R5: {action: warn}, R11: {action: warn}}' >>"$CONFIG"
ok "R5 and R11 only warn" oknek update --reload-local
seq=$(oknek --json events --limit 1 | jq .seq) known=$(oknek --json egress | jq .not_recorded)
agent bash -c 'for ((i = 0; i < 1000; i++)); do : >/dev/udp/203.0.113.3/9; done'
wait_for 60 eval '[ $(($(told) + $(noted))) -ge 1000 ]'
diag "$(told) records, $(noted) counted"
is $(($(told) + $(noted))) 1000 "each of 1,000 that are let through with a warning is recorded or counted"
is "$(oknek --json egress | jq ".not_recorded - $known")" "$(noted)" "there, too"
cp "$SCRATCH/good" "$CONFIG"
ok "they block again" oknek update --reload-local
# What passes is told to rules that detect, and what is not is known.
before=$(oknek --json egress | jq .passed_not_recorded)
# shellcheck disable=SC2016 # for the member's shell
agent sh -c 'n=0; while [ $n -lt 250 ]; do "$0" unix /nonexistent/nobodys.sock; n=$((n + 1)); done' "$R" >/dev/null 2>&1
unseen=$(oknek --json egress | jq ".passed_not_recorded - $before")
diag "$unseen of 250 that passed were not told"
if [ "$(oknek --json egress | jq .unix_sockets)" = true ]; then
	ok "of what passes too fast it is counted how much no rule saw" [ "$unseen" -ge 20 ]
	passed() { oknek --json events --rule O1 | jq -s "map(select(.seq > $seq and .rule.name == \"passed connections not recorded\") | .capture.count) | add // 0"; }
	ok "and the evidence says so" wait_for 20 eval '[ "$(passed)" -ge 1 ]'
fi
ok "it ends" stop_daemon

# ---- on_unenforceable ----------------------------------------------------------------------------

mkdir "$SCRATCH/rules"
cp "$RULES"/R5_egress.yaml "$RULES"/R11_gateway_bypass.yaml "$SCRATCH/rules"
write_config 'on_unenforceable: refuse'
ok "refuse: R5 is held and R11 off, the daemon starts" start_daemon --rules "$SCRATCH/rules"
cat >"$SCRATCH/rules/X1.yaml" <<'X'
id: X1
name: by program
version: 1
kind: socket_connect
match:
  all_of:
    - process_name: { eq: curl }
    - dest_port: { eq: 25 }
action: { default: block, configurable: true, options: [ block, warn, allow ] }
X
nok "a reload with a rule that cannot be held" oknek update --reload-local
like "$(cat "$SCRATCH/out")" 'X1' "names it"
is "$(oknek --json status | jq .rules.count)" 2 "and changes nothing"
ok "it ends" stop_daemon
launch_daemon --rules "$SCRATCH/rules"
wait_daemon
is "$DAEMON_STATUS" 69 "with that rule it does not start"
like "$(tail -n 3 "$LOG")" 'X1.*process_name' "and says why"
write_config 'on_unenforceable: degrade'
ok "degrade: it starts" start_daemon --rules "$SCRATCH/rules"
is "$(oknek --json status | jq -r '.rules.detect[].rule' | grep -v R11)" X1 "and the rule is only detected"
like "$(oknek status)" 'R11 .gateway bypass. is off: no gateway is set' "R11 is off, which is another matter"
ok "it ends" stop_daemon

# ---- rules of the host's own ---------------------------------------------------------------------

cat >"$SCRATCH/rules/X1.yaml" <<'X'
id: X1
name: a network of ill repute
version: 1
kind: socket_connect
match:
  all_of:
    - dest_ip: { cidr: 203.0.113.0/30 }
    - dest_port: { gte: 6000 }
  none_of:
    - dest_ip: { eq: 203.0.113.2 }
action: { default: block, configurable: true, options: [ block, warn, allow ] }
X
{
	sed 's/X1/X2/; s/ill repute/many addresses/; /^match:/,/^action:/{/^action:/!d}' "$SCRATCH/rules/X1.yaml" |
		sed '/^action:/i match:\n  any_of:'
} >"$SCRATCH/rules/X2.yaml"
for k in 1 2 3; do
	sed -i "/^action:/i \    - dest_ip: { eq: [ $(for i in $(seq 0 999); do printf '10.%d.%d.%d, ' $k $((i / 250)) $((i % 250)); done)10.9.9.$k ] }" "$SCRATCH/rules/X2.yaml"
done
sed 's/X1/X3/; s/ill repute/all addresses/; s|203.0.113.0/30|"::/0"|; s/gte: 6000/eq: 7777/' "$SCRATCH/rules/X1.yaml" >"$SCRATCH/rules/X3.yaml"
write_config ''
ok "no jail, and three rules of one's own" start_daemon --rules "$SCRATCH/rules"
is "$(oknek --json rules | jq -r 'select(.id == "X1") | .mechanism')" cgroup "one that asks for the destination is held"
like "$(oknek --json rules | jq -r 'select(.id == "X2") | .why // .bound_why')" 'more than the kernel' "one with too many addresses is not, and says why"
reach 1 "what it names is denied" tcp 203.0.113.1 6000
reach 0 "another port is not" tcp 203.0.113.1 5999
reach 0 "nor what it leaves out" tcp 203.0.113.2 6000
reach 1 "all of IPv6 is denied by a port" tcp ::1 7777
reach 1 "its address of all zeros, which is loopback, as well" tcp :: 7777
ok "and recorded by that rule" wait_for 5 eval 'oknek --json events --rule X1 | grep -q "\"block\""'
ok "it ends" stop_daemon
rm "$SCRATCH"/rules/X*.yaml

# ---- beside other sources, or alone --------------------------------------------------------------

write_config 'egress: {allow: [10.0.0.1]}'
for s in ebpf ebpf,fanotify; do
	start_daemon --source=$s || { skip "$s" "does not run here"; continue; }
	seq=$(oknek --json events --limit 1 | jq '.seq // 0')
	reach 1 "$s: a member is denied" tcp 203.0.113.3 8443
	sleep 1.2
	is "$(oknek --json events --rule R5 | jq -s "map(select(.seq > ${seq:-0})) | length")" 1 "$s: and there is one record"
	ok "it ends" stop_daemon
done

# ---- where cgroup2 is not to be seen, and where there is no BPF -----------------------------------

while read -r at; do umount -l "$at"; done < <(awk '/ - cgroup2 / { print $5 }' /proc/self/mountinfo)
mount -t tmpfs oknek-test /sys/fs/cgroup
write_config 'egress: {allow: [10.0.0.1]}'
ok "with cgroup2 mounted nowhere here the daemon starts" start_daemon
isnt "$(oknek --json egress | jq -r .cgroup)" '' "the jail is at its root all the same"
reach 1 "a member is denied" tcp 203.0.113.3 8443
"$R" tcp 203.0.113.3 8443
is $? 0 "a stranger is not"
ok "it ends" stop_daemon
if without=$(bin stv_without); then
	OKNEKD_UNDER=("$without" bpf)
	write_config 'egress: {allow: [10.0.0.1]}' 'on_unenforceable: refuse'
	launch_daemon --rules "$SCRATCH/rules"
	wait_daemon
	is "$DAEMON_STATUS" 69 "where bpf(2) is refused and rules have to be held, it does not start"
	like "$(tail -n 5 "$LOG")" 'R5' "and names one"
	write_config 'egress: {allow: [10.0.0.1]}'
	from=$(($(wc -l <"$LOG") + 1))
	ok "else it starts" start_daemon
	OKNEKD_UNDER=()
	like "$(oknek status)" 'egress +no jail: .*process feed is' "and says that there is no jail"
	is "$(tail -n +"$from" "$LOG" | grep -c "no egress jail")" 1 "in one line"
	like "$(oknek --json rules | jq -r 'select(.id == "R5") | .mechanism + ": " + .why')" \
		'^detect: ' "R5 is not held, and says why"
	reach 0 "and nothing is denied" tcp 203.0.113.3 8443
	ok "it ends" stop_daemon
fi
done_testing
