#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A known agent is recognised by its executable: when it is started, and when it runs already as the
# daemon starts. Nobody need have called oknek run.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
{
	echo 'mode: enforce'
	echo 'agents: {recognise: true}'
	echo "fanotify: {only: [\"$MNT\"]}"
} >"$CONFIG"
home_bin=$TEST_HOME/lib/node_modules/@anthropic-ai/claude-code/bin
as_user mkdir -p "$home_bin" "$TEST_HOME/bin"
# The agent is an executable of its own that runs a shell's commands.
cp "$(readlink -f /bin/bash)" "$home_bin/claude.exe"
cp "$(readlink -f /bin/bash)" "$TEST_HOME/bin/editor"
chmod 755 "$home_bin/claude.exe" "$TEST_HOME/bin/editor"
ln -s "$home_bin/claude.exe" "$TEST_HOME/bin/claude"
# shellcheck disable=SC2016
body='until [ -e "$2/go" ]; do sleep 0.05; done; "$1" "$3" >"$2/out" 2>&1; echo $? >"$2/rc"'

# One that runs before the daemon does, with the child that will ask already there.
timeout 60 "${OUTSIDE[@]}" "$home_bin/claude.exe" -c "$body" x "$(bin plain_open)" "$WORK" "$SECRET" \
	>/dev/null 2>&1 &
sleep 0.5
ok "it starts" start_daemon --rules "$OWN_RULES"
ok "the running agent is listed" wait_for 5 eval 'oknek --json agents | grep -q claude-code'
as_user touch "$WORK/go"
ok "it has tried" wait_for 10 test -s "$WORK/rc"
is "$(cat "$WORK/rc")" 1 "an agent that ran before the daemon is denied"

leaks=0
for _ in $(seq 30); do
	timeout 20 "${OUTSIDE[@]}" "$home_bin/claude.exe" -c '"$1" "$2"; exit $?' x \
		"$(bin plain_open)" "$SECRET" >/dev/null 2>&1
	[ $? -eq 1 ] || leaks=$((leaks + 1))
done
is $leaks 0 "an agent that is started is watched from its exec on, 30 times"
leaks=0
for _ in $(seq 30); do
	timeout 20 "${OUTSIDE[@]}" "$home_bin/claude.exe" -c 'read -r x <"$1" && echo "$x"' x \
		"$SECRET" >"$SCRATCH/out" 2>/dev/null && leaks=$((leaks + 1))
done
is $leaks 0 "its own first open is denied as well"
denied "through a symbolic link" \
	"${OUTSIDE[@]}" "$TEST_HOME/bin/claude" -c '"$1" "$2"; exit $?' x "$(bin plain_open)" "$SECRET"
ok "the record names the agent" records_reach 1 X700
is "$(events --rule X700 --limit 1 | "$(bin atk_json)" get agent.id)" claude-code "which it was"
gets "the same program under another name is no agent" \
	"${OUTSIDE[@]}" "$TEST_HOME/bin/editor" -c '"$1" "$2"; exit $?' x "$(bin plain_open)" "$SECRET"
ok "an agent opens ordinary files" "${OUTSIDE[@]}" "$home_bin/claude.exe" -c 'cat "$1"' x \
	"$TEST_HOME/notes.txt"
ok "no member is left" wait_for 10 eval '! oknek --json agents | grep -q "$TEST_HOME"'
ok "the daemon stops cleanly" stop_daemon

sed -i 's/recognise: true/recognise: false/' "$CONFIG"
ok "without recognition" start_daemon --rules "$OWN_RULES"
gets "nobody is recognised" \
	"${OUTSIDE[@]}" "$home_bin/claude.exe" -c '"$1" "$2"; exit $?' x "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
done_testing
