#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: members' opens of secrets are refused by BPF-LSM where the boot line has it (LSM=on),
# and by fanotify where it has not (LSM=off), with one record each; strangers are not.
. /payload/tap.sh

mech=lsm
[ "$LSM" = on ] || mech=fanotify
diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
mkdir -p /home/dev /home/over /etc/oknek /var/lib/oknek /tmp/rules /tmp/over
# The tmpfs of old kernels has no identity of its own, which a file that is followed by name needs.
if [ -d /scratch ]; then mount --bind /scratch /home/dev; else mount -t tmpfs -o mode=755 home /home/dev; fi
mkdir -p /home/dev/.aws /home/dev/.claude /home/dev/.ssh
secret=/home/dev/.aws/credentials
echo 'aws_secret_access_key = SECRET-4f9d1c' >$secret
echo 'aws_secret_access_key = SECRET-4f9d1c' >/home/dev/.aws/new
echo ordinary >/home/dev/notes.txt
echo 'SECRET-4f9d1c of the agent' >/home/dev/.claude/.credentials.json
echo 'settings of the agent' >/home/dev/.settings
{
	echo 'dev:x:1000:1000::/home/dev:/bin/sh'
	echo 'over:x:1001:1001::/home/over:/bin/sh'
} >>/etc/passwd
printf 'dev:x:1000:\nover:x:1001:\n' >>/etc/group
chown -R 1000:1000 /home/dev
chmod 755 /payload /payload/bin
# A home on overlayfs, of a lower layer that is a secret too.
overlay=no
module() { # NAME
	file=$(find /lib/modules/ -name "$1.ko*" | head -n 1)
	[ -n "$file" ] && insmod "$file" 2>/tmp/module
}
if module overlay; then
	mount -t tmpfs -o mode=755 layers /tmp/over
	mkdir -p /tmp/over/lower/.aws /tmp/over/upper /tmp/over/work
	cp $secret /tmp/over/lower/.aws/credentials
	chown -R 1001:1001 /tmp/over
	mount -t overlay -o lowerdir=/tmp/over/lower,upperdir=/tmp/over/upper,workdir=/tmp/over/work \
		over /home/over && overlay=yes
fi
cp /payload/core/* /tmp/rules/
cat >/tmp/rules/X9_settings.yaml <<'END'
id: X9
name: settings are not written
version: 1
kind: file_opened
match:
  all_of:
    - path: { glob: "~/.settings" }
    - open_mode: { eq: write }
action: { default: block }
evidence: { capture: [ path, open_mode ] }
END
config() { # MORE…
	printf 'mode: enforce\nagents: {recognise: false}\nfanotify: {only: [/home]}\n' >/tmp/oknek.yaml
	for more; do echo "$more" >>/tmp/oknek.yaml; done
}
config
oknekd --foreground --source=fanotify --config /tmp/oknek.yaml --rules /tmp/rules \
	>/tmp/log 2>&1 </dev/null &
daemon=$!
if wait_for 120 oknek status; then pass "the daemon answers"; else
	fail "the daemon answers" "$(tail -n 20 /tmp/log)"
	done_testing
fi

dev="/payload/bin/setpriv --reuid 1000 --regid 1000 --clear-groups -- env HOME=/home/dev USER=dev LOGNAME=dev"
over="/payload/bin/setpriv --reuid 1001 --regid 1001 --clear-groups -- env HOME=/home/over USER=over LOGNAME=over"
run="$dev oknek run --agent claude-code --"

# Each record comes once, as it is made.
oknek --json events --follow >/tmp/events 2>/tmp/follow &
follow=$!
records() { grep -c '"rule":{"id":"[RX]' /tmp/events; }
grown() { [ "$(records)" -gt "$had" ]; }
# recorded DESC VERDICT MECHANISM: since `had` was counted there is one record, which says so.
recorded() {
	wait_for 10 grown || :
	sleep 0.2
	is "$(($(records) - had)) $(grep '"rule":{"id":"[RX]' /tmp/events | tail -n 1 |
		sed 's/.*"mechanism":"\([a-z]*\)".*"verdict":"\([a-z_]*\)".*/\2 \1/')" "1 $2 $3" "$1: one record"
}
# denied DESC MECHANISM CMD…: CMD, by a member, is denied
denied() {
	desc=$1 by=$2
	shift 2
	had=$(records)
	"$@" >/tmp/out 2>&1
	is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "1 0" "$desc: denied"
	recorded "$desc" block "$by"
}
# by ID PART
by() {
	oknek --json rules >/tmp/bound
	sed -n "s/^{\"id\":\"$1\",\"part\":\"$2\",.*\"mechanism\":\"\([a-z]*\)\".*/\1/p" /tmp/bound
}

