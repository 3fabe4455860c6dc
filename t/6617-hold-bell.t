#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who sits before `oknek run` is told on the terminal, with a bell, and on the desktop, when something of
# the tree is held; in words that no name can turn into a command of the terminal or of the desktop.
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq script python3
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

BELL=$(printf '\a') CR=$(printf '\r') ESC=$(printf '\033')
unset DBUS_SESSION_BUS_ADDRESS
# on_tty FILE OPTIONS… -- CMD…: oknek run before a terminal of its own, by the test user; what the
# terminal shows goes to FILE.
on_tty() {
	local out=$1 line
	shift
	printf -v line '%q ' "${OUTSIDE[@]}" "${VARS[@]}" "$(bin oknek)" --run-dir "$RUN" run --agent claude-code "$@"
	SHELL=$BASH timeout -k 5 100 script -qefc "$line" "$out" </dev/null >/dev/null 2>&1
}
VARS=(OKNEK_BELL=1)
tells() { grep -aq "$1" "$SHOWN"; }
SHOWN=$SCRATCH/shown

scene tmpfs || { fail "the scene"; done_testing; }
hold aws.yaml
odd=$(printf 'bad\033]0;title\007<b>&\\074i\\076')
write_rule odd.yaml '.odd/*' block X701
hold odd.yaml
put "$TEST_HOME/.odd/$odd" "odd $TOKEN"
write_config "hold: {deadline: 60s}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }

# --- a terminal -----------------------------------------------------------------------------------
on_tty "$SHOWN" -- "$(bin plain_open)" "$SECRET" &
run=$!
ok "an open of the secret is held" wait_for 30 held 1
t=$(token)
ok "the terminal tells it" wait_for 30 tells "^oknek: held: plain_open $SECRET (claude-code, pid [0-9]*) by X700, until .*: oknek allow t$t, or oknek block t$t$CR"
ok "and rings" wait_for 5 tells "$BELL"
sleep 2.5
is "$(grep -ac 'oknek: held' "$SHOWN")" 1 "once"
ok "it is allowed" oknek allow "t$t"
wait $run
is $? 0 "the command ends as ever"
ok "with what it printed" tells "$TOKEN"

# --- a terminal in raw mode, whose modes stay --------------------------------------------------------
# shellcheck disable=SC2016 # expanded by that shell
on_tty "$SHOWN" -- bash -c 'stty raw -echo; stty -a >"$1/before"; "$2" "$3" >/dev/null; stty -a >"$1/after"; stty sane' \
	bash "$WORK" "$(bin plain_open)" "$SECRET" &
run=$!
ok "held again" wait_for 30 held 1
ok "told in raw mode" wait_for 30 tells 'oknek: held: plain_open'
ok "on a line of its own" grep -aqzP '\r\noknek: held: [^\r\n]*\r\n' "$SHOWN"
oknek allow "t$(token)" >/dev/null

wait $run
is "$(cat "$WORK/after")" "$(cat "$WORK/before")" "the modes of the terminal are as they were"

# --- names ---------------------------------------------------------------------------------------------
on_tty "$SHOWN" -- "$(bin plain_open)" "$TEST_HOME/.odd/$odd" &
run=$!
ok "a file with an odd name is held" wait_for 30 held 1
ok "told" wait_for 30 tells 'oknek: held: plain_open .*bad\\x1b\]0;title\\x07<b>'
unlike "$(cat "$SHOWN")" "$ESC" "no escape sequence reaches the terminal"
oknek allow "t$(token)" >/dev/null

wait $run

# --- not wanted ------------------------------------------------------------------------------------------
on_tty "$SHOWN" --quiet -- "$(bin plain_open)" "$SECRET" &
run=$!
ok "held with --quiet" wait_for 30 held 1
VARS=(OKNEK_BELL=0)
on_tty "$SHOWN.2" -- "$(bin plain_open)" "$SECRET" &
run="$run $!"
ok "and with OKNEK_BELL=0" wait_for 30 held 2
sleep 3
is "$(cat "$SHOWN" "$SHOWN.2" | grep -ac 'oknek: held')" 0 "nothing is told"
while read -r t; do oknek allow "t$t" >/dev/null; done < <(pending | jq -r .token)

wait $run
VARS=(OKNEK_BELL=1)

# --- from the background, where the terminal stops those who write -------------------------------------------
# shellcheck disable=SC2016 # expanded by that shell
background='stty tostop; set -m; "$@" & n=0
	until [ -e '"$WORK"'/front ] || [ $n -ge 600 ]; do sleep 0.1; n=$((n + 1)); done; jobs -l; fg >/dev/null'
printf -v line '%q ' "${OUTSIDE[@]}" OKNEK_BELL=1 bash -c "$background" bash "$(bin oknek)" --run-dir "$RUN" run \
	--agent claude-code -- bash -c '"$1" "$2" >"$3/got"' bash "$(bin plain_open)" "$SECRET" "$WORK"
