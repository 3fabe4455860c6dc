#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: programs that rules name are not run by members, refused by BPF-LSM where the boot line has
# it (LSM=on); strangers run them.
. /payload/tap.sh

mech=lsm
[ "$LSM" = on ] || mech=fanotify
diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
mkdir -p /home/dev /etc/oknek /var/lib/oknek /tmp/rules /opt/tools /opt/other
mount -t tmpfs -o mode=755 home /home/dev
echo 'dev:x:1000:1000::/home/dev:/bin/sh' >>/etc/passwd
echo 'dev:x:1000:' >>/etc/group
chown -R 1000:1000 /home/dev
chmod 755 /payload /payload/bin
# Programs that do nothing but say so.
for p in tools/bad other/bad other/exfil other/exfil.exe tools/good other/named; do
	cp /payload/bin/says "/opt/$p"
done
cp /payload/core/* /tmp/rules/
rule() { # ID MATCH
	printf 'id: %s\nname: %s\nversion: 1\nkind: exec_observed\nmatch: %s\naction: { default: block }\n' \
		"$1" "$1" "$2" >"/tmp/rules/$1.yaml"
	echo 'evidence: { capture: [ exe, argv, process_name ] }' >>"/tmp/rules/$1.yaml"
}
rule X1 '{ any_of: [ { process_name: { in: [ exfil ] } } ] }'
rule X3 '{ any_of: [ { exe: { glob: "**/named" } } ] }'
rule X4 '{ all_of: [ { exe: { eq: /opt/tools/good } }, { argv: { contains: --evil } } ] }'
cat >/tmp/oknek.yaml <<X
mode: enforce
agents: {recognise: false}
fanotify: {only: [/home, /opt]}
X
oknekd --foreground --config /tmp/oknek.yaml --rules /tmp/rules >/tmp/log 2>&1 </dev/null &
daemon=$!
if wait_for 120 oknek status; then pass "the daemon answers"; else
	fail "the daemon answers" "$(tail -n 20 /tmp/log)"
	done_testing
fi
dev="/payload/bin/setpriv --reuid 1000 --regid 1000 --clear-groups -- env HOME=/home/dev USER=dev LOGNAME=dev"
run="$dev oknek run --agent claude-code --"
cd /home/dev || exit
oknek --json events --follow >/tmp/events 2>/tmp/follow &
records() { grep -c '"rule":{"id":"[RX]' /tmp/events; }
grown() { [ "$(records)" -gt "$had" ]; }
recorded() { # DESC VERDICT MECHANISM: one record since `had` was counted
	wait_for 10 grown || :
	sleep 0.2
	is "$(($(records) - had)) $(grep '"rule":{"id":"[RX]' /tmp/events | tail -n 1 |
		sed 's/.*"mechanism":"\([a-z]*\)".*"verdict":"\([a-z_]*\)".*/\2 \1/')" "1 $2 $3" "$1: one record"
}
# denied DESC MECHANISM CMD…: by a member it is not run
denied() {
	desc=$1 by=$2
	shift 2
	had=$(records)
	"$@" >/tmp/out 2>&1
	is "$? $(grep -c 'I ran' /tmp/out)" "1 0" "$desc: denied"
	recorded "$desc" block "$by"
}
field() { tail -n 1 /tmp/events | grep -o "\"$1\":\"[^\"]*\"" | head -n 1; }
by() { oknek --json rules | sed -n "s/^{\"id\":\"$1\",.*\"mechanism\":\"\([a-z]*\)\".*/\1/p"; }

diag "$(oknek status | grep -i lsm)" "$(grep -i lsm /tmp/log)"
oknek rules >/tmp/bound
diag "$(cat /tmp/bound)"
is "$(by X1)" $mech "a rule of names"
is "$(by X3)" $mech "a rule of a last component"
isnt_lsm() { [ "$(by "$1")" != lsm ]; }
ok "a rule of arguments is not" isnt_lsm X4

denied "by name" $mech $run runs path /opt/other/exfil --to there
diag "$(tail -n 1 /tmp/events)"
is "$(field exe)" '"exe":"/opt/other/exfil"' "it is told which program"
is "$(field comm)" '"comm":"runs"' "and who asked"
denied "by name with .exe" $mech $run runs path /opt/other/exfil.exe
denied "by a last component" $mech $run runs path /opt/other/named
exits 0 "another of the same name is run" $run runs path /opt/other/bad
for how in fd thread vfork double-fork clone-parent script; do
	denied "$how" $mech $run runs $how /opt/other/exfil
done
if [ "$LSM" = on ]; then
	cp /payload/bin/says /home/dev/exfil
	denied "a copy of that name in a home" lsm $run runs path /home/dev/exfil
	$dev mkdir -p /home/dev/new && cp /payload/bin/says /home/dev/new/exfil
	denied "in a new directory, at once" lsm $run runs fd /home/dev/new/exfil
fi
for how in path fd script double-fork; do
	exits 0 "$how: a stranger runs it" $dev runs $how /opt/other/exfil
done
oknek mode observe >/tmp/out 2>&1
exits 0 "observe: a member runs it" $run runs path /opt/other/exfil
oknek mode enforce >/tmp/out 2>&1
denied "enforced again" $mech $run runs path /opt/other/exfil
rm /tmp/rules/X1.yaml
n=$(grep -c 'rules were read again' /tmp/log)
again() { [ "$(grep -c 'rules were read again' /tmp/log)" -gt "$n" ]; }
kill -HUP $daemon
wait_for 20 again
if [ "$LSM" = on ]; then
	exits 0 "a rule that is gone" $run runs path /home/dev/exfil
fi
denied "a rule that stays" $mech $run runs path /opt/other/named
kill -TERM $daemon
ok "the daemon stops" wait $daemon
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
