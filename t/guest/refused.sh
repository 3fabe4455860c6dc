#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest that refuses BPF (HOW=lockdown: by its command line; sysctl: to all but the privileged) or
# has no BTF (HOW=btf): one line says why, and the daemon holds what it holds without.
. /payload/tap.sh

diag "kernel $(uname -r), $(cat /sys/kernel/security/lockdown)"
mkdir -p /root /etc/oknek /var/lib/oknek
mount -t tmpfs -o mode=700 home /root
mkdir /root/.aws
echo 'aws_secret_access_key = SECRET-4f9d1c' >/root/.aws/credentials
printf 'mode: enforce\nagents: {recognise: false}\nfanotify: {only: [/root]}\n' >/tmp/oknek.yaml
case $HOW in
sysctl) echo 2 >/proc/sys/kernel/unprivileged_bpf_disabled ;;
btf) mount -t tmpfs none /sys/kernel/btf ;;
esac
run() { # SOURCES
	oknekd --foreground "$@" --config /tmp/oknek.yaml --rules /payload/core >/tmp/log 2>&1 </dev/null &
	daemon=$!
	wait_for 120 oknek status
}
ok "the daemon runs on" run --source=ebpf,fanotify
sed 's/^/# /' /tmp/log
feed=$(oknek --json status | sed -n 's/.*"feed":{"name":"\([^"]*\)".*/\1/p')
if [ "$HOW" = sysctl ]; then
	is "$feed" bpf "what only the unprivileged are refused does not concern it"
	is "$(grep -c 'ebpf: ' /tmp/log)" 0 "and nothing is said"
else
	is "$feed" connector "processes are told by the connector"
	is "$(grep -c 'process feed: ' /tmp/log)" 1 "one line says why"
	is "$(grep -c '>oknekd: ebpf: ' /tmp/log)" 1 "and one that there is no eBPF source"
	ok "with the cause" grep -E "process feed: .*$WHY" /tmp/log
	ok "status has it, too" sh -c "oknek status | grep 'ebpf: not here'"
	is "$(grep -c libbpf /tmp/log)" 0 "libbpf itself says nothing"
fi
oknek run --agent claude-code -- plain_open /root/.aws/credentials >/tmp/member 2>&1
is "$? $(grep -c SECRET-4f9d1c /tmp/member)" "1 0" "a member is denied"
is "$(plain_open /root/.aws/credentials | grep -c SECRET-4f9d1c)" 1 "a stranger reads it"
kill -TERM $daemon
ok "it stops" wait $daemon
if [ "$HOW" != sysctl ]; then
	exits 69 "with eBPF alone there is no source" \
		oknekd --foreground --source=ebpf --config /tmp/oknek.yaml --rules /payload/core
fi
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
