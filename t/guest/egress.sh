#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: the egress jail denies a member, and nobody else, by every way that there is here.
. /payload/tap.sh

mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
[ -e /sys/fs/cgroup/cgroup.controllers ] || { mkdir -p /cg && mount -t cgroup2 none /cg; }
reach up 203.0.113.1 198.51.100.1 2001:db8::1 169.254.169.254 || diag "no addresses: $?"
cat >/tmp/oknek.yaml <<'X'
mode: enforce
agents: {recognise: false}
egress: {gateway: ["198.51.100.1:443"], resolvers: [127.0.0.1]}
X
oknekd --foreground --config /tmp/oknek.yaml --rules /payload/core --run-dir /run/oknek \
	--state-dir /tmp/state >/tmp/log 2>&1 </dev/null &
daemon=$!
if wait_for 120 oknek status; then pass "the daemon answers"; else
	fail "the daemon answers" "$(tail -n 20 /tmp/log)"
	done_testing
fi
diag "$(oknek --json egress)" "$(cat /tmp/log)"
agent() { oknek run --agent claude-code -- "$@"; }
# reach_is WANT DESC CMD…
reach_is() {
	want=$1 desc=$2 rc=0
	shift 2
	"$@" >/tmp/out 2>&1 || rc=$?
	if [ $rc -eq 2 ]; then diag "not possible here: $desc: $(cat /tmp/out)"; else is $rc "$want" "$desc"; fi
}
for w in tcp udp sendto sendmmsg fastopen mptcp uring uring-async uring-sqpoll raw thread double-fork \
	clone-parent new-net; do
	reach_is 0 "$w: a stranger may" reach "$w" 203.0.113.1 80
	reach_is 1 "$w: EPERM for a member" agent reach "$w" 203.0.113.1 80
done
# By its path: busybox has a route of its own.
# stood WAY: a connection that was there before its process is watched; 4: nobody got what it sent.
/payload/bin/route serve 203.0.113.1 443 >/tmp/serve 2>&1 </dev/null &
wait_for 20 grep -q ready /tmp/serve
mkfifo /tmp/word
stood() {
	rm -f /tmp/stood
	/payload/bin/route made "$1" 203.0.113.1 443 </tmp/word >/tmp/stood 2>&1 &
	pid=$!
	exec 3>/tmp/word
	wait_for 20 grep -q made /tmp/stood
	[ "$2" = stranger ] || oknek watch $pid >/dev/null
	exec 3>&-
	wait $pid
}
reach_is 0 "a connection that stood: a stranger's goes on" stood tcp stranger
reach_is 4 "what a member sends on it is dropped" stood tcp member
reach_is 1 "by UDP: EPERM" stood udp member
# They stay until the guest ends.
port=7777
for way in serve serve-no-queue; do
	port=$((port + 1))
	agent /payload/bin/route $way 203.0.113.1 $port >/tmp/ready.$way 2>&1 </dev/null &
	wait_for 20 grep -q ready /tmp/ready.$way
	reach_is 0 "$way: a member answers who connects to it" \
		/payload/bin/route made tcp 203.0.113.1 $port </dev/null
done
# A disk whose server is foreign: the kernel sends within the call of whoever reads, who is not concerned.
file=$(find /lib/modules/ -name 'nbd.ko*' | head -n 1)
if [ -n "$file" ] && insmod "$file" 2>/tmp/out; then
	nbd serve 203.0.113.1 10809 >/tmp/nbd.serve 2>&1 </dev/null &
	wait_for 20 grep -q ready /tmp/nbd.serve
	nbd attach /dev/nbd0 203.0.113.1 10809 >/tmp/nbd.attach 2>&1 </dev/null &
	wait_for 20 grep -q attached /tmp/nbd.attach
	sleep 1
	# of N: of a place that nobody has read yet
	of() { dd if=/dev/nbd0 of=/dev/null bs=4096 count=4 skip=$(($1 * 512)); }
	reach_is 0 "a disk over TCP: a stranger reads it" of 1
	reach_is 0 "a member, too" agent dd if=/dev/nbd0 of=/dev/null bs=4096 count=4 skip=1024
	reach_is 0 "and writes to it" agent dd if=/dev/zero of=/dev/nbd0 bs=4096 count=4 seek=1536 conv=fsync
	reach_is 0 "which has not closed its connection" of 4
	reach_is 1 "a connection of its own to there: EPERM" agent reach tcp 203.0.113.1 10809
else
	diag "no nbd here: $file $(cat /tmp/out)"
fi
reach_is 1 "IPv6: EPERM" agent reach tcp 2001:db8::1 80
reach_is 1 "mapped: EPERM" agent reach sendto ::ffff:203.0.113.1 80
reach_is 1 "metadata: EPERM" agent reach tcp 169.254.169.254 80
reach_is 0 "the gateway is reached" agent reach tcp 198.51.100.1 443
case $(oknek --json egress) in
*'"unix_sockets":true'*) reach_is 1 "docker's socket: EPERM" agent reach unix /nonexistent/docker.sock ;;
*) diag "AF_UNIX is not seen here" ;;
esac
n=$(oknek --json events --limit 1000 | grep -c '"verdict":"block"')
diag "$n records"
ok "each is recorded" [ "$n" -ge 30 ]
kill -TERM $daemon
ok "the daemon stops" wait $daemon
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
