#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Captured events: those of a live daemon are decided again exactly; limits of size hold; a disk that
# is full or cannot be written disturbs no verdict; a reload switches it.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
write_rule warn.yaml .aws/warned warn X701
put "$TEST_HOME/.aws/warned" warned
cp "$CONFIG" "$SCRATCH/base.yaml"
configure() { # configure LINE…
	cp "$SCRATCH/base.yaml" "$CONFIG"
	printf '%s\n' "$@" >>"$CONFIG"
}
reload() { oknek update --reload-local; }
opens() { # opens COUNT FILE: by a member of a tree, whatever comes of it
	# shellcheck disable=SC2016
	timeout 60 "${IN_TREE[@]}" bash -c 'for ((i = 0; i < $1; i++)); do : <"$2"; done' sh "$1" "$2" \
		2>/dev/null
	return 0
}
captured() { cat "$STATE"/capture/*.jsonl 2>/dev/null | grep -c '^{'; }
settled() { [ "$(status_get capture.events)" -eq $(($(status_get capture.written) + $(status_get capture.dropped))) ]; }
replay() { # replay RULES…: the summary
	oknek --json replay --state-dir "$STATE" --config "$CONFIG" --since 1d --rules "$@" >"$SCRATCH/json" 2>&1
	REPLAYED=$?
}
count() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$SCRATCH/json" | tail -n 1; }

# ---- off --------------------------------------------------------------------------------------

configure
ok "it starts" start_daemon --rules "$OWN_RULES"
is "$(status_get capture.what)" off "nothing is captured unless it is asked for"
denied "a member is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "nothing is in the state directory" test ! -e "$STATE/capture"

# ---- all --------------------------------------------------------------------------------------

configure 'capture: all'
ok "a reload switches it on" reload
is "$(status_get capture.what)" all "as status says"
for _ in 1 2 3; do denied "denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"; done
opens 200 "$TEST_HOME/.aws/warned"
opens 300 "$TEST_HOME/.aws/other"
opens 100 "$SECRET" &
one=$!
opens 100 "$TEST_HOME/.aws/warned" &
two=$!
opens 100 "$TEST_HOME/.aws/other"
wait $one $two
ok "all is written" wait_for 10 settled
is "$(status_get capture.dropped)" 0 "nothing was dropped"
n=$(captured)
is "$n" "$(status_get capture.written)" "each is a line"
is "$(stat -c '%a' "$STATE/capture")" 700 "the folder is for root alone"
is "$(stat -c '%a' "$STATE"/capture/* | sort -u)" 600 "and so are the files"
is "$(head -n 1 "$STATE/capture/00000001.jsonl")" '# captured: all' "they say what they have"
replay "$OWN_RULES"
is "$REPLAYED $(count newly_blocked) $(count newly_warned) $(count newly_allowed) $(count cannot_tell)" \
	"0 0 0 0 0" "the same rules decide all of them as they were decided"
is "$(count unchanged)" "$n" "all of them"

of() { cat "$STATE"/capture/*.jsonl | grep -c "\"verdict\":\"$1\""; }
blocked=$(of block) warned=$(of warn)
like "$blocked $warned" '^[1-9][0-9]+ [1-9][0-9]+$' "some were blocked, some warned of"
mkdir "$SCRATCH/new"
sed 's/default: warn/default: block/' "$OWN_RULES/warn.yaml" >"$SCRATCH/new/own.yaml"
replay "$SCRATCH/new"
is "$REPLAYED $(count newly_blocked) $(count newly_allowed) $(count unchanged)" \
	"1 $warned $blocked $((n - warned - blocked))" "others change exactly what they must"
denied "and nothing of that was more than asked" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# ---- matched ----------------------------------------------------------------------------------

configure 'capture: matched'
ok "a reload to those that match" reload
wait_for 10 settled
before=$(captured)
opens 50 "$TEST_HOME/.aws/other"
opens 50 "$TEST_HOME/.aws/warned"
wait_for 10 settled
is "$(($(captured) - before))" 50 "captures those alone"
is "$(grep -l '# captured: matched' "$STATE"/capture/* | wc -l)" 1 "in a file that says so"
replay "$OWN_RULES"
like "$(cat "$SCRATCH/json")" '"basis":"matched".*what else would newly be blocked is not known' \
	"and replay says what that cannot show"

# ---- limits -----------------------------------------------------------------------------------

configure 'capture: { events: all, max_size: 1M, max_age: 1h }'
ok "a limit of size" reload
# Of an hour and a half ago: too old.
touch -d '90 minutes ago' "$STATE/capture/00000001.jsonl"
ok "what is too old goes" wait_for 5 test ! -e "$STATE/capture/00000001.jsonl"
opens 4000 "$TEST_HOME/.aws/warned"
ok "more than there is room for is written" wait_for 20 settled
sleep 0.6
size=$(cat "$STATE"/capture/*.jsonl | wc -c)
like "$((size <= 1048576)) $((size > 400000))" '^1 1$' "no more than a megabyte stays ($size)"
isnt "$(find "$STATE/capture" -name '*.jsonl' | wc -l)" 1 "in several files"
ok "its status is in words, too" grep -qE '^capture +all: [0-9]+ events, ' <(oknek status)

# ---- disks ------------------------------------------------------------------------------------

configure 'capture: off'
ok "off" reload
before=$(captured)
opens 20 "$TEST_HOME/.aws/warned"
sleep 0.3
is "$(captured)" "$before" "nothing more is captured"
rm -rf "$STATE/capture" && mkdir "$STATE/capture" && mount -t tmpfs -o size=200k,mode=755 oknek-test "$STATE/capture"
: >"$LOG"
configure 'capture: { events: all, max_size: 64M }'
ok "on again, on a disk that is small" reload
opens 1500 "$TEST_HOME/.aws/warned"
wait_for 10 settled
isnt "$(status_get capture.dropped)" 0 "what has no room on the disk is counted as dropped"
is "$(status_get capture.ok)" false "status says so"
like "$(status_get capture.why)" 'No space' "and why"
denied "verdicts go on" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
opens 200 "$TEST_HOME/.aws/warned"
is "$(grep -c 'cannot be captured' "$LOG")" 1 "it is told once"
is "$(status_get evidence.ok)" true "evidence is none the worse"
is "$(cat "$STATE"/capture/*.jsonl | grep -v '^#' | grep -vc '^{.*}$')" 0 "there are whole lines only"
is "$(stat -c %a "$STATE/capture")" 700 "the folder was closed to others"
mount -o remount,size=64m "$STATE/capture"
opens 50 "$TEST_HOME/.aws/warned"
ok "with room it goes on" wait_for 10 status_is capture.ok true
is "$(grep -c 'being captured again' "$LOG")" 1 "which is told, too"
replay "$OWN_RULES"
is "$REPLAYED" 0 "what was written is right"
umount -l "$STATE/capture"
mount -t tmpfs -o ro oknek-test "$STATE/capture"
configure
ok "off" reload
configure 'capture: all'
ok "on, where nothing can be written" reload
opens 20 "$TEST_HOME/.aws/warned"
dropped_some() { [ "$(status_get capture.dropped)" -ge 20 ]; }
ok "is counted" wait_for 10 dropped_some
denied "and disturbs nobody" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# ---- what is wrong ----------------------------------------------------------------------------

configure 'capture: some'
nok "a word that is none is refused" reload
like "$(cat "$SCRATCH/out")" 'oknek.yaml:[0-9]+: capture must be off, matched or all' "and named"
is "$(status_get capture.what)" all "nothing changes"
for bad in 'capture: {max_size: 10}' 'capture: {max_age: 0s}' 'capture: {event: all}' 'capture: {max_size: 100K}'; do
	configure "$bad"
	nok "$bad is refused" reload
done
ok "it stops" stop_daemon
umount -l "$STATE/capture"
configure 'capture: all'
ok "and starts with capture" start_daemon --rules "$OWN_RULES"
denied "denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "and stops, all written" stop_daemon
is "$(grep -c '"verdict":"block".*"outcome":"denied"' "$STATE"/capture/*.jsonl | tail -n 1)" 1 "the last one too"
configure 'capture: off'
before=$(find "$STATE/capture" -name '*.jsonl' | wc -l)
echo '# captured: all' >"$STATE/capture/00009999.jsonl"
touch -d '15 days ago' "$STATE/capture/00009999.jsonl"
ok "it starts without" start_daemon --rules "$OWN_RULES"
ok "what is too old goes all the same" wait_for 5 test ! -e "$STATE/capture/00009999.jsonl"
is "$(find "$STATE/capture" -name '*.jsonl' | wc -l)" "$before" "and nothing else does"
ok "it stops" stop_daemon
scene_end
done_testing
