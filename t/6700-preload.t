#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The preload shim alone: real programs ask, what the rules say is done to them, and each action is one
# serial
# record, of who the kernel says it was.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd oknek_preload.so pre_calls pre_lies
need_command jq

# The records since the last call, as RULE VERDICT MECHANISM OUTCOME SOURCE ERRNO COUNT.
records() {
	local last
	last=$(cat "$SCRATCH/last" 2>/dev/null)
	oknek --json events --limit 1000 | jq -r --argjson l "${last:-0}" 'select(.seq > $l and .kind != null) |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source) \(.errno)"' | sort | uniq -c |
		sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}
# What was decided is in the journal before the answer; and in the database when nothing is pending.
kept() { [ "$(oknek --json status | jq .evidence.pending)" = 0 ]; }
settled() { sleep 0.2; wait_for 60 kept; records; }
last() { oknek --json events --limit 1 | jq -r "$1"; }
calls() { "${IN_TREE[@]}" "$(bin pre_calls)" "$@"; }

scene tmpfs || { fail "the scene"; done_testing; }
chmod 755 "$(bin oknek_preload.so)"
write_rule warned.yaml notes.txt warn X701
cat >"$OWN_RULES/exec.yaml" <<-END
	id: X703
	name: refused arguments
	version: 1
	kind: exec_observed
	match: {all_of: [{argv: {contains: "not-this"}}]}
	action: {default: block}
	evidence: {capture: [argv, process_name]}
END
cat >"$OWN_RULES/connect.yaml" <<-END
	id: X704
	name: refused port
	version: 1
	kind: socket_connect
	match: {all_of: [{dest_port: {eq: 9}}]}
	action: {default: block}
	evidence: {capture: [dest_ip, dest_port, protocol]}
END
cat >"$OWN_RULES/class.yaml" <<-END
	id: X705
	name: refused kind of destination
	version: 1
	kind: socket_connect
	match: {any_of: [{egress: {in: [foreign, metadata]}}]}
	action: {default: block}
	evidence: {capture: [dest_ip]}
END
sed 's/X705/X706/; s/any_of: \[/&{dest_port: {eq: 11}}, /' "$OWN_RULES/class.yaml" >"$OWN_RULES/either.yaml"
cat >"$OWN_RULES/exe.yaml" <<-END
	id: X707
	name: refused program
	version: 1
	kind: exec_observed
	match: {all_of: [{exe: {eq: "$(realpath "$(command -v sh)")"}}, {argv: {contains: "that-file"}}]}
	action: {default: block}
	evidence: {capture: [argv]}
END
HEAD=$(realpath "$(command -v head)")
write_config 'on_unenforceable: refuse'
launch_daemon --source=preload --rules "$OWN_RULES"
wait_daemon || kill_daemon
is "$DAEMON_STATUS" 69 "on_unenforceable: refuse does not start on advice"
for rule in X700 X703 X704 X705 X706; do
	like "$(grep on_unenforceable "$LOG")" "refuse: .*$rule" "and names $rule"
done
unlike "$(grep on_unenforceable "$LOG")" X701 "not what only warns"
like "$(cat "$LOG")" 'X700 .*: by programs that ask .*advisory' "and says why"
write_config 'exceptions:' "  X700: { match: { exe: { eq: $HEAD } }, reason: it may, author: t }"
: >"$LOG"
ok "a daemon with the shim alone" start_daemon --source=preload --rules "$OWN_RULES"
is "$(oknek --json status | jq -c '[[.sources[].name], .enforcement.mechanism]')" '[["preload"],"preload"]' \
	"status names source and mechanism"
like "$(oknek --json status | jq -r '.warnings[]')" 'advisory: static programs' "and that it can be bypassed"
ok "so does the log" grep -q 'preload: the preload shim is advisory' "$LOG"
is "$(oknek --json rules | jq -r '"\(.id) \(.mechanism)"' | sort | paste -sd' ')" \
	"X700 preload X701 detect X703 preload X704 preload X705 preload X706 preload X707 preload" \
	"rules are bound to it"

# ---- real programs ---------------------------------------------------------------------------------

blocked='1 X700 block preload denied preload EPERM'
records >/dev/null
denied "cat" "${IN_TREE[@]}" cat "$SECRET"
is "$(settled)" "$blocked" "is one record"
is "$(last '"\(.agent.id) \(.process.comm) \(.process.uid) \(.process.exe)"')" \
	"claude-code cat $TEST_UID $(realpath "$(command -v cat)")" "of who did it"
