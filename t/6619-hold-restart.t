#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an operator refused is refused until the tree is unwatched, also by the next daemon; and no token
# of an earlier one stands for something else there.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
hold aws.yaml
write_rule other.yaml .ssh/key block X701
hold other.yaml
# Whoever is asked about it anew is let through when nobody answers.
sed -i 's/on_block: hold/&\n  on_timeout: allow\n  deadline: 30s/' "$OWN_RULES/other.yaml"
put "$TEST_HOME/.ssh/key" "$TOKEN"
mkdir "$MNT/bin" && cp "$(readlink -f /bin/sh)" "$MNT/bin/dash"
cat >"$OWN_RULES/exec.yaml" <<-END
	id: X800
	name: test rule
	version: 1
	kind: exec_observed
	match: { all_of: [ { bash_command: { contains: forbidden } } ] }
	action: { default: block, on_block: hold }
END
put "$WORK/script" "exec $MNT/bin/dash -c ': forbidden'"
write_config "hold: {deadline: 60s}" "exec: {programs: [\"$MNT/bin/dash\"]}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }

# --- tokens -------------------------------------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
wait_for 60 held 1
first=$(token)
ok "the daemon stops" stop_daemon
came 1 1 "who was held is denied"
start_daemon --rules "$OWN_RULES"
opens "$(bin plain_open)" "$SECRET"
wait_for 60 held 1
second=$(token)
ok "the next daemon has other tokens" [ "$second" -gt "$first" ]
nok "an answer that comes late" oknek allow "t$first"
ok "lets nobody else through" held 1
kill_daemon
came 2 1 "the daemon is killed: who was held is denied"
start_daemon --rules "$OWN_RULES"
opens "$(bin plain_open)" "$SECRET"
wait_for 60 held 1
ok "the one after that, too" [ "$(token)" -gt "$second" ]
oknek block "t$(token)" >/dev/null
came 3 1 "it is blocked"

# --- refusals -----------------------------------------------------------------------------------
# A tree that gives a program its file at each word, and says what came of it.
# shellcheck disable=SC2016 # for that shell
asks='while read -r word; do "$1" "$2" >/dev/null 2>&1; echo "$word $?"; done <"$3"'
file='' file_n='' let='' let_n='' runs='' runs_n=''
asker() { # asker NAME PROGRAM FILE: its words go to descriptor ${NAME}
	as_user mkfifo "$WORK/$1"
	patience=900
	opens bash -c "$asks" bash "$2" "$3" "$WORK/$1"
	patience=
	exec {fd}<>"$WORK/$1"
	declare -g "$1=$fd" "$1_n=$n"
}
said() { grep -qx "$2" "$SCRATCH/got.$1"; }
asker file "$(bin plain_open)" "$TEST_HOME/.ssh/key"
echo one >&"$file"
wait_for 60 held 1
ok "refused" oknek block "t$(token)"
ok "it is" wait_for 60 said "$file_n" 'one 1'
asker let "$(bin plain_open)" "$SECRET"
echo one >&"$let"
wait_for 60 held 1
ok "another is let through for a time" oknek allow "t$(token)" --for 1h
ok "it is" wait_for 60 said "$let_n" 'one 0'
asker runs bash "$WORK/script"
echo one >&"$runs"
wait_for 60 held 1
ok "a program is refused" oknek block "t$(token)"
ok "it is" wait_for 60 said "$runs_n" 'one 126'

ok "the daemon stops" stop_daemon
start_daemon --rules "$OWN_RULES"
echo two >&"$runs"
ok "after a restart the program is refused with these arguments" wait_for 60 said "$runs_n" 'two 126'
echo two >&"$file"
ok "and the file is, without being asked about" wait_for 60 said "$file_n" 'two 1'
records_reach 2 X701
is "$(events --rule X701 --limit 1 | jq -r '[.verdict,.outcome,.decided_by]|join(" ")')" "block denied operator" \
	"by the operator"
mv "$TEST_HOME/.ssh/key" "$TEST_HOME/.ssh/key.1" && put "$TEST_HOME/.ssh/key" "$TOKEN"
echo new >&"$file"
ok "also what has its name now" wait_for 60 said "$file_n" 'new 1'
opens "$(bin plain_open)" "$TEST_HOME/.ssh/key"
ok "another tree is asked about" wait_for 60 held 1
oknek block "t$(token)" >/dev/null
echo two >&"$let"
ok "what was let through for a time is asked about" wait_for 60 held 1
oknek allow "t$(token)" >/dev/null
wait_for 60 said "$let_n" 'two 0'

kill_daemon
start_daemon --rules "$OWN_RULES"
echo three >&"$file"
ok "after a kill it is refused" wait_for 60 said "$file_n" 'three 1'
old=$DAEMON_PID
launch_daemon --rules "$OWN_RULES" --replace
replaced() { ! kill -0 "$old" && oknek status; }
ok "another daemon takes over" wait_for 60 replaced
echo four >&"$file"
ok "it is refused there, too" wait_for 60 said "$file_n" 'four 1'

# --- a file that does not hold together ------------------------------------------------------------
ok "the daemon stops" stop_daemon
is "$(stat -c '%a %u' "$RUN/refused")" "600 0" "the file is root's alone"
cp "$RUN/refused" "$SCRATCH/refused"
noise() { head -c "$(stat -c %s "$1")" /dev/urandom >"$SCRATCH/noise" && cat "$SCRATCH/noise" >"$1"; }
for how in 'truncate -s 1000' 'chmod 666' 'chown 1' noise; do
	cp -p "$SCRATCH/refused" "$RUN/refused"
	# shellcheck disable=SC2086 # words
	$how "$RUN/refused"
	ok "$how: the daemon starts" start_daemon --rules "$OWN_RULES"
	echo "$how" >&"$file"
	ok "and asks" wait_for 60 held 1
	oknek block "t$(token)" >/dev/null
	ok "it stops" stop_daemon
done

# --- until it is unwatched -------------------------------------------------------------------------
start_daemon --rules "$OWN_RULES"
echo ": forbidden, too" | sed "s|.*|exec $MNT/bin/dash -c '&'|" >"$WORK/script"
echo other >&"$runs"
ok "other arguments are asked about" wait_for 60 held 1
oknek block "t$(token)" >/dev/null
echo five >&"$file"
ok "it is refused" wait_for 60 said "$file_n" 'five 1'
ok "unwatch" oknek unwatch "$(oknek --json agents | jq -s 'min_by(.tree).root_pid')"
echo six >&"$file"
ok "until it is unwatched" wait_for 60 said "$file_n" 'six 0'
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops cleanly" stop_daemon
done_testing
