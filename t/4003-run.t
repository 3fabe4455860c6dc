#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek run: the command is watched or it is not run, and nothing else about it changes.
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
need_bin oknek fakedaemon
need_command python3

mkdir -p "$RUN"
"$(bin fakedaemon)" "$RUN" </dev/null >"$SCRATCH/ready" 2>&1 &
DAEMON_PID=$!
disown
wait_for 10 grep -q ready "$SCRATCH/ready" || { fail "the test daemon starts"; done_testing; }

exits 0 "exit status 0" oknek run true
exits 3 "exit status 3" oknek run -- sh -c 'exit 3'
exits 255 "exit status 255" oknek run -- sh -c 'exit 255'
# shellcheck disable=SC2016 # for the inner shell
exits 137 "killed by signal 9" oknek run -- sh -c 'kill -9 $$'
# shellcheck disable=SC2016 # for the inner shell
exits 143 "killed by signal 15" oknek run -- sh -c 'kill -15 $$'
exits 127 "a command that is not there" oknek run -- "$SCRATCH/none"
like "$(cat "$SCRATCH/out")" "oknek: $SCRATCH/none: No such file" "is said"
exits 127 "nor in PATH" env PATH=/usr/bin:/bin "$(bin oknek)" --run-dir "$RUN" run nonesuch-command
touch "$SCRATCH/plain"
exits 126 "one that cannot be executed" oknek run -- "$SCRATCH/plain"
exits 126 "a directory" oknek run -- "$SCRATCH"

exits 125 "no command" oknek run
exits 125 "no command after --" oknek run --
exits 125 "unknown option" oknek run --frob true
exits 125 "a bad name" oknek run --agent 'a b' -- true
exits 125 "refused: not run" oknek run --agent refused -- touch "$SCRATCH/ran"
is "$(cat "$SCRATCH/out")" "oknek: not today; the command was not run" "and says why"
exits 125 "no daemon: not run" "$(bin oknek)" --run-dir "$SCRATCH/none" run touch "$SCRATCH/ran"
ok "really" test ! -e "$SCRATCH/ran"
is "$(oknek run --agent warned -- echo hi 2>&1)" 'oknek: two\nlines \x1b[31m
hi' "warnings come first, in a line each"

# What the command gets.
odd=(a '' ' b ' $'new\nline' $'\xff\xfe' --agent -- '*' $'\e[2J')
is "$(oknek run -- printf '<%s>' "${odd[@]}" | od -c)" "$(printf '<%s>' "${odd[@]}" | od -c)" \
	"arguments of any bytes"
is "$(oknek run printf %s --help)" --help "options after the command are its own"
env_now() { env -u _ -u SHLVL | sort; }
is "$(oknek run env -u _ -u SHLVL | sort)" "$(env_now)" "the environment"
is "$(cd "$SCRATCH" && oknek run pwd)" "$SCRATCH" "the directory"
is "$(echo data | oknek run cat)" data "stdin"
is "$(oknek run id -u)" "$(id -u)" "the uid"
# ls itself adds the one for the directory it reads; 9 is ours and is to be passed on.
is "$(oknek run bash -c 'ls /proc/self/fd' 9</dev/null | tr '\n' ' ')" \
	"$(bash -c 'ls /proc/self/fd' 9</dev/null | tr '\n' ' ')" "the descriptors, and none more"
mask='import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
	[int(s) for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN])'
is "$(oknek run python3 -c "$mask")" "$(python3 -c "$mask")" "the signal mask and dispositions"
is "$(bash -c 'trap "" HUP USR1 CHLD; exec "$@"' _ "$(bin oknek)" --run-dir "$RUN" run python3 -c "$mask")" \
	"$(bash -c 'trap "" HUP USR1 CHLD; exec "$@"' _ python3 -c "$mask")" "ignored ones too"
ok "SIGCHLD ignored around it does not hide the status" bash -c \
	'trap "" CHLD; "$@"; test $? -eq 4' _ "$(bin oknek)" --run-dir "$RUN" run sh -c 'exit 4'

# Before the command begins, its pid is known to the daemon.
: >"$RUN/log"
# shellcheck disable=SC2016 # for the inner shell
pid=$(oknek run sh -c 'echo $$')
like "$(cat "$RUN/log")" "\"pid\":$pid\}" "it was announced by its pid"

# Signals to oknek reach the command; a terminal's it gets itself.
python3 - "$(bin oknek)" "$RUN" <<'PY' >"$SCRATCH/py" 2>&1
import os, pty, signal, subprocess, sys, time
oknek = [sys.argv[1], "--run-dir", sys.argv[2], "run", "--"]
n = 0
def check(good, what):
    print(("ok" if good else "not ok") + " " + what)
