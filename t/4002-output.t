#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the commands print of the daemon's answers: exactly, escaped, and as JSON for machines.
. "$(dirname "$0")/lib.sh"
need_bin oknek fakedaemon
need_command python3

mkdir -p "$RUN"
"$(bin fakedaemon)" "$RUN" </dev/null >"$SCRATCH/ready" 2>&1 &
DAEMON_PID=$!
disown
wait_for 10 grep -q ready "$SCRATCH/ready" || { fail "the test daemon starts"; done_testing; }

export TZ=UTC
[ "$(getent passwd 0 | cut -d: -f6)" = /root ] || skip_all "the home of uid 0 is not /root"

is "$(oknek events)" "2026-03-04 18:25:02 BLOCK R3 credential-read ~/.aws/credentials  claude-code  pid 4711 cat  EPERM via fanotify
2026-03-04 18:25:03 WOULD-BLOCK R3 credential-read ~/.ssh/id_rsa  claude-code  pid 4711 cat  not stopped, seen by fanotify
2026-03-04 18:25:04 WARN R3 credential-read /tmp/a\\x1b]0;x\\x07\\u{202e}gpj\\u{9b}.env  claude-code  pid 4712 e\\x1b[2Jv  allowed via fanotify
2026-03-04 18:25:05 GAP O1 ring-overflow  lost=12 why=burst
2026-03-04 18:25:06 DETECTED R3 credential-read /rooted/x  claude-code  pid 4711 cat  outcome unknown, seen by fanotify" \
	"one line per event"
is "$(oknek logs)" "$(oknek events)" "logs is events"
is "$(oknek agents)" "TREE  AGENT        PID   SINCE                BY   VERDICTS             PROCESSES
1     claude-code  4700  2026-03-04 18:25:02  exe  2 blocked, 1 warned  4700 cl\\x1baude" "agents"
is "$(oknek pending)" "TOKEN  SINCE                UNTIL                THEN   RULE    PATH                AGENT        PROCESS
t17    2026-03-04 18:25:02  2026-03-04 18:25:03  block  R3/aws  ~/.aws/credentials  claude-code  4711 cat" "pending"
like "$(oknek status)" 'enforcement  fanotify: 9 files and 4 directories marked on /, /home' "status"
like "$(oknek status)" 'R1 \(subcommand-chain bypass\) is only detected: no exec events' \
	"status says what cannot be blocked"
like "$(oknek why)" 'oknek denied /usr/bin/cat \(pid 4711\) opening ~/.aws/credentials: rule R3/aws' \
	"why says what was denied"
like "$(oknek why)" 'readers: \{ R3/aws: \[/usr/bin/aws\] \}' "and the line that would let it pass"
like "$(oknek why 1)" 'denied nothing' "and that nothing was"
ok "which is no failure" oknek why 1
like "$(oknek rules show R3/aws)" 'id: R3
part: aws' "rules show has the source"
exits 2 "a rule that is not there" oknek rules show R9
like "$(cat "$SCRATCH/out")" 'no rule R9' "is said"
exits 2 "a record that is not there" oknek show 99
is "$(cat "$SCRATCH/out")" "oknek: there is no record 99" "is said"

# Nothing that a terminal would act on, on a terminal or not, as text or as JSON.
for c in status agents events why pending "show 3" rules "--json status" "--json events" "show 3 --json"; do
	printf '%s\n' "$c" >"$SCRATCH/c"
	# shellcheck disable=SC2086 # words
	out=$(NO_COLOR=1 python3 - "$(bin oknek)" --run-dir "$RUN" $c <<'PY'
import os, pty, sys
out = b""
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
try:
    while True:
        more = os.read(fd, 65536)
        if not more:
            break
        out += more
except OSError:
    pass
os.waitpid(pid, 0)
text = out.decode("utf-8", "strict").replace("\r\n", "\n")
bad = [hex(ord(c)) for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or ord(c) == 0x202e]
print("clean" if len(text) > 20 and not bad else bad)
PY
)
	is "$out" clean "$c on a terminal"
done

for c in status agents events why pending "show 3" rules "rules fields" export "mode" "mode enforce" \
	"pause 10m" "allow t17" "block 7" "watch 7" "unwatch 7" "update --reload-local" "why 1"; do
	# shellcheck disable=SC2086 # words
	ok "$c --json is one object per line" bash -c 'set -o pipefail
		"$@" --json | python3 -c "import json, sys
for line in sys.stdin: assert isinstance(json.loads(line), dict)"' _ "$(bin oknek)" --run-dir "$RUN" $c
done
like "$(oknek export)" '^\{"agent":.*"time":"2026-03-04T18:25:02.123456789Z","v":1,"verdict":"block"\}' \
	"export passes records on byte for byte"

# Requests, as the daemon got them.
: >"$RUN/log"
oknek events --limit 3 --rule R3/aws --verdict WOULD-BLOCK --pid 7 --agent a >/dev/null
oknek events --since @5 >/dev/null
oknek allow t17 >/dev/null; oknek block 7 >/dev/null; oknek pause 1h30m >/dev/null
oknek pause off >/dev/null; oknek unwatch --tree 3 >/dev/null; oknek watch --agent n 9 >/dev/null
is "$(cat "$RUN/log")" 'events {"agent":"a","cmd":"events","limit":3,"pid":7,"rule":"R3/aws","verdict":"would_block"}
events {"cmd":"events","since":5}
allow {"cmd":"allow","token":17}
block {"cmd":"block","or_token":true,"pid":7}
pause {"cmd":"pause","seconds":5400}
pause {"cmd":"pause","seconds":0}
unwatch {"cmd":"unwatch","tree":3}
watch {"agent":"n","cmd":"watch","pid":9}' "requests"

# A bare number that is a token, too.
like "$(oknek block 17)" '17 is taken for the process: the token t17 still waits' "the process is meant, and that is said"
like "$(oknek --json allow 17)" '"taken_for":"17 is taken for the process: the token t17 still waits"' "to programs, too"
unlike "$(oknek block 7)" 'taken for' "not of one that is no token"
: >"$RUN/log"
oknek allow 4294967303 >/dev/null
is "$(cat "$RUN/log")" 'allow {"cmd":"allow","token":4294967303}' "a number that no process has is a token"

# Following: lines come as events do.
(oknek events --follow & echo $! >"$SCRATCH/follow"; wait) >"$SCRATCH/followed" 2>&1 &
ok "a follower gets more" wait_for 10 bash -c "[ \$(wc -l <'$SCRATCH/followed') -ge 8 ]"
kill "$(cat "$SCRATCH/follow")"
kill -TERM "$DAEMON_PID" 2>/dev/null
done_testing