SHELL=$BASH timeout -k 5 100 script -qefc "$line" "$SHOWN" </dev/null >/dev/null 2>&1 &
run=$!
ok "held in the background" wait_for 30 held 1
sleep 3
is "$(grep -ac 'oknek: held' "$SHOWN")" 0 "with tostop nothing is written from there"
as_user touch "$WORK/front"
ok "but when it comes to the front" wait_for 30 tells 'oknek: held: plain_open'
unlike "$(cat "$SHOWN")" Stopped "it was not stopped"
oknek allow "t$(token)" >/dev/null

wait $run
ok "it has got it" grep -q "$TOKEN" "$WORK/got"

# --- who became a member itself ------------------------------------------------------------------------------
refusals() { oknek --json events --rule O2 | jq -s '[.[] | select(.capture.command == "held")] | length'; }
on_tty "$SHOWN" -- sleep 100 &
run=$!
slept() { sleeper=$(oknek --json agents | jq -r '.root_pid' | tail -n 1) && [ "$(cat "/proc/$sleeper/comm")" = sleep ]; }
ok "a command that only sleeps" wait_for 30 slept
ok "who started it is watched, too" oknek watch "$(awk '{ print $4 }' "/proc/$sleeper/stat")"
sleep 23
is "$(refusals)" 1 "it asks no more, once it was refused"
kill "$sleeper"
wait $run

# --- who may ask --------------------------------------------------------------------------------------------
other_user
held_of() { # held_of TREE USER…: what is held of that tree, by who asks the socket
	local tree=$1
	shift
	"$@" python3 - "$RUN/oknek.sock" "$tree" <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.sendall(b'{"cmd":"held","tree":%s}\n' % sys.argv[2].encode())
		print(s.makefile().read())
	END
}
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 30 held 1
tree=$(pending | jq .tree)
like "$(held_of "$tree" "${OUTSIDE[@]}")" "$SECRET" "who began a tree is told what is held of it"
unlike "$(held_of "$tree" "${OTHER_OUTSIDE[@]}")" "$SECRET" "another is not"
like "$(held_of "$tree" "${OTHER_OUTSIDE[@]}")" '"holds":true' "though answered"
like "$(held_of x "${OTHER_OUTSIDE[@]}" 2>&1)" '"ok":false' "what is no number is refused"
oknek block "t$(token)" >/dev/null
came 1 1 "it is denied"

# --- a desktop ------------------------------------------------------------------------------------------------
if ! command -v dbus-daemon >/dev/null || ! command -v notify-send >/dev/null; then
	skip "a desktop is told" "needs dbus-daemon and notify-send"
	ok "the daemon stops" stop_daemon
	done_testing
fi
# A notification server: prints what it is given, hex of the body.
cat >"$SCRATCH/server" <<'END'
import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"\0AUTH EXTERNAL %s\r\n" % str(os.getuid()).encode().hex().encode())
assert s.recv(200).startswith(b"OK")
s.sendall(b"BEGIN\r\n")
serial = 0
def pad(b, n): return b + b"\0" * (-len(b) % n)
def string(t): return struct.pack("<I", len(t)) + t.encode() + b"\0"
def field(code, kind, value):
    return bytes([code, 1]) + kind.encode() + b"\0" + value
def signature(t): return bytes([len(t)]) + t.encode() + b"\0"
def send(kind, fields, body):
    global serial
    serial += 1
    raw = b""
    for f in fields: raw = pad(raw, 8) + f
    s.sendall(pad(struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), serial, len(raw)) + raw, 8) + body)
def call(member, sig, body):
    send(1, [b"\1\1o\0" + string("/org/freedesktop/DBus"), b"\6\1s\0" + string("org.freedesktop.DBus"),
             b"\2\1s\0" + string("org.freedesktop.DBus"), b"\3\1s\0" + string(member)]
         + ([b"\x08\1g\0" + signature(sig)] if sig else []), body)
def exactly(n):
    b = b""
    while len(b) < n:
        more = s.recv(n - len(b))
        if not more: sys.exit(0)
        b += more
    return b
def take(b, at):
    at += -at % 4
    n, = struct.unpack_from("<I", b, at)
    return b[at + 4:at + 4 + n].decode(), at + 5 + n
