#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: the source ebpf alone. Where the boot line has BPF-LSM (LSM=on) it refuses members what can
# be told beforehand, without a mark that anybody waits for; where it has not (LSM=off) that is said.
. /payload/tap.sh

diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
mkdir -p /home/dev /etc/oknek /var/lib/oknek /tmp/rules /opt
# As in lsm.sh.
if [ -d /scratch ]; then mount --bind /scratch /home/dev; else mount -t tmpfs -o mode=755 home /home/dev; fi
mount -t tmpfs -o mode=755 programs /opt
mkdir -p /home/dev/.aws /home/dev/.claude /home/dev/.ssh /opt/tools /opt/other
secret=/home/dev/.aws/credentials
echo 'aws_secret_access_key = SECRET-4f9d1c' >$secret
echo ordinary >/home/dev/notes.txt
echo 'SECRET-4f9d1c of the agent' >/home/dev/.claude/.credentials.json
echo 'dev:x:1000:1000::/home/dev:/bin/sh' >>/etc/passwd
echo 'dev:x:1000:' >>/etc/group
chown -R 1000:1000 /home/dev
chmod 755 /payload /payload/bin
for p in tools/bad other/exfil other/good; do cp /payload/bin/plain_open "/opt/$p"; done
cp /payload/core/* /tmp/rules/
rule() { # ID MATCH
	printf 'id: %s\nname: %s\nversion: 1\nkind: exec_observed\nmatch: %s\naction: { default: block }\n' \
		"$1" "$1" "$2" >"/tmp/rules/$1.yaml"
	echo 'evidence: { capture: [ exe, argv, process_name ] }' >>"/tmp/rules/$1.yaml"
}
rule X1 '{ any_of: [ { process_name: { in: [ exfil ] } } ] }'
rule X2 '{ any_of: [ { exe: { glob: "/opt/tools/*" } } ] }'
rule X4 '{ all_of: [ { exe: { eq: /opt/other/good } }, { argv: { contains: --evil } } ] }'
config() { # MORE…
	printf 'mode: enforce\nagents: {recognise: false}\nfanotify: {only: [/home, /opt]}\n' >/tmp/oknek.yaml
	for more; do echo "$more" >>/tmp/oknek.yaml; done
}
config
start() {
	oknekd --foreground --source=ebpf --config /tmp/oknek.yaml --rules /tmp/rules >/tmp/log 2>&1 </dev/null &
	daemon=$!
	wait_for 120 oknek status
}
if start; then pass "the daemon answers"; else
	fail "the daemon answers" "$(tail -n 20 /tmp/log)"
	done_testing
fi
dev="/payload/bin/setpriv --reuid 1000 --regid 1000 --clear-groups -- env HOME=/home/dev USER=dev LOGNAME=dev"
run="$dev oknek run --agent claude-code --"
oknek --json events --follow >/tmp/events 2>/tmp/follow &
follow=$!
sleep 1.5 # until it follows
records() { grep -c '"rule":{"id":"[RX]' /tmp/events; }
grown() { [ "$(records)" -gt "$had" ]; }
last() { grep '"rule":{"id":"[RX]' /tmp/events | tail -n 1; }
recorded() { # DESC VERDICT MECHANISM: one record since `had` was counted
	wait_for 10 grown || :
	sleep 0.3
	is "$(($(records) - had)) $(last | sed 's/.*"mechanism":"\([a-z]*\)".*"verdict":"\([a-z_]*\)".*/\2 \1/')" \
		"1 $2 $3" "$1: one record"
}
# denied DESC CMD…: CMD, by a member, is denied by BPF-LSM
denied() {
	desc=$1
	shift
	had=$(records)
	"$@" >/tmp/out 2>&1
	is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "1 0" "$desc: denied"
	recorded "$desc" block lsm
}
# passes DESC VERDICT CMD…: it does what it wants, which is told afterwards
passes() {
	desc=$1 as=$2
	shift 2
	had=$(records)
	"$@" >/tmp/out 2>&1
	is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "0 1" "$desc: is done"
	recorded "$desc" "$as" detect
}
# soon DESC CMD…: within a moment it is refused
soon() {
	desc=$1
	shift
	ok "$desc" wait_for 10 sh -c '"$@" >/tmp/tried 2>&1; [ $? -eq 1 ]' - "$@"
	sleep 0.5 # what it is told of
}
by() { # ID PART
	oknek --json rules | sed -n "s/^{\"id\":\"$1\",\"part\":\"$2\",.*\"mechanism\":\"\([a-z]*\)\".*/\1/p"
}
# Marks of the daemon: all, and those that somebody would have to answer.
marks() { cat /proc/$daemon/fdinfo/* 2>/dev/null | sed -n 's/^fanotify .* mask:\([0-9a-f]*\) .*/\1/p'; }
asking() { for m in $(marks); do [ $((0x$m & 0x70000)) -eq 0 ] || echo "$m"; done; }

diag "$(cat /tmp/log)"
if [ "$LSM" != on ]; then
	why='opens are told by path and not held: no BPF-LSM: bpf is not in lsm='
	is "$(grep -c "$why.*--source=ebpf,fanotify holds them" /tmp/log)" 1 "it is said at the start"
	ok "status warns of it" sh -c "oknek status | grep '^warning.*$why'"
	is "$(by R3 aws)" detect "a rule of paths is only detected"
	passes "an open" detected $run plain_open $secret
	is "$(marks)" "" "nothing is marked"
	kill -TERM $daemon
	ok "the daemon stops" wait $daemon
	kill $follow 2>/dev/null
	done_testing
fi

# ---- where it is bound ----------------------------------------------------------------------------

is "$(grep -c 'not held' /tmp/log)" 0 "it does not say that opens are not held"
is "$(grep -c 'opens are refused by BPF-LSM alone.*--source=ebpf,fanotify holds them' /tmp/log)" 1 \
	"it says by what they are refused"
ok "nor warns" sh -c "! oknek status | grep '^warning.*not held'"
ok "status says what is labelled" sh -c "$run true && oknek status |
	grep 'enforcement *lsm: [1-9][0-9]* of [1-9][0-9]* files* labelled'"
diag "$(oknek status)"
is "$(by R3 aws)" lsm "a rule of paths alone"
is "$(by R3 agent-claude)" detect "a rule that asks who it is"
ok "why is said" sh -c "oknek --json rules |
	grep 'agent-claude.*by the source fanotify, which does not run; not by lsm: it asks for'"
is "$(by X1) $(by X2) $(by X4)" "lsm lsm detect" "rules of names, of files, of arguments"
isnt_empty() { [ -n "$(marks)" ]; }
ok "names are followed" isnt_empty
is "$(asking)" "" "nobody is asked"

# ---- opens ----------------------------------------------------------------------------------------

denied "by its name" $run plain_open $secret
is "$(last | grep -c '"source":"lsm"')" 1 "it is told by whom"
is "$($dev plain_open $secret | grep -c SECRET-4f9d1c)" 1 \
	"a stranger reads it"
exits 0 "a member reads what is ordinary" $run plain_open /home/dev/notes.txt
denied "by a hard link" $run hard_link $secret /home/dev
denied "by a symbolic link" $run sh -c "ln -s $secret /home/dev/sym; plain_open /home/dev/sym; exit \$?"
denied "renamed by itself" $run sh -c "mv $secret /home/dev/.aws/x; plain_open /home/dev/.aws/x; exit \$?"
$dev mv /home/dev/.aws/x $secret
denied "io_uring" $run uring_open $secret
denied "writing" $run write_open $secret
denied "a grandchild" $run double_fork $secret
denied "root in a tree of its own" oknek run --agent claude-code -- plain_open $secret
passes "what the kernel cannot decide" detected \
	$run sh -c 'plain_open /home/dev/.claude/.credentials.json; exit $?'

# ---- what comes later -------------------------------------------------------------------------------

$dev sh -c 'echo SECRET-4f9d1c >/home/dev/.ssh/id_new'
soon "a new file is refused soon" $run plain_open /home/dev/.ssh/id_new
denied "a new file" $run plain_open /home/dev/.ssh/id_new
is "$($dev plain_open /home/dev/.ssh/id_new | grep -c SECRET-4f9d1c)" 1 "a stranger reads that"
$dev sh -c "echo SECRET-4f9d1c >/home/dev/new; mv /home/dev/new $secret"
soon "what was renamed onto it is refused soon" $run plain_open $secret
denied "what was renamed onto it" $run plain_open $secret
$dev sh -c 'mkdir -p /home/dev/.kube && echo SECRET-4f9d1c >/home/dev/.kube/config'
soon "in a new directory it is refused soon" $run plain_open /home/dev/.kube/config
denied "in a new directory" $run plain_open /home/dev/.kube/config
mkdir /tmp/aws && mount --bind /home/dev/.aws /tmp/aws
denied "below another mount" $run plain_open /tmp/aws/credentials
umount /tmp/aws

# ---- programs ---------------------------------------------------------------------------------------

# As a member: 1 when it may not be run.
printf '#!/bin/sh\n%s "$@"\n[ $? -ne 126 ] || exit 1\n' "$run" >/tmp/starts
chmod 755 /tmp/starts
denied "a program by its name" /tmp/starts /opt/other/exfil /home/dev/notes.txt
denied "by its file" /tmp/starts /opt/tools/bad /home/dev/notes.txt
is "$(last | grep -c '"exe":"/opt/tools/bad"')" 1 "which is told"
exits 0 "another is run" /tmp/starts /opt/other/good /home/dev/notes.txt
exits 0 "a stranger runs it" $dev /opt/tools/bad /home/dev/notes.txt
cp /payload/bin/plain_open /opt/tools/new
soon "a new one is refused soon" /tmp/starts /opt/tools/new /home/dev/notes.txt
denied "a new one" /tmp/starts /opt/tools/new /home/dev/notes.txt

# ---- modes and reloads ------------------------------------------------------------------------------

oknek mode observe >/tmp/out 2>&1
passes "observe" would_block $run plain_open $secret
had=$(records)
exits 0 "observe: a program runs" $run /opt/tools/bad /home/dev/notes.txt
ok "which is recorded" wait_for 10 grown
sleep 0.5
oknek mode enforce >/tmp/out 2>&1
denied "enforced again" $run plain_open $secret
soon "a program, enforced again" /tmp/starts /opt/tools/bad /home/dev/notes.txt
reload() {
	n=$(grep -c 'rules were read again' /tmp/log)
	kill -HUP $daemon
	until [ "$(grep -c 'rules were read again' /tmp/log)" -gt "$n" ]; do sleep 0.1; done
}
config 'rules: {R3/aws: {action: warn}}'
reload
passes "a rule that only warns now" warn $run plain_open $secret
config
reload
denied "as before" $run plain_open $secret
is "$(asking)" "" "nobody was asked"

# ---- the end ----------------------------------------------------------------------------------------

programs() { ! command -v bpftool >/dev/null || bpftool prog list | awk -F: '/^[0-9]+:/ { print $1 }' | sort; }
# A member that opens it when it is told to.
waiting() {
	[ -d /tmp/shared ] || mkdir -m 777 /tmp/shared
	rm -f /tmp/shared/*
	$run sh -c "touch /tmp/shared/watched; while [ ! -e /tmp/shared/go ]; do sleep 0.1; done
		plain_open $secret; exit \$?" >/tmp/out 2>&1 &
	member=$!
	wait_for 20 test -e /tmp/shared/watched
}
told() {
	touch /tmp/shared/go
	wait $member
}
waiting
if command -v bpftool >/dev/null; then
	ok "there are programs in the kernel" sh -c "bpftool prog list | grep ' lsm '"
fi
kill -KILL $daemon
wait $daemon 2>/dev/null
kill $follow 2>/dev/null
gone() { [ -z "$(programs)" ]; }
ok "after kill -9 none of them is left" wait_for 20 gone
told
is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "0 1" "and nothing is held"
ok "the next daemon" start
oknek --json events --follow >/tmp/events 2>/tmp/follow &
sleep 1.5
denied "by the next daemon" $run plain_open $secret
kill -TERM $daemon
ok "the daemon stops" wait $daemon
ok "none is left" wait_for 20 gone
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
