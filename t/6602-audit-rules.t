#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules for the watched in the kernel's audit, beside others': put, grown, put again when they were
# removed, and taken back with all else as it was, also after kill -9; who reads, and who is refused.
# serial
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
need_root
need_command unshare setpriv
need_build t/audit-rules-test
need_audit_alone

T=$BUILD/t/audit-rules-test
# An owner that is dead is named until somebody asks for its place.
"$T" own </dev/null >/dev/null
status=$("$T" status)
[[ $status = enabled=* ]] || skip_all "no audit here: $status"
[[ $status = enabled=[01]\ pid=0\ * ]] || skip_all "audit is locked, or somebody's: $status"
[ -z "$("$T" list)" ] || skip_all "there are rules here"
was_enabled=${status:8:1}

# Everything that there is to be compared: every byte of every rule in their order, and the status.
state() {
	"$T" list
	"$T" status
	! command -v auditctl >/dev/null || {
		auditctl -l
		auditctl -s | grep -Ev '^(lost|backlog|backlog_wait_time_actual) '
	}
}
FOREIGN=(exit:foreign exit:oknek exit:oknek-member2 user:oknek-was-off: user:foreign)
foreign() {
	local k verb=$1
	shift
	for k; do "$T" foreign "$verb" "${k%%:*}" "${k#*:}" || return; done
}
hex() { printf %s "$1" | od -An -tx1 -v | tr -d ' \n'; }
with_key() { "$T" list | grep -c "$(hex "$1")\$"; }

# The machine's audit is as it was, whatever happened.
put_back() {
	local rc=$? p
	for p in $(jobs -p); do kill -KILL "$p" 2>/dev/null; done
	wait 2>/dev/null
	"$T" sweep >/dev/null
	for p in "${FOREIGN[@]}" exit:late; do "$T" foreign del "${p%%:*}" "${p#*:}" >/dev/null; done
	"$T" enable "$was_enabled" >/dev/null
	(exit $rc)
	cleanup
}
trap put_back EXIT

# drive: somebody who keeps rules. say WORDS…: asks him, and prints what he answers.
drive() {
	rm -f "$SCRATCH/ask" "$SCRATCH/answers"
	mkfifo "$SCRATCH/ask" "$SCRATCH/answers" || return
	"$T" drive <"$SCRATCH/ask" >"$SCRATCH/answers" 2>"$SCRATCH/driven" &
	DRIVEN=$!
	exec 7>"$SCRATCH/ask" 8<"$SCRATCH/answers"
	read -r -t 60 opened <&8
}
say() {
	local answer
	echo "$*" >&7 && read -r -t 90 answer <&8 && echo "$answer"
}
says() { # DESC WANT WORDS…
	local desc=$1 want=$2
	shift 2
	like "$(say "$@")" "$want" "$desc"
}
figures() { [[ $(say figures) =~ $1 ]]; }
reads() { [[ $(say read) = *"$1"* ]]; }
closes() {
	says "$1: it closes" '^close 0$' close
	wait "$DRIVEN"
	is "$?" 0 "$1: in order"
	[ ! -s "$SCRATCH/driven" ] || diag "$(head -c 4000 "$SCRATCH/driven")"
}
dies() {
	kill -KILL "$DRIVEN"
	wait "$DRIVEN" 2>/dev/null
}
unchanged() { is "$(state)" "$before" "$1: rules and status are as before"; }

# A member, born after audit was on: of those who are older the kernel keeps no account.
member() {
	mkfifo "$SCRATCH/do" "$SCRATCH/done" || return
	bash -c 'while read -r line; do eval "$line"; echo; done' <"$SCRATCH/do" >"$SCRATCH/done" 2>/dev/null &
	MEMBER=$!
	exec 5>"$SCRATCH/do" 6<"$SCRATCH/done"
}
does() { echo "$*" >&5 && read -r -t 60 <&6; }

ok "audit is off" "$T" enable 0
ok "others have rules" foreign add "${FOREIGN[@]}"
before=$(state)

# ---- members, and their records ----------------------------------------------------------------------

drive
is "$opened" "open ok" "it opens"
unchanged "opened"
says "audit is switched on" '^enable 0$' enable
member
says "a member" '^add$' "add $MEMBER 0 /usr/bin/env"
says "stands in the kernel" '^settle 0$' settle
says "the kernel says so" '^enabled=1 was_off=1 owner=none rules=[56] members=1 by_uid=0 uring=[01] refused=0 restored=0 ' \
	figures
is "$("$T" list | grep "$(hex oknek-was-off:0)\$" | head -c 8)" 00000000 "what was is in a list that costs no calls"
is "$(with_key oknek-member)" "$(($(say figures | sed 's/.* rules=\([0-9]*\).*/\1/') - 1))" "all have the key"
is "$(with_key /usr/bin/envoknek-member)" 1 "one is of the program"
says "the group is joined" '^join 0$' join
does ': </etc/hostname'
ok "what it does is told" wait_for 30 reads ours=some
does 'cat /etc/hostname >/dev/null'
ok "what its child does is told, which is no member" wait_for 30 reads ours=some
reads . || :
: </etc/hostname
is "$(say read)" "none ours=none spoofed=none replace=none" "what others do is not"

# ---- growing, and others at the same table ---------------------------------------------------------------

