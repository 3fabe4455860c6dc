#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest whose kernel seems to have been made without BPF: no call, no BTF, no file system of it. What is left
# is fanotify, which holds, and audit, which tells.
. /payload/tap.sh
[ -n "${WITHOUT-}" ] || {
	export WITHOUT=bpf
	exec /payload/bin/stv_without bpf-itself /bin/sh "$0"
}

diag "kernel $(uname -r)"
umount /sys/fs/bpf 2>/dev/null
mount -t tmpfs none /sys/kernel/btf
reach up 203.0.113.1 198.51.100.1 169.254.169.254 || diag "no addresses: $?"
mkdir -p /root /etc/oknek /var/lib/oknek
mount -t tmpfs -o mode=700 home /root
mkdir /root/.aws
echo 'aws_secret_access_key = SECRET-4f9d1c' >/root/.aws/credentials
ln -s .aws/credentials /root/link
cat >/tmp/oknek.yaml <<'X'
mode: enforce
agents: {recognise: false}
fanotify: {only: [/root]}
audit: {scope: user}
egress: {gateway: ["198.51.100.1:443"], resolvers: [127.0.0.1]}
X
audit_state() { /payload/bin/audit-rules-test status; }
before=$(audit_state)
run() { # OPTION…
	oknekd --foreground "$@" --config /tmp/oknek.yaml --rules /payload/core >/tmp/log 2>&1 </dev/null &
	daemon=$!
	wait_for 120 oknek status
}
agent() { oknek run --agent claude-code -- "$@"; }
stops() { kill -TERM $daemon && wait $daemon; }
denied() { # WHAT CMD…
	what=$1
	shift
	agent "$@" >/tmp/member 2>&1
	rc=$?
	is "$rc $(grep -c SECRET-4f9d1c /tmp/member)" "1 0" "$what: a member is denied"
}
# told FILTER: some record is of that kind; the kernel tells of it when it comes to it. A look takes a second.
told() { wait_for 3 sh -c "oknek --json events --limit 20 >/tmp/told && jq -es 'any(.[]; $1)' /tmp/told"; }

# What it takes by itself is fanotify alone: audit is asked for.
ok "the daemon runs on what is left" run
is "$(oknek --json status | jq -c '[.sources[].name]')" '["fanotify"]' "which is fanotify"
is "$(oknek --json status | jq -r .feed.name)" connector "processes are told by the connector"
denied "by itself" plain_open /root/.aws/credentials
ok "it stops" stops

ok "with audit" run --source=audit,fanotify
sed 's/^/# /' /tmp/log
is "$(grep -c libbpf /tmp/log)" 0 "libbpf says nothing"
is "$(oknek --json status | jq -c '[.sources[].name] | sort')" '["audit","fanotify"]' "there are two sources"
ok "status says that there is no jail" sh -c "oknek status | grep 'no jail: '"
denied "the secret" plain_open /root/.aws/credentials
denied "by a symbolic link" plain_open /root/link
denied "a shell's redirection" sh -c 'cat </root/.aws/credentials'
is "$(plain_open /root/.aws/credentials | grep -c SECRET-4f9d1c)" 1 "a stranger reads it"
ok "its record names fanotify, and audit" told '.rule.id == "R3" and .mechanism == "fanotify" and .source == "audit,fanotify"'
reach tcp 203.0.113.1 80 >/tmp/out 2>&1
is $? 0 "a stranger connects"
agent reach tcp 203.0.113.1 80 >/tmp/out 2>&1
is $? 0 "so does a member: nobody can refuse it"
ok "audit tells of it (R5)" told '.rule.id == "R5" and .capture.dest_ip == "203.0.113.1" and .verdict == "detected"'
agent reach tcp 169.254.169.254 80 >/tmp/out 2>&1
ok "and of cloud metadata (R3)" told '.rule.id == "R3" and .capture.dest_ip == "169.254.169.254" and .verdict == "detected"'
cp /tmp/told /tmp/kept
diag "$(jq -r '"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source) \(.capture.dest_ip)"' /tmp/kept)"
is "$(jq -r 'select(.rule.id == "R5" and .capture.dest_ip == "203.0.113.1") | .seq' /tmp/kept | wc -l)" 1 "once each"
ok "a chain of commands is denied, or told (R1)" sh -c '
	oknek run --agent claude-code -- sh -c "true; true; true; true; true; true; true; true; true; true" || :'
ok "its record is there" told '.rule.id == "R1"'
ok "it stops" stops
is "$(audit_state)" "$before" "and audit is as it was"

ok "it starts again" run --source=audit,fanotify
kill -KILL $daemon
wait $daemon
ok "and after a kill" run --source=audit,fanotify
denied "after the kill" plain_open /root/.aws/credentials
ok "it stops" stops
is "$(audit_state)" "$before" "and audit is as it was"
exits 69 "with eBPF alone there is no source" \
	oknekd --foreground --source=ebpf --config /tmp/oknek.yaml --rules /payload/core
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
