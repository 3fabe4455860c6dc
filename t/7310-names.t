#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A name service that never answers, for one user or for all; a time zone that is a pipe, or changes:
# verdicts go on, and so does whoever is not concerned.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/stranger.sh
. t/attack/stranger.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json atk_latency

scene tmpfs && other_user || { fail "the scene"; done_testing; }
as_user mkdir -p "$WORK"
daemon_words
module=$(find /lib /usr/lib /lib64 /usr/lib64 -name libnss_hesiod.so.2 2>/dev/null | head -n 1)

# runs LABEL CMD…: a run that begins now is served, or refused, in time. Whoever asks waits ten
# seconds at the most.
in_time() {
	local label=$1
	shift
	takes "$@"
	diag "$label: status $TOOK_RC after $TOOK_MS ms: $(head -n 1 "$SCRATCH/took")"
	ok "$label: it is served or refused in time" test $TOOK_MS -lt 11000
	case $TOOK_RC in
	1) pass "$label: a command that runs is denied" ;;
	125) pass "$label: a command that cannot be watched does not run" ;;
	*) fail "$label: it is denied or not run" "exit $TOOK_RC" "$(cat "$SCRATCH/took")" ;;
	esac
}

# In place: what is mounted is the file, not its name.
forget_other() {
	grep -v '^oknekother:' "$SCRATCH/passwd" >"$SCRATCH/passwd.new"
	cat "$SCRATCH/passwd.new" >"$SCRATCH/passwd"
}

# ---- name services -----------------------------------------------------------------------------

hang=$(bin str_nss)
if [ -z "$module" ] || [ -z "$hang" ] || ! mount --bind "$hang" "$module"; then
	skip "name services" "there is no module that ours could stand for"
else
	sed -E 's/^(passwd|group|initgroups):.*/\1: files hesiod/' /etc/nsswitch.conf >"$SCRATCH/nsswitch"
	grep -q '^initgroups:' "$SCRATCH/nsswitch" || echo 'initgroups: files hesiod' >>"$SCRATCH/nsswitch"
	mount --bind "$SCRATCH/nsswitch" /etc/nsswitch.conf
	export STR_NSS=all
	exits 124 "the name service that stands in hangs" timeout 1 getent passwd oknek-nobody
	unset STR_NSS
	exits 2 "only where it is told to" timeout 5 getent passwd oknek-nobody

	# One that hangs for a user of its own, whom no other service knows.
	label="a name service that hangs for one user"
	forget_other
	ok "$label: the daemon starts" stuck_ready env STR_NSS="$OTHER_UID oknekother" "${DAEMON[@]}"
	goes_on "$label"
	# Who asks for that user keeps the helper busy until its deadline, time and again.
	(while :; do timeout 15 "${OTHER_TREE[@]}" true; done) >/dev/null 2>&1 &
	asking=$!
	sleep 0.5
	goes_on "$label, meanwhile asked for"
	kill $asking
	wait $asking 2>/dev/null
	in_time "$label, that user" "${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
	gets "$label: that user opens what is its own" \
		timeout 10 "${OTHER_OUTSIDE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
	ends "$label"
	echo "oknekother:*:$OTHER_UID:$OTHER_UID::$OTHER_HOME:/bin/bash" >>"$SCRATCH/passwd"

	# One that hangs for everybody, after the files know all that there is to know.
	label="a name service that answers nobody"
	ok "$label: the daemon starts" stuck_ready env STR_NSS=all "${DAEMON[@]}"
	in_time "$label, a first run" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	like "$(oknek --json status)" 'group' "$label: status says that nobody tells who is in which group"
	goes_on "$label"
	# Names that come and go are followed as before: the mark thread is not kept by anybody.
	takes "${IN_TREE[@]}" sh -c 'for i in 1 2 3 4 5; do mv "$1" "$1.x"; mv "$1.x" "$1"; "$2" "$1"; done' \
		sh "$SECRET" "$(bin plain_open)"
	diag "$label: five renames there and back, each with an open: $TOOK_MS ms"
	unlike "$(cat "$SCRATCH/took")" "$TOKEN" "$label: a member that renames is denied"
	ok "$label: and not kept waiting" test $TOOK_MS -lt 4000
	ends "$label"
	umount /etc/nsswitch.conf
	umount -l "$module"
fi

# A cache of names whose socket takes connections and never answers: the C library gives it five
# seconds each time, whatever it is asked for. Only the daemon sees it.
label="an nscd that never answers"
mkdir "$SCRATCH/nscd"
"$(bin str_listen)" "$SCRATCH/nscd/socket" >"$SCRATCH/listen" &
listener=$!
ok "$label" wait_for 5 grep -q bound "$SCRATCH/listen"
# shellcheck disable=SC2016 # expanded by the shell in there
with_nscd=(unshare --mount --propagation private sh -c
	'd=$(realpath /var/run) && mount -t tmpfs none "$d" && mkdir "$d/nscd" &&
	mount --bind "$0" "$d/nscd" && exec "$@"' "$SCRATCH/nscd")
if "${with_nscd[@]}" true; then
	ok "$label: the daemon starts" stuck_ready "${with_nscd[@]}" "${DAEMON[@]}"
	in_time "$label, a run" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	in_time "$label, a second" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	opens_fast "$label"
	ends "$label"
else
	skip "$label" "its socket cannot be put there"
fi
kill $listener
wait $listener 2>/dev/null

# ---- time zones ----------------------------------------------------------------------------------

# /etc/localtime as it is, then a zone of four hours and a half east of UTC that TZ alone tells.
label="TZ names a pipe"
mkfifo "$SCRATCH/zone"
began=$SECONDS
ok "$label: the daemon starts" stuck_ready env TZ=":$SCRATCH/zone" "${DAEMON[@]}"
ok "$label: in time" test $((SECONDS - began)) -lt 10
ok "$label: it is said" grep -q 'time zone cannot be read' "$LOG"
goes_on "$label"
ends "$label"

label="TZ names a protected file"
write_rule zone.yaml .aws/zone block X731
cp /usr/share/zoneinfo/UTC "$TEST_HOME/.aws/zone" 2>/dev/null || put "$TEST_HOME/.aws/zone" none
ok "$label: the daemon starts" stuck_ready env TZ=":$TEST_HOME/.aws/zone" "${DAEMON[@]}"
denied "$label: it is protected" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/.aws/zone"
goes_on "$label"
ends "$label"

label="/etc/localtime becomes a pipe"
if [ -e /etc/localtime ] && : >"$SCRATCH/localtime" &&
	mount --bind "$SCRATCH/localtime" "$(realpath /etc/localtime)"; then
	ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
	umount "$(realpath /etc/localtime)"
	mount --bind "$SCRATCH/zone" "$(realpath /etc/localtime)"
	goes_on "$label"
	ok "$label: events are listed" timeout 10 env TZ=UTC0 "$(bin oknek)" --run-dir "$RUN" events
	ends "$label"
	umount "$(realpath /etc/localtime)"
else
	skip "$label" "there is no /etc/localtime"
fi

done_testing
