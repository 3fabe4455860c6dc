#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: the daemon starts, holds a member's open of a secret, and lets a stranger's pass.
. /payload/tap.sh

diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
mkdir -p /home/dev /etc/oknek /var/lib/oknek
mount -t tmpfs -o mode=755 home /home/dev
mkdir /home/dev/.aws
echo 'aws_secret_access_key = SECRET-4f9d1c' >/home/dev/.aws/credentials
echo ordinary >/home/dev/notes.txt
echo 'dev:x:1000:1000::/home/dev:/bin/sh' >>/etc/passwd
echo 'dev:x:1000:' >>/etc/group
chown -R 1000:1000 /home/dev
chmod 755 /payload /payload/bin
printf 'mode: enforce\nagents: {recognise: false}\nfanotify: {only: [/home/dev]}\n' >/tmp/oknek.yaml

from=$(now_ms)
oknekd --foreground --source=fanotify --config /tmp/oknek.yaml --rules /payload/core \
	>/tmp/log 2>&1 </dev/null &
daemon=$!
if wait_for 120 oknek status; then pass "the daemon answers"; else
	fail "the daemon answers" "$(tail -n 20 /tmp/log)"
	done_testing
fi
diag "ready after $(($(now_ms) - from)) ms"
status=$(oknek --json status)
is "$(echo "$status" | sed -n 's/.*"feed": *"\([^"]*\)".*/\1/p; s/.*"feed": *{ *"name": *"\([^"]*\)".*/\1/p' |
	head -n 1)" "$FEED" "the feed"
# Not the shell's own.
dev='/payload/bin/setpriv --reuid 1000 --regid 1000 --clear-groups -- env HOME=/home/dev USER=dev LOGNAME=dev'
run="$dev oknek run --agent claude-code --"
secret=/home/dev/.aws/credentials
$run plain_open $secret >/tmp/member 2>&1
# It exits with 1 for EPERM alone.
is "$? $(grep -c SECRET-4f9d1c /tmp/member)" "1 0" "a member is denied"
is "$($dev plain_open $secret | grep -c SECRET-4f9d1c)" 1 "a stranger reads it"
oknek run --agent claude-code -- plain_open $secret >/tmp/member 2>&1
is "$? $(grep -c SECRET-4f9d1c /tmp/member)" "1 0" "root in a tree of its own is denied"
ok "a member reads what is ordinary" $run plain_open /home/dev/notes.txt
exits 1 "a grandchild is denied" $run double_fork $secret
exits 1 "a hard link is denied" $run hard_link $secret /home/dev
wait_for 10 sh -c 'oknek --json events | grep -q R3' || :
ok "it is recorded" sh -c 'oknek --json events --rule R3 | grep -q "\"block\""'
from=$(now_ms)
kill -TERM $daemon
ok "the daemon stops" wait $daemon
diag "stopped after $(($(now_ms) - from)) ms"
ok "and the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
