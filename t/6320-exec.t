#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program that a rule blocks does not run: its start is held until its arguments are judged.
# serial
# sanitize: thread
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_command jq
[ -x /usr/bin/python3 ] || skip_all "needs /usr/bin/python3"
need_bin oknek oknekd

make_fs tmpfs "$SCRATCH/mnt"
test_user
B=$MNT/bin
mkdir -p "$B"
cp "$(readlink -f /bin/sh)" "$B/dash" && ln -s dash "$B/sh" && cp "$(command -v bash)" "$B/bash"
cp "$(readlink -f /usr/bin/python3)" "$B/python3"
did=$TEST_HOME/did
chain="echo x >>$did; :; :; :; :; :; :; :; :"

# run CMD…: by a member; then: what it left, and how often the first command ran.
ran() { local n=0; [ ! -e "$did" ] || n=$(wc -l <"$did"); rm -f "$did"; echo "$n"; }
# shells and callers of theirs; each must run the script once without the daemon
py() { as_user "$B/python3" -c "$1" "$B" "$chain"; }
fork='import os,sys,subprocess,threading
B,c=sys.argv[1:3]
'
ways=(
	"sh by its link" 'os.execv(B+"/sh",["sh","-c",c])'
	"bash" 'os.execv(B+"/bash",["bash","-c",c])'
	"under another name" 'os.execv(B+"/dash",["innocent","-c",c])'
	"by a descriptor" 'fd=os.open(B+"/dash",os.O_RDONLY); os.execve(fd,["sh","-c",c],{})'
	"by posix_spawn" 'p=os.posix_spawn(B+"/dash",["sh","-c",c],{}); os.waitpid(p,0)'
	"by vfork" 'subprocess.run([B+"/dash","-c",c],close_fds=False)'
	"from a thread" 't=threading.Thread(target=lambda:os.execv(B+"/dash",["sh","-c",c])); t.start(); t.join()'
	"by a daemon of its own" '
if os.fork()==0:
  os.setsid()
  if os.fork()==0: os.execv(B+"/dash",["sh","-c",c])
  os._exit(0)
import time; time.sleep(0.5)'
	"by env" 'os.execv("/usr/bin/env",["env","A=1",B+"/dash","-c",c])'
	"through a hard link" '
try: os.unlink(B+"/../home/oknektest/ln")
except OSError: pass
os.execv(B+"/ln",["ln","-c",c])'
)
ln "$B/dash" "$B/ln"
for ((i = 0; i < ${#ways[@]}; i += 2)); do
	py "$fork${ways[i + 1]}" >/dev/null 2>&1
	is "$(ran)" 1 "without the daemon: ${ways[i]}"
done
# A first line and a file's name are arguments, too, of which the call has none.
# shellcheck disable=SC2016 # for that shell
tricky=':;:;:;:;:;:;:;:;echo x >>did;sleep "$0"'
as_user mkdir "$TEST_HOME/tricky"
printf '#!%s -c\n' "$B/dash" >"$TEST_HOME/tricky/$tricky"
chmod 755 "$TEST_HOME/tricky/$tricky"
by_name='import os,sys
os.chdir(sys.argv[1])
os.execv(sys.argv[2],["x",sys.argv[3]])'
named() { did=$TEST_HOME/tricky/did ran; }
as_user "$B/python3" -c "$by_name" "$TEST_HOME/tricky" "$tricky" 0
is "$(named)" 1 "without the daemon: by the name of a script"

write_config "exec: {programs: [\"$B/sh\", \"$B/bash\", \"$B/dash\", \"$MNT/bin/z*\"]}"
start_daemon || exit 1
like "$(oknek --json rules | grep '"R1"')" '"mechanism": ?"fanotify"' "R1 is held by fanotify"
as_user "$(bin oknek)" --run-dir "$RUN" run -- true
is "$(oknek --json status | jq .enforcement.exec.programs)" 2 "the programs are marked, once each"

for ((i = 0; i < ${#ways[@]}; i += 2)); do
	agent "$B/python3" -c "$fork${ways[i + 1]}" "$B" "$chain" >/dev/null 2>&1
	is "$(ran)" 0 "blocked: ${ways[i]}"
done
agent "$B/sh" -c "$chain" 2>"$SCRATCH/err"
like "$(cat "$SCRATCH/err")" 'Operation not permitted' "whoever tries is told EPERM"
agent "$B/sh" -c "echo x >>$did; :"
is "$(ran)" 1 "a short script runs"
py "$fork${ways[1]}"
is "$(ran)" 1 "a stranger's runs"

all_told() { [ "$(events --rule R1 | grep -c .)" -ge 11 ]; }
wait_for 5 all_told
rec=$(events --rule R1 | grep '"block"' | tail -n 1)
is "$(jq -r '[.verdict,.mechanism,.errno,.outcome,.decided_by]|join(" ")' <<<"$rec")" \
	"block fanotify EPERM denied rule" "the record says what happened"
is "$(jq -r '.capture.chain_depth' <<<"$rec")" 9 "and how deep the chain is"
like "$(jq -r '.capture.bash_command' <<<"$rec")" '^echo x >>' "and the script"
ok "and is signed" oknek verify --state-dir "$STATE"
is "$(events --rule R1 | jq -r .verdict | sort | uniq -c | tr -s ' ')" " 11 block" \
	"one record for each"

# --- scripts -----------------------------------------------------------------------------------
printf '#!%s\necho x >>%s\n' "$B/dash" "$did" >"$MNT/script" && chmod 755 "$MNT/script"
agent "$MNT/script"
is "$(ran)" 1 "a script of a marked shell runs"
settled() {
	oknek --json events --limit 0 | jq -r --argjson l "$1" 'select(.seq > $l) |
		select(.rule.id == "R1") | "R1 \(.verdict) \(.outcome) \(.decided_by)"'
}
last() { oknek --json events --limit 1 | jq .seq; }
seq=$(last)
s=$(date +%s%N)
agent "$B/python3" -c "$by_name" "$TEST_HOME/tricky" "$tricky" 30
took=$((($(date +%s%N) - s) / 1000000))
ok "a script that is called as what it does is killed" test "$took" -lt 5000
one_more() { [ "$(settled "$seq" | grep -c .)" -ge 1 ]; }
wait_for 5 one_more
is "$(settled "$seq")" "R1 detected killed rule" "which is recorded, once"
like "$(events --rule R1 --limit 1 | jq -r .capture.bash_command)" '^:;:;:;' "with what it was"
named >/dev/null
seq=$(last)
agent "$B/python3" -c "$by_name" "$TEST_HOME/tricky" "$tricky" 0
wait_for 5 one_more
like "$(settled "$seq")" '^R1 detected [a-z]+ rule$' "and so is one that ends at once"

# --- many at once ------------------------------------------------------------------------------
at_once() {
	local i p=()
	for i in 1 2 3 4 5 6 7 8; do agent "$B/dash" -c "$1" 2>/dev/null & p+=($!); done
	wait "${p[@]}"
}
at_once "$chain"
is "$(ran)" 0 "eight at once: none runs"
at_once "echo x >>$did"
is "$(ran)" 8 "eight that are allowed: each runs"
# shellcheck disable=SC2016 # for that shell
agent "$B/bash" -c 'for i in $(seq 60); do '"$B"'/dash -c "echo x >>'"$did"'" & done; wait'
is "$(ran)" 60 "sixty of one tree: none is refused for want of room"

# --- what is not a marked program --------------------------------------------------------------
cp "$B/dash" "$MNT/copy"
agent "$MNT/copy" -c "$chain"
is "$(ran)" 1 "a copy that is not marked runs"

# --- a shell that is replaced -------------------------------------------------------------------
cp "$B/dash" "$B/new" && mv "$B/new" "$B/dash"
blocked() { agent "$B/dash" -c "$chain" 2>/dev/null; [ "$(ran)" = 0 ]; }
ok "a shell that was replaced is held again soon" wait_for 3 blocked
cp "$B/dash" "$B/zsh"
blocked_new() { agent "$B/zsh" -c "$chain" 2>/dev/null; [ "$(ran)" = 0 ]; }
ok "and one that is new" wait_for 3 blocked_new

# --- the guardian -------------------------------------------------------------------------------
kill -STOP "$DAEMON_PID"
s=$(date +%s%N)
py "$fork${ways[1]}"
took=$((($(date +%s%N) - s) / 1000000))
is "$(ran)" 1 "the daemon is stopped: a stranger's shell runs"
ok "within two seconds" test "$took" -lt 2000
kill -CONT "$DAEMON_PID"
wait_for 5 oknek status

# --- reload, observe ----------------------------------------------------------------------------
sed 's/hold: true/&/; s/^exec: {/exec: {hold: false, /' "$CONFIG" >"$CONFIG.new" && mv "$CONFIG.new" "$CONFIG"
ok "exec.hold: false, reloaded" oknek update --reload-local
like "$(oknek --json rules | grep '"R1"')" '"mechanism": ?"detect"' "R1 is only detected then"
agent "$B/dash" -c "$chain"
is "$(ran)" 1 "and nothing is held"
no_marks() { [ "$(oknek --json status | jq .enforcement.exec.programs)" = 0 ]; }
ok "no program is marked" wait_for 5 no_marks
sed -i 's/hold: false, //' "$CONFIG"
ok "exec.hold: true, reloaded" oknek update --reload-local
agent "$B/dash" -c "$chain" 2>/dev/null
is "$(ran)" 0 "it is held again"
ok "observe" oknek mode observe
agent "$B/dash" -c "$chain"
is "$(ran)" 1 "observing: it runs"
ok "and no program is marked" wait_for 5 no_marks
ok "enforce" oknek mode enforce
agent "$B/dash" -c "$chain" 2>/dev/null
is "$(ran)" 0 "enforcing again: it is held"
ok "pause" oknek pause 1m
agent "$B/dash" -c "$chain"
is "$(ran)" 1 "paused: it runs"
ok "the daemon stops" stop_daemon
done_testing
