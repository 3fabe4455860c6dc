#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What oknek says is true in the cases that are easily got wrong: a pause, one of a kind, the same
# advice twice, values that look like keys, and what it was that could not be read.
. "$(dirname "$0")/lib.sh"
need_bin oknek oknekd
need_command python3 setpriv

mkdir -p "$RUN"
cat >"$SCRATCH/daemon.py" <<'PY'
import json, os, socket, sys

def why(pid, verdict="block"):
    return {"time": "2026-03-04T18:25:02Z", "rule": "R3", "part": "aws", "name": "credential read",
            "path": "/x", "process": {"pid": pid, "exe": "/usr/bin/aws"}, "verdict": verdict,
            "readers_line": "readers: { R3/aws: [/usr/bin/aws] }"}

def own(rule, name, capture):
    return {"time": "2026-03-04T18:25:02Z", "rule": {"id": rule, "name": name}, "capture": capture}

status = {"version": "0", "mode": "observe", "configured_mode": "enforce", "paused_until": 4102444800,
          "feed": {"name": "connector", "gaps": "does not see some", "lost": 3}, "trees": 1,
          "members": 1, "enforcement": {"mechanism": "fanotify", "filesystems": [], "objects": 0,
          "directories": 0}, "evidence": {"records": 1, "last_seq": 0, "last_hash": "0"}}
caller = {"uid": 1000, "pid": 7, "member": True}
answers = {
    "status": ([], status),
    "mode": ([], {"mode": "enforce", "was": "enforce"}),
    "why": ([why(1), why(2), why(3, "would_block")], {}),
    "events": ([own("O1", "not protected", {"path": "/a why=none", "why": "on nfs"}),
                own("O2", "mode", {"command": "mode", "caller": caller, "detail": {"was": "observe"}}),
                own("O2", "refused", {"command": "pause", "caller": caller, "more": 0})], {}),
    "watch": ([], {"tree": 2, "agent": "x", "members": 1}),
}
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + "/oknek.sock")
os.chmod(sys.argv[1] + "/oknek.sock", 0o666)
s.listen()
s.settimeout(60) # nobody asks any more
print("ready", flush=True)
while True:
    c = s.accept()[0]
    req = json.loads(c.makefile().readline())
    items, result = answers.get(req["cmd"], ([], {}))
    lines = [json.dumps({"item": i}) for i in items]
    if not req.get("follow"):
        lines.append(json.dumps({"ok": True, "result": result}))
    c.sendall(("\n".join(lines) + "\n").encode())
    c.close()
PY
python3 "$SCRATCH/daemon.py" "$RUN" >"$SCRATCH/ready" 2>&1 &
server=$!
disown
wait_for 10 grep -q ready "$SCRATCH/ready" || { fail "the test daemon starts"; done_testing; }
export TZ=UTC

is "$(oknek mode)" "mode         paused until 2100-01-01 00:00:00, then enforce" "mode says that it pauses"
is "$(oknek mode enforce)" "$(oknek mode)" "and when it was set: a pause goes on"
like "$(oknek --json mode)" '"configured_mode":"enforce","paused_until":4102444800' "in JSON too"

status=$(oknek status)
like "$status" 'processes    by connector, 3 lost: does not see some' "the feed, what it lost, its gaps"
like "$status" '1 process in 1 tree' "one is not many"
like "$status" 'fanotify: nothing is marked' "nothing is marked: so it is said"
like "$status" '1 record,' "one record"
unlike "$status" 'head' "no head before the first"
is "$(oknek watch 7)" "watched      1 process of x, tree 2" "one process"

why=$(oknek why)
is "$(wc -l <<<"$why")" 3 "why: a line for each denial"
is "$(grep -c 'Do not retry' <<<"$why")" 1 "what to do is said once for those alike"
like "$(sed -n 2p <<<"$why")" 'pid 2.*Do not retry' "after the last of them"
like "$(sed -n 3p <<<"$why")" 'In enforce mode' "and for the other"

events=$(oknek events | cut -d' ' -f3-)
is "$events" 'GAP O1 not-protected  path="/a why=none" why="on nfs"
OPERATOR O2 mode  was=observe  by uid 1000 pid 7, watched
OPERATOR O2 refused  command=pause  by uid 1000 pid 7, watched' "records of oknek's own"
like "$(oknek events --follow 2>&1 >/dev/null)" 'closed the connection before the end' \
	"a daemon that ends while it is followed"
is "$("$(bin oknek)" --run-dir 2>&1)" "oknek: --run-dir needs a value (see oknek --help)" "--run-dir without a value"

# A directory of PATH that is closed does not make a command that is nowhere one that is there.
mkdir -m 755 "$SCRATCH/open" && mkdir -m 700 "$SCRATCH/closed"
as=()
[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid 65534 --regid 65534 --clear-groups --)
[ "$(id -u)" -eq 0 ] || chmod 000 "$SCRATCH/closed"
touch "$SCRATCH/open/notexecutable"
cli=$(bin oknek)
exits 127 "run: a command that is nowhere was not found" \
	"${as[@]}" env PATH="$SCRATCH/closed:$SCRATCH/open" "$cli" --run-dir "$RUN" run nonesuch
exits 126 "one that is there cannot be executed" \
	"${as[@]}" env PATH="$SCRATCH/closed:$SCRATCH/open" "$cli" --run-dir "$RUN" run notexecutable
[ "$(id -u)" -eq 0 ] || chmod 700 "$SCRATCH/closed"

kill "$server"

# A database, and what lies beside it.
err() { { oknek "$@" >/dev/null; } 2>&1; }
mkdir -m 700 "$SCRATCH/run2" "$STATE"
echo 'agents: {recognise: false}' >"$CONFIG"
ok "a database" timeout 60 "$(bin oknekd)" --foreground --run-dir "$SCRATCH/run2" --state-dir "$STATE" \
	--config "$CONFIG" --rules "$RULES" --source=replay:"$ROOT/tools/demo.events"
db=$STATE/oknek.db
is "$(oknek verify "$db" | sed -n 1p)" "verified     1 record, none altered, removed or reordered" "verified"
echo nonsense >"$SCRATCH/key"
is "$(oknek verify --key "$SCRATCH/key" "$db" | sed -n 1p)" \
	"BROKEN       record 1: cannot be verified, $SCRATCH/key holds no public key" "a key that is none"
mv "$STATE/host.pub" "$STATE/gone.pub"
is "$(err verify "$db")" \
	"oknek: cannot verify $db: its key $STATE/host.pub: No such file or directory" "a key that is not there"
is "$(err export --db "$SCRATCH/key")" "oknek: cannot read $SCRATCH/key: it is no database" "no database"
done_testing
