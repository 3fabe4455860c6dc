#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The preload shim where the daemon is absent, is killed, stands still, or is flooded: the configured
# default holds, nobody waits for long, and the rest goes on.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd oknek_preload.so pre_calls pre_flood
need_command jq

scene tmpfs || { fail "the scene"; done_testing; }
SHIM=$(bin oknek_preload.so) && chmod 755 "$SHIM"
write_rule aws.yaml "$SECRET" # of whose home it is does not matter
# By the test user, with the shim, in no tree; without a daemon allowed, or denied.
ALLOWS=("${OUTSIDE[@]}" env OKNEK_RUN_DIR="$RUN" LD_PRELOAD="$SHIM")
DENIES=("${ALLOWS[@]}" OKNEK_PRELOAD_DEFAULT=deny)

# ---- no daemon -------------------------------------------------------------------------------------

takes "${ALLOWS[@]}" cat "$SECRET"
is "$TOOK_RC" 0 "no daemon, by default: as if there were no shim"
ok "it says nothing" cmp -s "$SCRATCH/took" "$SECRET"
exits 1 "no daemon, deny: EPERM" "${DENIES[@]}" "$(bin pre_calls)" open "$SECRET"
exits 1 "also for a program to be run" "${DENIES[@]}" "$(bin pre_calls)" execve fine
exits 1 "and for a connection" "${DENIES[@]}" "$(bin pre_calls)" connect 10
exits 1 "nor without a descriptor" "${DENIES[@]}" "$(bin pre_calls)" full exec
exits 1 "of which an open says the same" "${DENIES[@]}" "$(bin pre_calls)" full "$SECRET"
exits 0 "but by default what the kernel says" "${ALLOWS[@]}" "$(bin pre_calls)" full "$SECRET"
exits 0 "any other word is the default" "${ALLOWS[@]}" OKNEK_PRELOAD_DEFAULT=maybe "$(bin pre_calls)" open "$SECRET"
exits 125 "without a daemon nothing is run watched" "${IN_TREE[@]}" true

# Somebody who has more rights than his caller takes no word of it: not where the daemon is, not whether to ask.
cp "$(bin pre_calls)" "$MNT/suid" && chown root "$MNT/suid" && chmod 4755 "$MNT/suid"
if [ -z "$(findmnt -no OPTIONS -T "$MNT" | grep nosuid)" ]; then
	exits 0 "a set-user-ID program is not refused by its caller's environment" \
		"${DENIES[@]}" "$MNT/suid" open "$SECRET"
fi

# ---- watched by its own wish -------------------------------------------------------------------------