def until(fn, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if fn():
            return True
        time.sleep(0.02)
    return False
def state(pid):
    try:
        return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""
def child(pid):
    try:
        kids = open("/proc/%d/task/%d/children" % (pid, pid)).read().split()
        return int(kids[0]) if kids else 0
    except OSError:
        return 0

for sig, status in ((signal.SIGTERM, 7), (signal.SIGHUP, 7), (signal.SIGUSR1, 7), (signal.SIGUSR2, 7)):
    p = subprocess.Popen(oknek + ["bash", "-c", "trap 'exit 7' TERM HUP USR1 USR2; echo go; while :; do sleep 0.05; done"], stdout=subprocess.PIPE)
    p.stdout.readline()
    p.send_signal(sig)
    check(p.wait(10) == status, "signal %d is forwarded" % sig)

p = subprocess.Popen(oknek + ["sleep", "30"])
until(lambda: child(p.pid))
kid = child(p.pid)
until(lambda: open("/proc/%d/comm" % kid).read().strip() == "sleep")
p.send_signal(signal.SIGINT)
p.send_signal(signal.SIGQUIT)
time.sleep(0.2)
check(p.poll() is None, "SIGINT and SIGQUIT for oknek alone end nothing")
os.kill(kid, signal.SIGSTOP)
time.sleep(0.2)
check(state(p.pid) != "T", "no shell waits: oknek does not stop with its child")
os.kill(kid, signal.SIGKILL)
check(p.wait(10) == 137, "and sees how it ends")
check(not os.path.exists("/proc/%d" % kid), "no zombie")

# On a terminal, as a job of a shell.
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
os.write(fd, b"PS1='> '; stty -echo\n")
buf = b""
import select
def expect(text, seconds=10):
    global buf
    end = time.time() + seconds
    while text not in buf and time.time() < end:
        if select.select([fd], [], [], 0.1)[0]:
            buf += os.read(fd, 4096)
    found = text in buf
    buf = buf.split(text, 1)[1] if found else buf
    return found
run = " ".join(oknek).encode()
os.write(fd, b"echo re'a'dy\n")
expect(b"ready")
os.write(fd, run + b" cat\n")
time.sleep(0.5)
os.write(fd, b"typed\n")
check(expect(b"typed"), "the command reads from the terminal")
os.write(fd, b"\x1a")
check(expect(b"Stopped"), "^Z stops the job")
os.write(fd, b"fg\n")
time.sleep(0.3)
os.write(fd, b"again\n")
check(expect(b"again"), "fg continues it")
os.write(fd, b"\x1a")
check(expect(b"Stopped"), "^Z stops it again")
os.write(fd, b"fg\n")
time.sleep(0.3)
os.write(fd, b"in front\n")
expect(b"in front")
os.write(fd, b"\x03")
time.sleep(0.5) # the terminal throws away what was typed before
os.write(fd, b"echo status=$?=\n")
check(expect(b"status=130="), "^C ends it with 130")
os.write(fd, run + b" cat &\n")
time.sleep(0.5)
os.write(fd, b"jobs\n")
check(expect(b"Stopped"), "in the background it stops when it reads")
os.write(fd, b"fg\n")
time.sleep(0.3)
os.write(fd, b"in front\n")
expect(b"in front")
os.write(fd, b"\x04")
time.sleep(0.3)
os.write(fd, b"echo status=$?=\n")
check(expect(b"status=0="), "and ends in front")
os.write(fd, b"exit\n")
os.waitpid(pid, 0)
PY
while read -r verdict what; do
	case $verdict in
	ok) pass "$what" ;;
	*) fail "${what#ok }" "$verdict $what" ;;
	esac
done <"$SCRATCH/py"
is "$(grep -c '^ok' "$SCRATCH/py")" 15 "all of that ran"

is "$(for _ in 1 2 3 4 5 6 7 8; do oknek run --agent slow -- echo x & done; wait)" \
	"$(printf 'x\n%.0s' 1 2 3 4 5 6 7 8)" "several at once"

# The daemon dies while oknek waits for its answer.
: >"$RUN/log"
oknek run --agent slow -- touch "$SCRATCH/ran" 2>"$SCRATCH/died" &
client=$!
wait_for 5 grep -q '"agent":"slow"' "$RUN/log"
kill -KILL "$DAEMON_PID"
wait "$client"
is $? 125 "the daemon dies before it answered: 125"
like "$(cat "$SCRATCH/died")" 'closed the connection' "is said"
ok "and the command was not run" test ! -e "$SCRATCH/ran"
kill -TERM "$DAEMON_PID" 2>/dev/null
done_testing
