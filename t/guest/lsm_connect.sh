#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest with bpf in lsm=: the egress jail is asked by BPF-LSM, beside the programs of cgroups and
# where there are none; each refusal is one record.
. /payload/tap.sh

diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
reach up 203.0.113.1 198.51.100.1 2001:db8::1 169.254.169.254 || diag "no addresses: $?"
cat >/tmp/oknek.yaml <<'X'
mode: enforce
agents: {recognise: false}
egress: {gateway: ["198.51.100.1:443"], resolvers: [127.0.0.1], allow_unix: [/tmp/allowed/docker.sock]}
X
start() {
	oknekd --foreground --config /tmp/oknek.yaml --rules /payload/core --run-dir /run/oknek \
		--state-dir /tmp/state >/tmp/log 2>&1 </dev/null &
	daemon=$!
	if wait_for 120 oknek status; then pass "$1: the daemon answers"; else
		fail "$1: the daemon answers" "$(tail -n 20 /tmp/log)"
		done_testing
	fi
	diag "$(oknek --json egress)" "$(cat /tmp/log)"
	: >/tmp/events
	oknek --json events --follow >/tmp/events 2>/tmp/follow &
	follow=$!
	sleep 1
}
stop() {
	kill $follow
	kill -TERM $daemon
	ok "$1: the daemon stops" wait $daemon
}
# R11 fires too, where it is foreign.
records() { grep -c '"rule":{"id":"R5"' /tmp/events; }
grown() { [ "$(records)" -gt "$had" ]; }
agent() { oknek run --agent claude-code -- "$@"; }
# denied DESC CMD…: a member gets EPERM, by lsm, in one record; a stranger does not
denied() {
	desc=$1 rc=0
	shift
	"$@" >/tmp/out 2>&1 || rc=$?
	if [ $rc -eq 2 ]; then
		diag "not possible here: $desc: $(cat /tmp/out)"
		return
	fi
	is $rc 0 "$desc: a stranger may"
	had=$(records) rc=0
	agent "$@" >/tmp/out 2>&1 || rc=$?
	is $rc 1 "$desc: EPERM for a member"
	wait_for 10 grown || :
	is "$(($(records) - had)) $(grep '"rule":{"id":"R5"' /tmp/events | tail -n 1 |
		sed 's/.*"mechanism":"\([a-z]*\)".*"verdict":"\([a-z_]*\)".*/\2 \1/')" "1 block lsm" "$desc: one record"
}
by() { oknek --json rules | sed -n "s/^{\"id\":\"$1\",.*\"mechanism\":\"\([a-z]*\)\".*/\1/p"; }

# ---- beside cgroups ----------------------------------------------------------------------------------
start "with cgroups"
is "$(by R5) $(by R11)" "lsm lsm" "the rules are bound to it"
for w in tcp udp sendto sendmmsg fastopen mptcp uring-async raw new-net; do
	denied "$w" reach "$w" 203.0.113.1 80
done
denied "IPv6" reach tcp 2001:db8::1 80
denied "mapped" reach sendto ::ffff:203.0.113.1 80
denied "metadata" reach tcp 169.254.169.254 80
denied "a packet socket" makes_socket 17 3 0
is "$(agent makes_socket 40 1 0 >/tmp/out 2>&1; echo $?)" 1 "vsock: EPERM for a member, before the kernel looks for it"
is "$(agent makes_socket 16 3 0 >/tmp/out 2>&1; echo $?)" 0 "netlink is not asked about"
is "$(agent reach tcp 198.51.100.1 443 >/tmp/out 2>&1; echo $?)" 0 "the gateway is reached"
# A name is spelled with bpf_loop(), which came with 5.17.
case $(uname -r) in 5.10.*) sees=false ;; *) sees=true ;; esac
is "$(oknek --json egress | grep -o '"unix_sockets":[a-z]*')" "\"unix_sockets\":$sees" "whether AF_UNIX is seen"
docker_denied() {
	[ $sees = true ] || return 0
	is "$(agent reach unix /tmp/there/docker.sock >/tmp/out 2>&1; echo $?)" 1 "$1docker's socket: EPERM"
}
docker_denied ""
isnt_eperm() { [ "$(agent reach unix "$1" >/tmp/out 2>&1; echo $?)" -ne 1 ]; }
ok "one that is let through" isnt_eperm /tmp/allowed/docker.sock
ok "another socket" isnt_eperm /tmp/there/other.sock
oknek mode observe >/tmp/out 2>&1
sleep 0.5
had=$(records)
is "$(agent reach tcp 203.0.113.1 80 >/tmp/out 2>&1; echo $?)" 0 "observe: a member may"
wait_for 10 grown || :
sleep 0.3
is "$(($(records) - had)) $(grep '"id":"R5"' /tmp/events | tail -n 1 | grep -o would_block)" "1 would_block" "observe: one record"
oknek mode enforce >/tmp/out 2>&1
stop "with cgroups"
# ---- where another has the root cgroup ------------------------------------------------------------------------------------------
mkfifo /tmp/hold
cgroup_taken /sys/fs/cgroup </tmp/hold >/tmp/taken 2>&1 &
exec 9>/tmp/hold
wait_for 10 grep -q taken /tmp/taken || diag "$(cat /tmp/taken)"
start "without cgroups"
is "$(oknek --json egress | grep -o '"cgroup":"[^"]*"')" '"cgroup":"no cgroup"' "no program of ours is there"
is "$(by R5)" lsm "without cgroups: the rule is bound to it"
for w in tcp sendto raw; do
	denied "without cgroups: $w" reach "$w" 203.0.113.1 80
done
had=$(records)
is "$(agent reach tcp 198.51.100.1 443 >/tmp/out 2>&1; echo $?)" 0 "without cgroups: the gateway is reached"
docker_denied "without cgroups: "
stop "without cgroups"
is "$(reach tcp 203.0.113.1 80 >/tmp/out 2>&1; echo $?)" 0 "nothing is left"
ok "the records are whole" oknek verify --state-dir /tmp/state
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