call("Hello", "", b"")
call("RequestName", "su", pad(string("org.freedesktop.Notifications"), 4) + struct.pack("<I", 0))
while True:
    head = exactly(16)
    assert head[:1] == b"l"
    kind, _, _, n_body, number, n_fields = struct.unpack_from("<BBBIII", head, 1)
    raw = exactly(n_fields + -n_fields % 8)[:n_fields]
    body = exactly(n_body)
    fields, at = {}, 0
    while at < len(raw):
        at += -at % 8
        code, t = raw[at], chr(raw[at + 2])
        at += 4
        if t == "g":
            n = raw[at]; fields[code] = raw[at + 1:at + 1 + n].decode(); at += n + 2
        elif t == "u":
            at += -at % 4; fields[code], = struct.unpack_from("<I", raw, at); at += 4
        else:
            fields[code], at = take(raw, at)
    if kind != 1: continue
    def reply(sig, value):
        send(2, [b"\5\1u\0" + struct.pack("<I", number), b"\6\1s\0" + string(fields[7]), b"\x08\1g\0" + signature(sig)], value)
    if fields[3] == "Notify":
        app, at = take(body, 0)
        at += -at % 4 + 4
        icon, at = take(body, at)
        summary, at = take(body, at)
        text, at = take(body, at)
        print(app, summary, text, sep="|", flush=True)
        reply("u", struct.pack("<I", 1))
    elif fields[3] == "GetServerInformation":
        out = b""
        for t in ("test", "oknek", "1", "1.2"): out = pad(out, 4) + string(t)
        reply("ssss", out)
    elif fields[3] == "GetCapabilities":
        reply("as", struct.pack("<I", 9) + string("body"))
    else:
        reply("", b"")
END
bus=$WORK/bus
"${OUTSIDE[@]}" dbus-daemon --session --nofork --address="unix:path=$bus" >/dev/null 2>&1 &
ok "there is a session bus" wait_for 30 test -S "$bus"
"${OUTSIDE[@]}" python3 "$SCRATCH/server" "$bus" >"$SCRATCH/desktop" 2>"$SCRATCH/desktop.err" &
owned() { "${OUTSIDE[@]}" DBUS_SESSION_BUS_ADDRESS="unix:path=$bus" notify-send ready >/dev/null 2>&1 && grep -q '|ready|' "$SCRATCH/desktop"; }
ok "and who shows notifications" wait_for 30 owned
# Who starts it is not watched: what the agent has put in PATH is not what is started.
mkdir "$WORK/bin"
printf '#!/bin/sh\ntouch %q\n' "$WORK/escaped" >"$WORK/bin/notify-send"
chmod 755 "$WORK/bin" "$WORK/bin/notify-send"
VARS=(OKNEK_BELL=1 "DBUS_SESSION_BUS_ADDRESS=unix:path=$bus" "PATH=$WORK/bin:$PATH")
desktop() { grep -aqF -- "$1" "$SCRATCH/desktop"; }
on_tty "$SHOWN" -- "$(bin plain_open)" "$TEST_HOME/.odd/$odd" &
run=$!
ok "held" wait_for 30 held 1
t=$(token)
ok "the desktop of who runs it is told" wait_for 30 desktop "oknek|oknek: held|plain_open $TEST_HOME/.odd/"
# What the name has is shown as it is: no markup, no control character, nothing undone.
ok "the name is text" desktop '/.odd/bad\x1b]0;title\x07&lt;b&gt;&amp;\074i\076 (claude-code'
ok "how it is answered is said" desktop "oknek allow t$t, or oknek block t$t"
oknek block "t$t" >/dev/null
wait $run
ok "by the host's own program, not by one that the agent has put first" [ ! -e "$WORK/escaped" ]
is "$(grep -ac 'notify-send\|GLib' "$SHOWN")" 0 "and the terminal has nothing of that"

# --- without a terminal, and by --notify ---------------------------------------------------------------------
: >"$SCRATCH/desktop"
"${OUTSIDE[@]}" "${VARS[@]}" "$(bin oknek)" --run-dir "$RUN" run -- "$(bin plain_open)" "$SECRET" >"$SHOWN" 2>&1 </dev/null &
run=$!
ok "held, without a terminal" wait_for 30 held 1
ok "the desktop is told" wait_for 30 desktop "|plain_open $SECRET (unnamed"
is "$(grep -c 'oknek: held' "$SHOWN")" 0 "what is no terminal gets no line"
oknek allow "t$(token)" >/dev/null
wait $run
ok "it has got it" grep -q "$TOKEN" "$SHOWN"
ok "the daemon stops" stop_daemon
write_config "hold: {deadline: 60s}" "roles: {viewer: [$TEST_UID]}"
ok "a daemon with a viewer" start_daemon --rules "$OWN_RULES"
opens "$(bin plain_open)" "$SECRET"
ok "one is held" wait_for 30 held 1
: >"$SCRATCH/desktop"
"${OUTSIDE[@]}" "${VARS[@]}" "$(bin oknek)" --run-dir "$RUN" pending --notify >"$SCRATCH/watched" 2>&1 &
watcher=$!
ok "--notify of a viewer: printed" wait_for 30 grep -q "plain_open $SECRET" "$SCRATCH/watched"
ok "and shown" wait_for 30 desktop "|plain_open $SECRET (claude-code"
kill $watcher
oknek allow "t$(token)" >/dev/null
came 2 0 "it is allowed"
ok "the daemon stops" stop_daemon
done_testing