ok "a daemon" start_daemon --source=preload --rules "$OWN_RULES"
gets "a stranger reads" "${DENIES[@]}" cat "$SECRET"
denied "who asks to be watched is, and refused" "${ALLOWS[@]}" OKNEK_PRELOAD_WATCH=ollama cat "$SECRET"
kept() { [ "$(oknek --json status | jq .evidence.pending)" = 0 ]; }
wait_for 60 kept
is "$(oknek --json events --limit 1 | jq -r '"\(.rule.id) \(.verdict) \(.agent.id)"')" "X700 block ollama" "under that name"
gets "a name that is none is nobody's" "${ALLOWS[@]}" OKNEK_PRELOAD_WATCH='a b' cat "$SECRET"
# A unit's command of ours carries the shim as the unit does, and is no part of what is watched.
mkdir -p "$SCRATCH/root/etc/systemd/system" && printf '[Service]\nExecStart=/bin/true\n' >"$SCRATCH/root/etc/systemd/system/my.service"
ok "a unit" oknek watch --unit my --root "$SCRATCH/root"
unlike "$(cat "$SCRATCH/out")" 'not recorded' "is recorded"
acts() { oknek --json events --rule O2 --limit 20 | jq -c "select(.capture.command == \"$1\").capture | [.detail.unit, .detail.preload_default, .caller.uid, .caller.member]"; }
wait_for 60 kept
is "$(acts watch)" '["my.service","allow",0,false]' "as somebody's act"
line=$(sed -n 's/^ExecStartPost=-+//p' "$SCRATCH/root/etc/systemd/system/my.service.d/50-oknek.conf")
installed=${line%% *}
like "$line" '^/.*/oknek .* watch .* \$MAINPID$' "has a command of ours"
if [ -d "${installed%/*}" ] && mount -t tmpfs none "${installed%/*}" && cp "$(bin oknek)" "$installed"; then
	"${OUTSIDE[@]}" sleep 300 &
	main=$!
	wait_for 30 grep -qx sleep "/proc/$main/comm"
	# shellcheck disable=SC2086 # they are words
	ok "which is run as the service manager does" env OKNEK_RUN_DIR="$RUN" OKNEK_PRELOAD_WATCH=my LD_PRELOAD="$SHIM" \
		${line//\$MAINPID/$main}
	is "$(oknek --json agents | jq 'select(.agent == "my").root_pid')" "$main" \
		"the main process alone is watched"
	ok "one that opens something" env OKNEK_RUN_DIR="$RUN" OKNEK_PRELOAD_WATCH=my LD_PRELOAD="$SHIM" \
		"$installed" rules lint "$OWN_RULES/aws.yaml"
	is "$(grep -c 'watching my,' "$LOG")" 1 "is not"
	kill $main; wait $main 2>/dev/null
	umount "${installed%/*}"
fi
is "$(oknek --json unwatch --unit my --root "$SCRATCH/root" | jq -c '[.unit, .recorded]')" '["my.service",true]' "so is its removal"
wait_for 60 kept
is "$(acts unwatch)" '["my.service",null,0,false]' "as what it is"
exits 0 "who may write there, and is watched" "${ROOT_TREE[@]}" "$(bin oknek)" --run-dir "$RUN" watch --unit my \
	--root "$SCRATCH/root"
like "$(cat "$SCRATCH/out")" 'my.service: it is not recorded: ' "is not listened to"
wait_for 60 kept
is "$(acts unit)" '[null,null,0,true]' "which is recorded"
# Nor does the daemon ask itself, whatever it was started with.
sbin=${installed%/bin/*}/sbin
if [ -d "$sbin" ] && mount -t tmpfs none "$sbin" && cp "$(bin pre_calls)" "$sbin/oknekd"; then
	exits 0 "what is installed as the daemon is not asked for" env OKNEK_RUN_DIR=/nonexistent LD_PRELOAD="$SHIM" \
		OKNEK_PRELOAD_DEFAULT=deny "$sbin/oknekd" open /etc/passwd
	umount "$sbin"
fi

# Only one at a time is being watched; the others ask again, and nobody else waits for them.
at_once() { for _ in $(seq 24); do "${ALLOWS[@]}" OKNEK_PRELOAD_WATCH=crowd cat "$SECRET" & p="$p $!"; done
	for i in $p; do wait "$i"; echo $?; done; }
is "$(p=; at_once 2>/dev/null | sort | uniq -c | tr -s ' ')" " 24 1" "24 at once that ask to be watched are, each"

# ---- many at once ------------------------------------------------------------------------------------

cat >"$SCRATCH/loop" <<-'END'
	n=0
	for i in $(seq "$2"); do
		read -r x <"$1" 2>/dev/null && n=$((n + 1))
	done
	[ $n -eq 0 ] || { echo "read $n times"; exit 1; }
END
many() { "${IN_TREE[@]}" bash -c 'for k in 1 2 3 4 5 6; do bash "$0" "$1" 30 & p="$p $!"; done
	for i in $p; do wait $i || exit 1; done' "$SCRATCH/loop" "$SECRET"; }
ok "six processes of a tree, 180 opens" many
denials() { oknek --json events --limit 0 | jq -r 'select(.outcome == "denied" and .agent.id == "claude-code").rule.id' | wc -l; }
all_told() { kept && [ "$(denials)" -ge 180 ]; }
wait_for 60 all_told
is "$(denials)" 180 "180 records"

# ---- half-open connections ---------------------------------------------------------------------------

sockets() { find "/proc/$DAEMON_PID/fd" -lname 'socket:*' 2>/dev/null | wc -l; }
before=$(sockets)
holds_many() { [ "$(sockets)" -gt $((before + 8)) ]; }
"${OUTSIDE[@]}" "$(bin pre_flood)" "$RUN/oknek.sock" 10000 >"$SCRATCH/flood" 2>&1 &
flood=$!
ok "of connections that say nothing some are held" wait_for 60 holds_many
ok "10,000 of them" wait_for 120 grep -q '^asked 10000' "$SCRATCH/flood"
like "$(cat "$SCRATCH/flood")" 'refused [1-9][0-9]{3}' "are refused for the most part"
ok "root is answered" timeout 30 "$(bin oknek)" --run-dir "$RUN" status
takes "${ROOT_TREE[@]}" cat "$SECRET"
is "$TOOK_RC" 1 "a member is refused as before"
[ "$TOOK_MS" -lt 10000 ]; is $? 0 "in time: $TOOK_MS ms"
kill $flood; wait $flood 2>/dev/null
"${IN_TREE[@]}" "$(bin pre_flood)" "$RUN/oknek.sock" 2000 >"$SCRATCH/flood" 2>&1 &
flood=$!
wait_for 120 grep -q '^asked 2000' "$SCRATCH/flood"
like "$(cat "$SCRATCH/flood")" 'refused [1-9][0-9]{3}' "those of a member are, too"
ok "root is answered then" timeout 30 "$(bin oknek)" --run-dir "$RUN" status
gets "a stranger is let go" "${DENIES[@]}" cat "$SECRET"
kill $flood; wait $flood 2>/dev/null
denied "and all is as before" "${IN_TREE[@]}" cat "$SECRET"

# ---- it stands still ---------------------------------------------------------------------------------

export OKNEK_PRELOAD_WAIT_MS=1000 # as by default
kill -STOP "$DAEMON_PID"
takes "${ALLOWS[@]}" cat "$SECRET"
is "$TOOK_RC" 0 "a daemon that stands still: the default"
[ "$TOOK_MS" -lt 6000 ]; is $? 0 "after a second: $TOOK_MS ms"
takes "${ALLOWS[@]}" bash -c 'for i in $(seq 400); do read -r x <"$0"; done' "$SECRET"
is "$TOOK_RC" 0 "400 opens"
[ "$TOOK_MS" -lt 12000 ]; is $? 0 "do not wait a second each: $TOOK_MS ms"
exits 1 "deny: EPERM" "${DENIES[@]}" "$(bin pre_calls)" open "$SECRET"
takes "${ALLOWS[@]}" OKNEK_PRELOAD_WAIT_MS=3000 cat "$SECRET"
[ "$TOOK_MS" -ge 3000 ]; is $? 0 "who is told to waits for longer: $TOOK_MS ms"
kill -CONT "$DAEMON_PID"
export OKNEK_PRELOAD_WAIT_MS=10000
ok "it goes on" wait_for 10 oknek status
denied "and so do its refusals" "${IN_TREE[@]}" cat "$SECRET"

# ---- it dies in the midst ------------------------------------------------------------------------------

"${IN_TREE[@]}" bash -c 'while ! read -r x <"$0"; do echo refused; sleep 0.02; done 2>/dev/null; echo read' "$SECRET" >"$SCRATCH/mid" &
job=$!
ok "a member is refused" wait_for 120 grep -q refused "$SCRATCH/mid"
ok "and does not read" bash -c '! grep -qx read "$1"' - "$SCRATCH/mid"
kill_daemon
ok "until the daemon is killed" wait_for 120 grep -q read "$SCRATCH/mid"
wait $job
ok "another daemon" start_daemon --source=preload --rules "$OWN_RULES"
denied "refuses again" "${IN_TREE[@]}" cat "$SECRET"
ok "stops" stop_daemon
done_testing