for i in {1..20}; do say "add $((4000000 + i)) 0" >/dev/null; done
says "members grow" '^settle 0$' settle
says "so many that they are told by user" ' members=0 by_uid=1 .* refused=0 ' figures
does ': </etc/hostname'
ok "which tells of them too" wait_for 30 reads ours=some
for i in {1..20}; do say "drop $((4000000 + i))" >/dev/null; done
ok "few again, they are told by pid" wait_for 60 figures ' members=1 by_uid=0 '
says "one whose uid is another's now" '^add$' "add $MEMBER 54321"
ok "has the rules of that" wait_for 30 figures ' rules=5 members=1 .* refused=0 '
ok "all rules of ours are removed" "$T" sweep
is "$(with_key oknek-member)" 0 "and gone"
ok "they are put again" wait_for 30 figures ' rules=5 .* restored=[1-9]'
ok "with them what says what was" wait_for 30 test "$(with_key oknek-was-off:0)" = 1
ok "somebody puts a rule behind ours" foreign add exit:late
late_is_before_ours() {
	"$T" list | sed -n "/$(hex late)\$/,\$p" | grep -c "^04.*$(hex oknek-member)\$" | grep -qx 3
}
ok "ours go behind his, which keeps his records his" wait_for 30 late_is_before_ours
foreign del exit:late
closes "grown"
unchanged "grown"

# ---- killed ------------------------------------------------------------------------------------------------

for last in close kill; do
	drive
	says "once more" '^enable 0$' enable
	say "add $MEMBER 0" >/dev/null
	says "a member" '^settle 0$' settle
	dies
	isnt "$(with_key oknek-member)" 0 "killed: rules are left"
	like "$("$T" status)" '^enabled=1 ' "killed: audit is left on"
	drive
	is "$opened" "open ok" "the next opens"
	is "$(with_key oknek-member)" 0 "and removes them"
	says "it knows what was" '^enabled=1 was_off=1 owner=none rules=1 members=0 ' figures
	is "$(with_key oknek-was-off:0)" 1 "it is still said"
	if [ $last = kill ]; then
		dies
		drive
		says "the one after that, too" '^enabled=1 was_off=1 ' figures
	fi
	closes "after a kill"
	unchanged "after a kill"
done

# ---- on before -----------------------------------------------------------------------------------------------

ok "audit is on" "$T" enable 1
before=$(state)
drive
says "it stays on" '^enable 0$' enable
say "add $MEMBER 0" >/dev/null
says "a member" '^settle 0$' settle
says "it was on before" '^enabled=1 was_off=0 ' figures
dies
drive
closes "on before, killed"
unchanged "on before, killed"

# ---- who reads -----------------------------------------------------------------------------------------------

# Somebody who has the unicast socket until he is let go.
owner() {
	rm -f "$SCRATCH/hold" "$SCRATCH/owner"
	mkfifo "$SCRATCH/hold"
	"$T" own <"$SCRATCH/hold" >"$SCRATCH/owner" &
	OWNER=$!
	exec 9>"$SCRATCH/hold"
	wait_for 30 test -s "$SCRATCH/owner"
}
ok "audit is off" "$T" enable 0
before=$(state)
drive
says "it is switched on" '^enable 0$' enable
say "add $MEMBER 0" >/dev/null
says "a member" '^settle 0$' settle
says "where nobody reads, we do" '^own 1$' own
says "the kernel says so" ' owner=us ' figures
does ': </etc/hostname'
ok "records come" wait_for 30 reads ours=some
owner
like "$(<"$SCRATCH/owner")" 'File exists' "another is refused"
wait "$OWNER"
exec 9>&-
ok "and we are told of him" wait_for 30 reads replace=some
says "we give way" '^yield -1$' yield
owner
is "$(<"$SCRATCH/owner")" own "he tries again, and has it"
says "now it is somebody's" '^own 0$' own
says "the kernel says so" ' owner=other ' figures
says "the group is joined" '^join 0$' join
does ': </etc/hostname'
ok "records come beside him" wait_for 30 reads ours=some
closes "beside another"
is "$("$T" list)" "$(grep '^0' <<<"$before")" "his rules are as before"
like "$("$T" status)" "^enabled=1 pid=$OWNER " "he has what he came for"
before=$(state)
drive
says "beside one who was there before us" '^enable 0$' enable
says "who goes on" '^own 0$' own
closes "beside one who was there"
unchanged "beside one who was there"
ok "audit is off" "$T" enable 0
before=$(state)
drive
says "he keeps it, and it is off" '^enable 0$' enable
dies
drive
closes "off, with an owner, and killed"
unchanged "off, with an owner, and killed"
exec 9>&-
wait "$OWNER"

# ---- spoofed ----------------------------------------------------------------------------------------------------

drive
says "again" '^enable 0$' enable
says "the group is joined" '^join 0$' join
# The first socket of a process has its pid for a number.
ok "it has a socket" grep -q " 9 *$DRIVEN " /proc/net/netlink
like "$("$T" spoof "$DRIVEN")" 'Connection refused' "the kernel queues nobody else's answers for it"
before_records=$(say read)
ok "a record for all who listen is sent" "$T" spoof 0
says "is seen for what it is" '^[a-z]* ours=none spoofed=some ' read
unlike "$before_records" 'spoofed=some' "and no other is"
closes "spoofed"

# ---- refused ------------------------------------------------------------------------------------------------------

refused() { # WANT DESC CMD…
	local want=$1 desc=$2
	shift 2
	like "$("$@" "$T" drive </dev/null 2>&1)" "$want" "$desc"
}
refused '^open CAP_AUDIT_CONTROL is missing' "without the capability" \
	setpriv --bounding-set -audit_control
refused '^open CAP_AUDIT_CONTROL is missing' "as nobody" \
	setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups
refused 'initial user namespace alone' "in a user namespace" unshare --user --map-root-user
refused 'initial pid namespace alone' "in a pid namespace" unshare --pid --fork --mount-proc
foreign del "${FOREIGN[@]}"
is "$("$T" list)" "" "nothing is left"
done_testing
