#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: programs that rules name are not run by members, refused by BPF-LSM where the boot line has
# it (LSM=on); strangers run them.
. /payload/tap.sh

mech=lsm
[ "$LSM" = on ] || mech=fanotify
diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
mkdir -p /home/dev /etc/oknek /var/lib/oknek /tmp/rules /opt
mount -t tmpfs -o mode=755 home /home/dev
mount -t tmpfs -o mode=755 programs /opt
echo 'dev:x:1000:1000::/home/dev:/bin/sh' >>/etc/passwd
echo 'dev:x:1000:' >>/etc/group
chown -R 1000:1000 /home/dev
chmod 755 /payload /payload/bin
# Programs that do nothing but say so.
mkdir -p /opt/tools /opt/other /opt/kept /opt/over /tmp/over
for p in tools/bad other/bad other/exfil other/exfil.exe tools/good other/named tools/moved tools/unnamed \
	kept/program; do
	cp /payload/bin/says "/opt/$p"
done
printf '#!/opt/other/bad\n' >/opt/tools/script
chmod 755 /opt/tools/script
# A directory of programs on overlayfs, and one whose lower layer is what rules name.
overlay=no
file=$(find /lib/modules/ -name 'overlay.ko*' | head -n 1)
if [ -n "$file" ] && insmod "$file" 2>/tmp/module; then
	mount -t tmpfs -o mode=755 layers /tmp/over
	mkdir -p /tmp/over/lower/bin /tmp/over/upper /tmp/over/work /tmp/over/upper2 /tmp/over/work2 /tmp/lower
	cp /payload/bin/says /tmp/over/lower/bin/tool
	mount -t overlay -o lowerdir=/tmp/over/lower,upperdir=/tmp/over/upper,workdir=/tmp/over/work \
		over /opt/over &&
		mount -t overlay -o lowerdir=/opt/tools,upperdir=/tmp/over/upper2,workdir=/tmp/over/work2 \
			lower /tmp/lower && overlay=yes
fi
cp /payload/core/* /tmp/rules/
rule() { # ID MATCH
	printf 'id: %s\nname: %s\nversion: 1\nkind: exec_observed\nmatch: %s\naction: { default: block }\n' \
		"$1" "$1" "$2" >"/tmp/rules/$1.yaml"
	echo 'evidence: { capture: [ exe, argv, process_name ] }' >>"/tmp/rules/$1.yaml"
}
rule X1 '{ any_of: [ { process_name: { in: [ exfil ] } } ] }'
rule X2 '{ all_of: [ { exe: { glob: [ "/opt/tools/*", "/opt/over/bin/*" ] } }, { process_name: { ne: good } } ] }'
rule X3 '{ any_of: [ { exe: { glob: "**/named" } } ] }'
rule X4 '{ all_of: [ { exe: { eq: /opt/tools/good } }, { argv: { contains: --evil } } ] }'
rule X5 '{ any_of: [ { exe: { glob: "/opt/**/deep" } } ] }'
rule X8 '{ any_of: [ { process_name: { eq: ld-copy.so } } ] }'
rule X6 '{ all_of: [ { path: { eq: /opt/kept/program } }, { open_mode: { eq: exec } } ] }'
sed -i 's/^kind:.*/kind: file_opened/; s/capture:.*/capture: [ path, open_mode ] }/' /tmp/rules/X6.yaml
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
last() { grep '"rule":{"id":"[RX]' /tmp/events | tail -n 1; }
field() { last | grep -o "\"$1\":\"[^\"]*\"" | head -n 1; }
by() { oknek --json rules | sed -n "s/^{\"id\":\"$1\",.*\"mechanism\":\"\([a-z]*\)\".*/\1/p"; }

diag "$(oknek status | grep -i lsm)" "$(grep -i lsm /tmp/log)"
oknek rules >/tmp/bound
diag "$(cat /tmp/bound)"
is "$(by X1)" $mech "a rule of names"
is "$(by X2)" $mech "a rule of files"
is "$(by X3)" $mech "a rule of a last component"
isnt_lsm() { [ "$(by "$1")" != lsm ]; }
ok "a rule of arguments is not" isnt_lsm X4
ok "nor one of files that nobody looks for" isnt_lsm X5
is "$(by X6)" $mech "a rule of a file that is executed"

denied "by name" $mech $run runs path /opt/other/exfil --to there
diag "$(last)"
is "$(field exe)" '"exe":"/opt/other/exfil"' "it is told which program"
is "$(field comm)" '"comm":"runs"' "and who asked"
denied "by name with .exe" $mech $run runs path /opt/other/exfil.exe

# ---- by their files ----------------------------------------------------------------------------------

bad=/opt/tools/bad
denied "by its file" $mech $run runs path $bad --to there
is "$(field exe)" "\"exe\":\"$bad\"" "it is told which"
for how in fd thread script interp; do
	[ $how != interp ] || cd /opt || exit
	case $how in
	interp) denied "its file, $how" $mech oknek run --agent claude-code -- runs $how $bad ;;
	*) denied "its file, $how" $mech $run runs $how $bad ;;
	esac
	cd /home/dev || exit
done
cd /opt || exit
for how in link bind; do
	denied "its file, $how" $mech oknek run --agent claude-code -- runs $how $bad
	is "$(field exe)" "\"exe\":\"$bad\"" "it is told by its name"
