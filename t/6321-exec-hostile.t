#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Arguments of a held program that cannot be read, or are none: an answer comes, and others go on.
# serial
# sanitize: address
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
cp "$(readlink -f /bin/sh)" "$B/dash"
cp "$(readlink -f /usr/bin/python3)" "$B/python3"
did=$TEST_HOME/did
ran() { local n=0; [ ! -e "$did" ] || n=$(wc -l <"$did"); rm -f "$did"; echo "$n"; }

# Arguments as raw pointers, which no library makes.
cat >"$MNT/raw.py" <<'PY'
import ctypes, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
shell, how, did = sys.argv[1:4]
def execve(argv):
    libc.syscall(59, shell.encode(), argv, None)
    sys.exit(ctypes.get_errno())
def array(*v):
    return (ctypes.c_char_p * (len(v) + 1))(*v, None)
if how == "null":
    execve(None)
if how == "empty":
    execve(array())
if how == "bad":
    execve(ctypes.c_void_p(16))
if how == "huge":
    execve(array(b"sh", b"-c", b"echo x >>" + did.encode(), *[b"y" * 100000] * 19))
if how == "long":
    execve(array(b"sh", b"-c", b"echo x >>" + did.encode() + b"\n#" + b"y" * 100000))
if how == "nothing":
    for i in range(12):
        libc.syscall(59, (os.path.dirname(shell) + "/none").encode(), array(b"sh", b"-c", b":"), None)
    sys.exit(0)
if how == "never":
    UFFDIO_API, UFFDIO_REGISTER = 0xc018aa3f, 0xc020aa00
    fd = libc.syscall(323, 0o2000000)
    if fd < 0:
        sys.exit(99)
    api = (ctypes.c_uint64 * 3)(0xaa, 0, 0)
    if libc.ioctl(fd, ctypes.c_ulong(UFFDIO_API), api):
        sys.exit(99)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    at = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    reg = (ctypes.c_uint64 * 4)(at, 4096, 1, 0)
    if libc.ioctl(fd, ctypes.c_ulong(UFFDIO_REGISTER), reg):
        sys.exit(99)
    execve(ctypes.c_void_p(at))
PY
raw() { "$B/python3" "$MNT/raw.py" "$B/dash" "$1" "$did"; }

as_user "$B/python3" "$MNT/raw.py" "$B/dash" huge "$did" </dev/null
is "$(ran)" 1 "without the daemon: two megabytes of arguments"
as_user "$B/python3" "$MNT/raw.py" "$B/dash" long "$did" </dev/null
is "$(ran)" 1 "without the daemon: a script of 100,000 bytes"

echo 'no program' >"$B/none" && chmod 755 "$B/none"
write_config "exec: {programs: [\"$B/dash\", \"$B/none\"]}"
start_daemon || exit 1
agent true
member() { agent "$B/python3" "$MNT/raw.py" "$B/dash" "$1" "$did" </dev/null >/dev/null 2>&1; }
member huge
is "$(ran)" 1 "two megabytes of arguments, of which the script is short: it runs"
exits 1 "a script that is longer than what is read is blocked" member long
is "$(ran)" 0 "nothing of it ran"
exits 0 "no arguments at all: it runs, and does nothing" member null
exits 0 "an empty list of them" member empty
exits 1 "a list that is not in memory: it is refused" member bad

if [ "$(oknek --json status | jq '[.sources[].name] | index("ebpf") != null')" = true ]; then
	member nothing
	pushed() { oknek --json status | jq '.sources[] | select(.name == "ebpf") | .pushed_out'; }
	all_pushed() { [ "$(pushed)" -ge 8 ]; }
	wait_for 30 all_pushed
	is "$(pushed)" 8 "of twelve starts that fail, one after the other, four have room"
	like "$(oknek status)" '8 execs found no room until they ran' "which status tells"
	told_pushed() {
		[ "$(events --rule O1 | jq -s 'map(select(.rule.name == "execs not compared by the kernel") |
			.capture.count) | add // 0')" -ge 1 ]
	}
	ok "and a record" wait_for 30 told_pushed
	ok "and the log" wait_for 30 grep -q 'execs that were let go found no room' "$LOG"
	agent "$B/dash" -c "echo x >>$did"
	is "$(ran)" 1 "others run"
else
	skip "starts that fail" "no eBPF here"
fi

if raw never </dev/null >/dev/null 2>&1 & p=$!; sleep 0.3; kill -0 $p 2>/dev/null; then
	kill -KILL $p
	wait $p 2>/dev/null
	# root: others may not make memory that the kernel waits for
	s=$(date +%s%N)
	oknek run -- "$B/python3" "$MNT/raw.py" "$B/dash" never "$did" </dev/null >/dev/null 2>&1 &
	p=$!
	agent "$B/dash" -c "echo x >>$did"
	is "$(ran)" 1 "memory that never answers: another tree's shell runs meanwhile"
	as_user "$B/dash" -c "echo x >>$did"
	is "$(ran)" 1 "and a stranger's"
	wait $p
	is $? 1 "it is refused itself"
	ok "within some seconds" test $((($(date +%s%N) - s) / 1000000)) -lt 20000
	told() { [ "$(events --limit 0 | grep -c '"decided_by":"deadline"')" -ge 1 ]; }
	ok "which is recorded" wait_for 30 told
else
	skip "memory that never answers" "no userfaultfd here"
fi
ok "the daemon stops" stop_daemon

# --- more than can wait --------------------------------------------------------------------
# Nobody reads arguments: as many as may wait do so, and whoever comes then is let go unread.
cat >"$MNT/many.py" <<'PY'
import os, signal, sys, time
shell, went, stopped, full = sys.argv[1:5]
def start(script):
    pid = os.fork()
    if pid == 0:
        os.execv(shell, ["sh", "-c", script])
    return pid
open(went, "w").close()
while not os.path.exists(stopped):
    time.sleep(0.05)
wait = [start(":") for i in range(256)]
while not os.path.exists(full):
    time.sleep(0.05)
late = [start(":; :; :; :; :; :; :; :; :; exec sleep 20") for i in range(8)]
died = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in late]
print(died.count(-signal.SIGKILL), [os.waitpid(p, 0)[1] for p in wait].count(0))
PY
# peekers PID: those of its descendants that read arguments.
peekers() {
	local p
	for p in $(pgrep -P "$1"); do
		[[ $(cat "/proc/$p/comm" 2>/dev/null) != oknek-peek* ]] || echo "$p"
		peekers "$p"
	done
}
write_config "exec: {programs: [\"$B/dash\"]}" "on_timeout: allow" "deadline: 10s"
start_daemon || exit 1
agent "$B/python3" "$MNT/many.py" "$B/dash" "$TEST_HOME/went" "$MNT/stopped" "$MNT/full" \
	>"$SCRATCH/many" &
p=$!
wait_for 30 test -e "$TEST_HOME/went"
mapfile -t stopped < <(peekers "$DAEMON_PID")
kill -STOP "${stopped[@]}"
touch "$MNT/stopped"
full() { [ "$(oknek --json status | jq .enforcement.pending)" -ge 256 ]; }
wait_for 8 full
touch "$MNT/full"
wait $p
kill -CONT "${stopped[@]}"
is "$(cat "$SCRATCH/many")" "8 256" "who finds no room is let go, looked at, and killed"
ok "the daemon stops" stop_daemon
done_testing