# ---- where it is bound ----------------------------------------------------------------------------

if [ "$LSM" = on ]; then
	ok "status says that BPF-LSM is used" sh -c "oknek status | grep 'BPF-LSM: 0 refused'"
else
	ok "status says why BPF-LSM is not used" sh -c \
		"oknek status | grep 'BPF-LSM: not used: bpf is not in lsm='"
fi
is "$(by R3 aws)" $mech "a rule of paths alone"
is "$(by R3 agent-claude)" fanotify "a rule that asks who it is"
[ "$LSM" = off ] ||
	ok "why is said" grep 'agent-claude.*not by lsm: it asks for' /tmp/bound

# ---- who ------------------------------------------------------------------------------------------

denied "a member" $mech $run plain_open $secret
# Also of one that has ended before anybody could look.
ok "what it ran is known" sh -c \
	"grep '\"rule\":{\"id\":\"[RX]' /tmp/events | tail -n 1 | grep '\"exe\":\"/payload/bin/plain_open\"'"
is "$($dev plain_open $secret | grep -c SECRET-4f9d1c)" 1 "a stranger reads it"
ok "a member reads what is ordinary" $run plain_open /home/dev/notes.txt
if [ "$LSM" = on ]; then
	denied "root in a tree of its own" $mech oknek run --agent claude-code -- plain_open $secret
	denied "a grandchild" $mech $run double_fork $secret
	denied "a static binary" $mech $run static_open $secret
	denied "a child of CLONE_PARENT" $mech $run clone_parent $secret
	denied "io_uring" $mech $run uring_open $secret
	denied "an io_uring worker" $mech $run uring_async $secret
	denied "writing" $mech $run write_open $secret
fi
denied "by a rule that the kernel cannot decide" fanotify \
	$run sh -c 'plain_open /home/dev/.claude/.credentials.json; exit $?'

# ---- names ----------------------------------------------------------------------------------------

if [ "$LSM" = on ]; then
	denied "a hard link" $mech $run hard_link $secret /home/dev
	# Fanotify knows the new file by its directory; then it is labelled.
	$dev mv /home/dev/.aws/new $secret
	had=$(records)
	$run plain_open $secret >/tmp/out 2>&1
	is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "1 0" "a file that was renamed onto it: denied"
	wait_for 10 grown || :
	denied "a file that was renamed onto it, later" $mech $run plain_open $secret
	$dev sh -c 'echo SECRET-4f9d1c >/home/dev/.ssh/id_new'
	had=$(records)
	$run plain_open /home/dev/.ssh/id_new >/tmp/out 2>&1
	is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "1 0" "a new file: denied"
	wait_for 10 grown || :
	sleep 0.5
	denied "a new file, later" $mech $run plain_open /home/dev/.ssh/id_new
	if [ $overlay = yes ]; then
		orun="$over oknek run --agent claude-code --"
		denied "on overlayfs" $mech $orun plain_open /home/over/.aws/credentials
		is "$($over plain_open /home/over/.aws/credentials | grep -c SECRET-4f9d1c)" 1 \
			"a stranger reads it there"
		# Of the upper layer now.
		$over sh -c 'echo SECRET-4f9d1c >>/home/over/.aws/credentials'
		denied "on overlayfs, when it was copied up" $mech $orun plain_open /home/over/.aws/credentials
		# Nobody knows of this one; but the file below it is a secret.
		mkdir /tmp/over/upper2 /tmp/over/work2 /tmp/lower
		mount -t overlay -o lowerdir=/home/dev,upperdir=/tmp/over/upper2,workdir=/tmp/over/work2 \
			lower /tmp/lower
		denied "below another overlayfs" lsm $run plain_open /tmp/lower/.aws/credentials
	else
		diag "no overlayfs: $(cat /tmp/module)"
	fi
