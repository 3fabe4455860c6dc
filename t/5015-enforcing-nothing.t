#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A daemon that can hold nothing is up, and does not pass for one that enforces: the service manager,
# status, the log and the evidence say that it does not, and why.
# serial
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_command perl
need_bin oknekd oknek plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
export NOTIFY_SOCKET=$SCRATCH/notify
perl -MIO::Socket::UNIX -MSocket -e '$| = 1;
	my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
	while (defined recv($s, my $m, 4096, 0)) { $m =~ tr/\n/|/; print "$m\n" }' "$NOTIFY_SOCKET" \
	>"$SCRATCH/told" 2>&1 &
manager=$!
wait_for 5 test -S "$NOTIFY_SOCKET"
told() { grep -q "$1" "$SCRATCH/told"; }
nothing() { status_get enforcement.nothing; }
records() { events --rule O1 --limit 0 | grep -c "\"name\":\"$1\""; }
recorded() { [ "$(records "$1")" = 1 ]; }

# --- it enforces
ok "it starts" start_daemon --rules "$OWN_RULES"
denied "a member is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(nothing)" null "status says nothing of the kind"
ok "the service manager has its mode" wait_for 5 told 'STATUS=mode enforce$'
sleep 4
is "$(records 'enforcing nothing')" 0 "nor has the evidence"
ok "it stops" stop_daemon

# --- nothing may be marked: an empty place; one of a kind that cannot be marked
mkdir "$SCRATCH/empty" "$SCRATCH/ram"
mount -t ramfs oknek-test "$SCRATCH/ram"
# elsewhere DIR: fanotify.only names it.
elsewhere() {
	local mnt=$MNT
	MNT=$1
	write_config
	MNT=$mnt
}
for place in empty ram; do
	rm -rf "$STATE" "$RUN"
	: >"$SCRATCH/told"
	elsewhere "$SCRATCH/$place"
	: >"$LOG"
	ok "$place: it starts, and is ready" start_daemon --rules "$OWN_RULES"
	ok "$place: ready is said with that it enforces nothing" wait_for 5 told \
		'READY=1|STATUS=mode enforce, enforcing nothing: '
	"${IN_TREE[@]}" sleep 60 &
	ok "$place: an agent runs" wait_for 5 status_is members 1
	like "$(oknek status)" 'enforcement +fanotify: enforcing nothing: nothing that the rules name is below what fanotify.only lists' \
		"$place: status says so"
	like "$(oknek status)" 'warning +enforcing nothing: ' "$place: and warns"
	isnt "$(nothing)" null "$place: its JSON, too"
	gets "$place: a member reads" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$place: it is recorded" wait_for 15 recorded "enforcing nothing"
	ok "$place: and logged" wait_for 5 grep -q '^<4>oknekd: enforcing nothing: ' "$LOG"
	sleep 3
	ok "$place: once" recorded "enforcing nothing"
	is "$(oknek mode observe >/dev/null; nothing)" null "$place: who only observes says nothing of it"
	ok "$place: nor is the service manager told any more" wait_for 5 \
		eval '[ "$(tail -n 1 "$SCRATCH/told")" = "STATUS=mode observe" ]'
	ok "$place: it stops" stop_daemon
	end_left_behind
done

# --- nothing can be marked: what the rules name is on a filesystem of such a kind
rm -rf "$STATE" "$RUN"
mount -t ramfs oknek-test "$TEST_HOME"
chown "$TEST_UID:$TEST_UID" "$TEST_HOME"
as_user mkdir "$TEST_HOME/.aws" "$WORK"
put "$SECRET" "$TOKEN"
elsewhere "$TEST_HOME"
ok "unmarkable: it starts" start_daemon --rules "$OWN_RULES"
"${IN_TREE[@]}" sleep 60 &
gets "unmarkable: a member reads" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "unmarkable: it is recorded" wait_for 15 recorded "enforcing nothing"
diag "$(nothing)"
said=$(as_user "$(bin oknek)" --run-dir "$RUN" status | grep '^warning *enforcing')
is "${said#warning      }" "enforcing nothing: nothing could be marked" \
	"unmarkable: others are told without names"
ok "unmarkable: it stops" stop_daemon
end_left_behind
umount "$TEST_HOME"

# --- nothing is there yet: no reason to warn
rm -rf "$STATE" "$RUN" "$TEST_HOME/.aws"
write_config
: >"$LOG"
ok "nothing yet: it starts" start_daemon --rules "$OWN_RULES"
"${IN_TREE[@]}" sleep 30 &
there_yet() { oknek status | grep -q 'enforcing nothing: nothing that the rules name is there yet'; }
ok "nothing yet: status says so" wait_for 5 there_yet
lay_secret
denied "as soon as there is something, it is held" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "and status says so" wait_for 5 eval '[ "$(nothing)" = null ]'
is "$(records 'enforcing nothing')" 0 "nothing of it was recorded"
ok "it stops" stop_daemon
kill "$manager"
done_testing