like "$(last .process.lineage)" 'cat' "whose lineage is known"
why=$(oknek why)
like "$why" 'do not look for another way to the file\. ' "why says what to do"
unlike "$why" 'names and links|protected' "and not that there is no other way"
"${IN_TREE[@]}" true 2>"$SCRATCH/err"
like "$(cat "$SCRATCH/err")" 'advisory: static programs' "who starts a watched command hears that it can be bypassed"
sleep 300 &
out=$(oknek watch $! 2>&1)
like "$out" 'advisory: static programs.*
.*runs already is asked only if it was started with the shim' "and who has one watched that runs already"
kill $!
denied "bash by redirection" "${IN_TREE[@]}" bash -c 'read -r x <"$1" || exit 1; echo "$x"' - "$SECRET"
is "$(settled)" "$blocked" "is one record, too"
denied "a child of a shell" "${IN_TREE[@]}" bash -c "cat '$SECRET'; exit \$?"
denied "by a relative name" "${IN_TREE[@]}" bash -c "cd '${SECRET%/*}' && exec cat ./credentials"
as_user ln -s "$SECRET" "$TEST_HOME/link"
denied "by a symbolic link" "${IN_TREE[@]}" cat "$TEST_HOME/link"
denied "by a directory's link" "${IN_TREE[@]}" cat "/proc/self/root$SECRET"
is "$(settled)" "4 ${blocked#1 }" "are a record each"
if command -v python3 >/dev/null; then
	denied "python" "${IN_TREE[@]}" python3 -c \
		'import sys;print(open(sys.argv[1]).read())' "$SECRET"
	denied "python and a child" "${IN_TREE[@]}" python3 -c 'import subprocess,sys
sys.exit(subprocess.run(["cat", sys.argv[1]]).returncode)' "$SECRET"
	records >/dev/null
fi
if command -v node >/dev/null; then
	denied "node" timeout 30 "${IN_TREE[@]}" node -e \
		'try { console.log(require("fs").readFileSync(process.argv[1], "utf8")) } catch (e) { process.exit(1) }' \
		"$SECRET"
fi
settled >/dev/null
gets "a program that is excepted may" "${IN_TREE[@]}" "$HEAD" -n 9 "$SECRET"
cp "$HEAD" "$SCRATCH/bin/head" && chown "$TEST_UID" "$SCRATCH/bin/head"
denied "not one that is called so" "${IN_TREE[@]}" "$SCRATCH/bin/head" -n 9 "$SECRET"
denied "nor one that stands there for itself alone" unshare --mount --propagation private \
	bash -c 'mount --bind "$1" "$2" && shift 2 && exec "$@"' - "$SCRATCH/bin/head" "$HEAD" \
	"${IN_TREE[@]}" "$HEAD" -n 9 "$SECRET"
settled >/dev/null
gets "outside of a tree nobody is asked" "${OUTSIDE[@]}" cat "$SECRET"
gets "nor is a stranger with the shim refused" "${OUTSIDE[@]}" env OKNEK_RUN_DIR="$RUN" \
	LD_PRELOAD="$(bin oknek_preload.so)" cat "$SECRET"
is "$(settled)" "" "and of neither is there a record"
ok "what a rule warns of" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
is "$(settled)" "1 X701 warn detect allowed preload null" "is recorded and allowed"
ok "what no rule names" "${IN_TREE[@]}" cat "$TEST_HOME/.aws/other"
is "$(settled)" "" "is not recorded"

# ---- each way to call it ------------------------------------------------------------------------------

for way in open openat creat fopen fopen64 freopen open_2 openat_dir thread signal forked vforked; do
	exits 1 "$way: EPERM" calls "$way" "$SECRET"
	exits 0 "$way: another file" calls "$way" "$TEST_HOME/.aws/other"
done
is "$(settled)" "12 ${blocked#1 }" "each is one record"
exits 0 "a file that is to be made" calls creat "$TEST_HOME/new"
rm -f "$SECRET"
exits 1 "a secret that is to be made" calls creat "$SECRET"
[ ! -e "$SECRET" ]; is $? 0 "is not"
lay_secret
exits 0 "errno is kept, and that of the call is its own" calls errno "$TEST_HOME"
exits 0 "a program's own open() is its own" calls own "$SECRET"
exits 0 "a library that opens by dlopen()" calls dlopened "$TEST_HOME/.aws/other"
exits 0 "bad pointers are the kernel's to refuse" calls efault
exits 0 "those that end too early, and addresses, messages and arguments" calls efault_far
exits 0 "arguments about as long as are sent: longer ones may hold anything" calls long