fi
# Debian's cloud kernels have no btrfs: subvolumes are not tried here.

# ---- how ------------------------------------------------------------------------------------------

if [ "$LSM" = on ]; then
	is "$(by X9 "")" lsm "a rule of path and open_mode"
	exits 0 "what may be read is read" $run plain_open /home/dev/.settings
	denied "and is not written" lsm $run write_open /home/dev/.settings
	denied "nor emptied" lsm $run trunc_open /home/dev/.settings
fi

# ---- modes and reloads ----------------------------------------------------------------------------

oknek mode observe >/tmp/out 2>&1
had=$(records)
exits 0 "observe: a member reads it" $run plain_open $secret
recorded "observe" would_block detect
oknek mode enforce >/tmp/out 2>&1
denied "enforced again" $mech $run plain_open $secret
reloads() { grep -c 'rules were read again' /tmp/log; }
reload() {
	n=$(reloads)
	kill -HUP $daemon
	until [ "$(reloads)" -gt "$n" ]; do sleep 0.1; done
}
if [ "$LSM" = on ]; then
	config 'rules: {R3/aws: {action: warn}}'
	reload
	had=$(records)
	exits 0 "a rule that only warns now" $run plain_open $secret
	recorded "which warns" warn detect
	config 'readers: {R3/aws: [/payload/bin/static_open]}'
	reload
	is "$(by R3 aws)" fanotify "a rule with a reader"
	denied "a rule with a reader" fanotify $run plain_open $secret
	config
	reload
	is "$(by R3 aws)" $mech "as before"
	denied "as before" $mech $run plain_open $secret
fi

# ---- tried by itself ---------------------------------------------------------------------------------

for mode in enforce observe; do
	oknek mode $mode >/dev/null
	exits 0 "$mode: what rules claim is held" oknek --json doctor --prove --user dev
	cp /tmp/out /tmp/proof
	is "$(grep -o '"rule": *"R3/aws", *"route": *"open", *"result": *"[A-Z]*", *"claimed": *true, *"failed": *false, *"mechanism": *"[a-z]*"' \
		/tmp/proof | sed 's/.*"result": *"\([A-Z]*\)".*"mechanism": *"\([a-z]*\)"/\1 \2/')" "DENIED $mech" "$mode: by $mech"
	grep -o '"failed": *true' /tmp/proof && diag "$(tr '{' '\n' </tmp/proof | grep '"failed": *true')"
done
oknek mode enforce >/dev/null

# ---- the end --------------------------------------------------------------------------------------

# A member that opens it when it is told to.
waiting() {
	$run sh -c "touch /tmp/shared/watched; while [ ! -e /tmp/shared/go ]; do sleep 0.1; done
		plain_open $secret; exit \$?" >/tmp/out 2>&1 &
	member=$!
	wait_for 20 test -e /tmp/shared/watched
}
told() {
	touch /tmp/shared/go
	wait $member
}
mkdir -m 777 /tmp/shared
if [ "$LSM" = on ]; then
	waiting
	kill -KILL $daemon
	wait $daemon
	kill $follow
	told
	is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "1 0" "while only the guardian lives: denied"
	rm -f /tmp/shared/*
	oknekd --foreground --source=fanotify --config /tmp/oknek.yaml --rules /tmp/rules \
		>/tmp/log 2>&1 </dev/null &
	daemon=$!
	wait_for 60 oknek status
	oknek --json events --follow >/tmp/events 2>/tmp/follow &
	wait_for 10 records
	sleep 0.5
	denied "by the next daemon" lsm $run plain_open $secret
fi
waiting
kill -TERM $daemon
ok "the daemon stops" wait $daemon
told
is "$? $(grep -c SECRET-4f9d1c /tmp/out)" "0 1" "without a daemon nothing is held"
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