done
rm -f runs-link runs-interp ld-runs
cd /home/dev || exit
denied "a script" $mech $run runs path /opt/tools/script
is "$(field exe)" '"exe":"/opt/tools/script"' "which is told"
exits 0 "what the rule takes out is run" $run runs path /opt/tools/good
exits 0 "a copy elsewhere is another file" $run runs path /opt/other/bad
exits 0 "and so is one in memory" $run runs memfd $bad
exits 0 "a script that a shell reads is not run" $run sh /opt/tools/script
loader=$(find /lib64/ /lib/ -name 'ld-linux*' 2>/dev/null | head -n 1)
cp /payload/bin/setpriv /opt/tools/dynamic
cp "$loader" /opt/other/ld-copy.so
sleep 1
exits 0 "nor a program that a loader reads" $run "$loader" /opt/tools/dynamic --version
if [ "$LSM" = on ]; then
	denied "a loader that is named is not run" lsm $run runs path /opt/other/ld-copy.so /bin/true
fi
exits 0 "a stranger runs the file" $dev runs path $bad
denied "a protected file that is executed" $mech $run runs path /opt/kept/program
is "$(last | grep -c '"kind":"file_opened"')" 1 "which is an open"
exits 0 "it may be read" $run sh -c 'read -r l </opt/kept/program; :'
if [ $overlay = yes ]; then
	denied "on overlayfs" $mech $run runs path /opt/over/bin/tool
	echo >>/opt/over/bin/tool # of the upper layer from here on
	denied "on overlayfs, when it was copied up" $mech $run runs path /opt/over/bin/tool
	exits 0 "the file below it is another" $run runs path /tmp/over/lower/bin/tool
	exits 0 "a stranger runs it there" $dev runs path /opt/over/bin/tool
	if [ "$LSM" = on ]; then
		denied "below another overlayfs" $mech $run runs path /tmp/lower/bad
		is "$(field exe)" "\"exe\":\"$bad\"" "it is told by its name"
		exits 0 "a stranger runs it there, too" $dev runs path /tmp/lower/bad
	fi
else
	diag "no overlayfs: $(cat /tmp/module)"
fi

# What comes to stand in its place, and what is called something else.
changes_to() { # RC CMD…: within a moment
	want=$1
	shift
	wait_for 5 sh -c '"$@" >/tmp/out 2>&1; [ $? -eq '"$want"' ]' - "$@"
}
cp /payload/bin/says /opt/other/new
mv /opt/other/new $bad
ok "a file that was renamed onto it is held soon" changes_to 1 $run runs path $bad
sleep 1
denied "a file that was renamed onto it" $mech $run runs path $bad
cp /payload/bin/says /opt/tools/another
ok "a new one is held soon" changes_to 1 $run runs path /opt/tools/another
mv /opt/tools/unnamed /opt/tools/good
ok "what is called otherwise is let soon" changes_to 0 $run runs path /opt/tools/good
mv /opt/tools/good /opt/tools/unnamed
ok "and held soon, when it is called as before" changes_to 1 $run runs path /opt/tools/unnamed
cp /payload/bin/says /opt/tools/good
sleep 1
mv /opt/tools/moved /opt/other/moved
sleep 1
denied "what was moved away is still that program" $mech $run runs path /opt/other/moved
is "$(field exe)" '"exe":"/opt/tools/moved"' "it is told by the name it had"

# ---- by their names ----------------------------------------------------------------------------------

deep=/opt/other
for i in 1 2 3 4 5; do deep=$deep/a/b/c/d/e/f/g/h/i/j; done
mkdir -p $deep
cp /payload/bin/says $deep/exfil
denied "deeper than its path is told" $mech $run runs path $deep/exfil
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
had=$(records)
exits 0 "observe: a member runs it" $run runs path /opt/other/exfil
ok "which is recorded" wait_for 10 grown
sleep 0.5
oknek mode enforce >/tmp/out 2>&1
denied "enforced again" $mech $run runs path /opt/other/exfil
ok "a file is, too" changes_to 1 $run runs path $bad
if [ "$LSM" = on ]; then
	sleep 0.5
	denied "a file, enforced again" $mech $run runs path $bad
fi
sed -i 's/^action:.*/action: { default: warn }/' /tmp/rules/X2.yaml
rm /tmp/rules/X1.yaml
n=$(grep -c 'rules were read again' /tmp/log)
again() { [ "$(grep -c 'rules were read again' /tmp/log)" -gt "$n" ]; }
kill -HUP $daemon
wait_for 20 again
if [ "$LSM" = on ]; then
	exits 0 "a rule that is gone" $run runs path /home/dev/exfil
fi
denied "a rule that stays" $mech $run runs path /opt/other/named
had=$(records)
exits 0 "a rule of files that only warns now" $run runs path $bad
recorded "which warns" warn detect
sed -i 's/^action:.*/action: { default: block }/' /tmp/rules/X2.yaml
n=$(grep -c 'rules were read again' /tmp/log)
kill -HUP $daemon
wait_for 20 again
denied "which blocks again" $mech $run runs path $bad
exits 0 "what was moved away is none any more" $run runs path /opt/other/moved
kill -TERM $daemon
ok "the daemon stops" wait $daemon
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