settled >/dev/null
for way in execve execv execvp execvpe execl execlp execle execveat fexecve posix_spawn posix_spawnp system popen; do
	exits 1 "$way: EPERM" calls "$way" not-this
	exits 0 "$way: other arguments" calls "$way" fine
done
is "$(settled)" "13 X703 block preload denied preload EPERM" "each is one record"
is "$(last .rule.id)" X703 "the last of them"
is "$(oknek --json events --rule X703 --limit 1 | jq -r '.process.exe')" "$(realpath /bin/sh)" "names the program"
# What execvp(3) passes over in PATH is not what is asked about.
mkdir -p "$SCRATCH/front/sh" && chmod 755 "$SCRATCH/front" "$SCRATCH/front/sh"
settled >/dev/null
for way in execvp execvpe execlp posix_spawnp; do
	exits 1 "$way, a directory of that name before it: EPERM" env PATH="$SCRATCH/front:$PATH" \
		"${IN_TREE[@]}" "$(bin pre_calls)" "$way" that-file
	exits 0 "$way: other arguments" env PATH="$SCRATCH/front:$PATH" \
		"${IN_TREE[@]}" "$(bin pre_calls)" "$way" fine
done
is "$(settled)" "4 X707 block preload denied preload EPERM" "each is one record"
settled >/dev/null
for way in connect sendto sendmsg; do
	exits 1 "$way: EPERM" calls "$way" 9
	exits 0 "$way: another port" calls "$way" 10
done
is "$(settled)" "3 X704 block preload denied preload EPERM" "each is one record"
is "$(last '"\(.capture.dest_ip) \(.capture.dest_port) \(.capture.protocol)"')" "127.0.0.1 9 udp" "says where to"
exits 1 "one of two ways to match is enough" calls connect 11
is "$(settled)" "1 X706 block preload denied preload EPERM" "it is, by the port"

# ---- a shim that lies, and who asks without one --------------------------------------------------------

settled >/dev/null
ok "a member that names another's pid, agent and uid" "${IN_TREE[@]}" "$(bin pre_lies)" "$RUN/oknek.sock" "$SECRET"
like "$(cat "$SCRATCH/out")" '"verdict":"block"' "is judged"
is "$(last '"\(.agent.id) \(.process.uid) \(.process.comm)"')" "claude-code $TEST_UID pre_lies" "as who it is"
isnt "$(last .process.pid)" 1 "and not as the one it named"
settled >/dev/null
ok "a stranger that names a member's pid" "${OUTSIDE[@]}" "$(bin pre_lies)" "$RUN/oknek.sock" "$SECRET"
like "$(cat "$SCRATCH/out")" '"verdict":"allow","watched":false' "is a stranger"
is "$(settled)" "" "of whom nothing is recorded"
for bad in '{"cmd":"judge"}' '{"cmd":"judge","what":"open","path":"zz","given":"","access":0}' \
	'{"cmd":"judge","what":"open","path":"2f00","given":"","access":0}' \
	'{"cmd":"judge","what":"exec","path":"2f","given":"","argv":"61","cut":0}' \
	'{"cmd":"judge","what":"connect","address":"0200","type":1,"protocol":6}'; do
	"${IN_TREE[@]}" "$(bin pre_lies)" "$RUN/oknek.sock" raw "$bad" >"$SCRATCH/out" 2>&1
	like "$(cat "$SCRATCH/out")" '"code":"usage"' "nonsense is refused: $bad"
done
is "$(oknek --json status | jq '.sources[0].malformed')" 5 "and counted"

# ---- on_block: hold ------------------------------------------------------------------------------------

echo 'on_block: hold' >>"$CONFIG"
ok "all rules are to ask an operator" oknek update --reload-local
settled >/dev/null
denied "whoever asks by the shim cannot be held" timeout 30 "${IN_TREE[@]}" cat "$SECRET"
is "$(settled)" "$blocked" "and is denied at once"
is "$(oknek --json pending)" "" "no operator is asked"
like "$(oknek rules explain X700)" 'cannot be held: denied at once' "which is said"
unlike "$(oknek rules explain X700)" 'operator' "and not that one is"

# ---- observe -------------------------------------------------------------------------------------------

ok "observe mode" oknek mode observe
settled >/dev/null
gets "the secret is read" "${IN_TREE[@]}" cat "$SECRET"
is "$(settled)" "1 X700 would_block preload allowed preload null" "and recorded as would_block"
ok "the daemon stops" stop_daemon
done_testing
