#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek doctor says what this host lacks and what the daemon holds: without a daemon, beside one, as
# anybody, inside a tree; and names what stands in the way: another listener, a bad line, a home that
# a server answers for.
# sanitize: address
. "$(dirname "$0")/lib.sh"
need_root
need_command python3 jq
in_private_mounts "$@"
need_bin oknek oknekd fan_listener
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
test_user
write_config
mkdir -p "$STATE"

# doctor ARGS…: its JSON is in $SCRATCH/json, its exit status in $rc.
doctor() {
	rc=0
	oknek --json doctor --config "$CONFIG" --state-dir "$STATE" --rules "$RULES" "$@" \
		>"$SCRATCH/json" 2>"$SCRATCH/err" || rc=$?
}
# ask EXPRESSION: of the answer j; f(CHECK) is the first finding of that name.
cat >"$SCRATCH/ask.py" <<'PY'
import json, sys
def all(check): return [x for x in j["findings"] if x["check"] == check]
def f(check): return all(check)[0]
names = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module
sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split()
def caps(masks):
    m = 0
    for x in masks.split(): m |= int(x, 16)
    return [n for i, n in enumerate(names) if m >> i & 1]
for line in sys.stdin:
    try:
        j = json.load(open(sys.argv[1]))
        v = eval(line)
        print(" ".join(v) if isinstance(v, list) else v, flush=True)
    except Exception as e:
        print("error:", repr(e), flush=True)
PY
coproc ASK { python3 "$SCRATCH/ask.py" "$SCRATCH/json"; }
ask() {
	echo "$1" >&"${ASK[1]}"
	read -r answer <&"${ASK[0]}"
	echo "$answer"
}

# ---- without a daemon ---------------------------------------------------------------------------

doctor
is "$(ask 'sorted(j)')" "findings held rules" "one object"
is "$(ask 'sorted({k for x in j["findings"] for k in x})')" "check means remedy rules seen state" \
	"a finding says what was looked at, what was seen, what it means, for which rules, what to do"
is "$(ask 'sorted({x["state"] for x in j["findings"]} - {"ok", "note", "problem"})')" "" \
	"its state is one of three"
is "$(ask '[x["check"] for x in j["findings"] if not x["seen"] or not x["means"]]')" "" \
	"none leaves out what it saw or means"
for c in peek exec kernel container fanotify fanotify-audit fanotify-names btf bpf lockdown lsm cgroup config \
	fanotify-max watchdog rt-throttle leases tiocsti yama core fips nofile memlock listener audit selinux \
	apparmor clock log run-dir state-dir homes file-ids remote automounts daemon; do
	is "$(ask "len(all('$c')) >= 1")" True "looked at: $c"
done
is "$(ask 'f("daemon")["state"]')" note "no daemon is said"
like "$(ask 'f("daemon")["seen"]')" "no daemon at $RUN/oknek.sock" "and where it was asked"
is "$(ask 'j["held"]["processes"]')" "" "nothing is held"
is "$(ask 'f("fanotify")["state"]')" ok "permission events were tried"
like "$(ask 'f("fanotify")["rules"]')" 'R3/aws .*R3/ssh-private' "and it says for which rules"
unlike "$(ask 'f("fanotify")["rules"]')" 'R1|dotenv' "not for those that it is not about"
is "$(ask '{(r["id"], r["mechanism"]) for r in j["rules"] if r["part"] == "aws"}')" \
	"{('R3', 'fanotify')}" "rules: what each would be bound to"
is "$(ask '[r["id"] for r in j["rules"] if r["bound"] != (r["mechanism"] != "detect")]')" "" \
	"bound, or only detected"
is "$rc" "$(ask 'int(any(x["state"] == "problem" for x in j["findings"]))')" "exits by what it found"

# ---- problems ------------------------------------------------------------------------------------

printf 'mode: enforce\ndeadline: 11s\n' >"$SCRATCH/bad.yaml"
rc=0
oknek --json doctor --config "$SCRATCH/bad.yaml" --state-dir "$STATE" --rules "$RULES" \
	>"$SCRATCH/json" || rc=$?
is "$rc $(ask 'f("config")["state"]')" "1 problem" "a bad line of the configuration is a problem"
like "$(ask 'f("config")["seen"]')" "bad.yaml:2: deadline" "with its place"
mkdir "$SCRATCH/rules"
printf 'id: X1\nkind: nonesuch\n' >"$SCRATCH/rules/bad.yaml"
doctor --rules "$SCRATCH/rules"
is "$rc $(ask 'f("rules")["state"]')" "1 problem" "rules that do not load are a problem"
like "$(ask 'f("rules")["seen"]')" "rules/bad.yaml:[0-9]+: " "with their place"
doctor --state-dir "$SCRATCH/none/yet"
is "$(ask 'f("state-dir")["state"]')" ok "a state directory that is not made yet is none"
mkdir "$SCRATCH/small" && mount -t tmpfs -o size=1m oknek-test "$SCRATCH/small"
doctor --state-dir "$SCRATCH/small"
is "$rc $(ask 'f("state-dir")["state"]')" "1 problem" "a full one is"
mount -o remount,ro "$SCRATCH/small"
doctor --state-dir "$SCRATCH/small"
like "$(ask 'f("state-dir")["seen"]')" read-only "a read-only one is"

if server=$(bin fusehang) && [ -e /dev/fuse ]; then
	mkdir "$SCRATCH/hang"
	"$server" "$SCRATCH/hang" nothing >"$SCRATCH/fuse" 2>&1 &
	fuse=$!
	if wait_for 10 grep -q ready "$SCRATCH/fuse"; then
		echo "gone:*:23457:23457::$SCRATCH/hang/home:/bin/sh" >>"$SCRATCH/passwd"
		ok "a home on FUSE whose server does not answer hangs nobody" timeout 20 \
			bash -c "'$(bin oknek)' --json --run-dir '$RUN' doctor --config '$CONFIG' \
			--rules '$RULES' --state-dir '$SCRATCH/hang/state' >'$SCRATCH/json'; [ \$? -eq 1 ]"
		is "$(ask 'f("homes")["state"], f("state-dir")["state"]')" "('problem', 'problem')" \
			"it is a problem, and so is a state directory there"
		like "$(ask 'f("homes")["seen"]')" "$SCRATCH/hang/home on fuse" "and is named"
		like "$(ask 'f("remote")["seen"]')" "$SCRATCH/hang" "as is the filesystem"
		sed -i '/^gone:/d' "$SCRATCH/passwd"
	else
		skip "a home on FUSE" "cannot be mounted here"
	fi
	{ kill -KILL $fuse; wait $fuse; } 2>/dev/null
	umount -l "$SCRATCH/hang" 2>/dev/null
else
	skip "a home on FUSE" "no FUSE here"
fi

# ---- other listeners -----------------------------------------------------------------------------

# listen [FILE]: a listener that is not ours, known by its name; lives until fd 9 is closed.
cp "$(bin fan_listener)" "$SCRATCH/bin/otherlisten"
listen() {
	mkfifo "$SCRATCH/fifo.$1"
	"$SCRATCH/bin/otherlisten" "${@:2}" <"$SCRATCH/fifo.$1" >"$SCRATCH/listen" 2>&1 &
	listener=$!
	exec 9>"$SCRATCH/fifo.$1"
	wait_for 10 grep -q ready "$SCRATCH/listen"
}
listen 1
doctor
mine='[x for x in all("listener") if "otherlisten" in x["seen"]][0]'
is "$(ask "$mine"'["state"]')" note "a listener without any mark is found"
like "$(ask "$mine"'["seen"]')" "pid $listener, otherlisten.* 0 permission marks" "and named"
exec 9>&-
wait "$listener"
echo x >"$SCRATCH/fs/marked"
listen 2 "$SCRATCH/fs/marked"
doctor
like "$(ask "$mine"'["seen"]')" "pid $listener, .* 1 permission mark$" "one with a mark too"
like "$(ask "$mine"'["means"]')" "waits for both" "and what that means"
exec 9>&-
wait "$listener"
doctor
is "$(ask '[x for x in all("listener") if "otherlisten" in x["seen"]]')" "" "gone, it is not"

# ---- beside a daemon -----------------------------------------------------------------------------

ok "the daemon starts" start_daemon
doctor
is "$(ask 'f("daemon")["state"]')" ok "the daemon answers"
like "$(ask 'f("daemon")["seen"]')" "pid $DAEMON_PID, mode enforce" "its pid is the kernel's word"
is "$(ask 'j["held"]["pid"]')" "$DAEMON_PID" "held: the daemon"
is "$(ask 'j["held"]["processes"][0]["pid"] in [int(x) for x in "'"$(daemon_pids | tr '\n' ' ')"'".split()]')" \
	True "held: its processes"
is "$(ask 'sorted(p["pid"] for p in j["held"]["processes"]) == sorted(int(x) for x in "'"$(
	daemon_pids | tr '\n' ' ')"'".split())')" True "all of them, and nobody else's"
own='[p for p in j["held"]["processes"] if p["pid"] == j["held"]["pid"]][0]'
is "$(ask "$own"'["uid"]')" 0 "with uid"
masks=$(cat "/proc/$DAEMON_PID/task/"*/status | awk '/^CapPrm/ { printf "%s ", $2 }')
is "$(ask "$own"'["capabilities"]')" "$(ask "caps('$masks')")" \
	"capabilities: those that its threads have"
is "$(ask "$own"'["threads"]')" "$(find "/proc/$DAEMON_PID/task" -mindepth 1 -maxdepth 1 | wc -l)" \
	"threads"
is "$(ask "$own"'["no_new_privs"]')" True "no_new_privs"
is "$(ask "$own"'["seccomp"]')" "$(cat "/proc/$DAEMON_PID/task/"*/status |
	awk '/^Seccomp:/ { all = all $2 } END { print all ~ /^2+$/ ? "True" : "False" }')" "seccomp"
like "$(ask "$own"'["sockets"]')" UNIX "sockets, by family"
unlike "$(ask '[p["sockets"] or "" for p in j["held"]["processes"]]')" 'TCP|UDP|RAW|PACKET|PING' \
	"none to the network"
is "$(ask 'f("privilege")["state"] != "problem"')" True "which is no problem"
is "$(ask '[x for x in all("listener") if "pid '"$DAEMON_PID"'," in x["seen"]]')" "" \
	"the daemon itself is not taken for another listener"
is "$(ask 'len(j["rules"])')" "$(oknek --json rules list | wc -l)" "rules are those that serve"
is "$(ask '[r for r in j["rules"] if r["part"] == "aws"][0]["mechanism"]')" fanotify "and how"
is "$(ask 'f("peek")["state"]')" ok "the helper that reads held processes runs"
reader=$(pgrep -x -P "$(pgrep -x -P "$DAEMON_PID" oknek-peek)" oknek-peek)
like "$(ask 'f("peek")["seen"]')" "pid $reader, dac_read_search sys_ptrace; " "and may read"
is "$(ask 'f("exec")["state"]')" note "R1: no shell is below fanotify.only"
like "$(ask 'f("exec")["seen"]')" '^0 of 1 rules .*else: .*fanotify.only' "which is said"
for p in $(daemon_pids); do kill -0 "$p" || fail "the daemon's processes live on"; done

# ---- programs that are held -----------------------------------------------------------------------

mkdir "$MNT/bin" && cp "$(readlink -f /bin/sh)" "$MNT/bin/sh"
cp "$CONFIG" "$SCRATCH/before"
echo "exec: {programs: [\"$MNT/bin/sh\"]}" >>"$CONFIG"
ok "a shell that can be held" oknek update --reload-local
doctor
is "$(ask 'f("exec")["state"]')" ok "R1 is held, once somebody is watched"
like "$(ask 'f("exec")["seen"]')" '^1 of 1 rules .* when a member starts one$' "which is said"
agent sleep 120 >/dev/null 2>&1 &
sleeper=$!
marked() { [ "$(oknek --json status | jq .enforcement.exec.programs)" = 1 ]; }
wait_for 30 marked
doctor
like "$(ask 'f("exec")["seen"]')" '^1 of 1 rules .* are held, 1 program is marked$' "somebody is watched: it is"
pkill -P $sleeper # what it runs, which ends the sleep, too
wait $sleeper 2>/dev/null
kill -KILL "$(pgrep -x -P "$DAEMON_PID" oknek-peek)"
gone() { oknek --json status | jq -e '.enforcement.peek.reads | not'; }
wait_for 30 gone
doctor
is "$(ask 'f("peek")["state"]')" problem "the helper has ended: a problem"
like "$(ask 'f("peek")["seen"]')" 'has ended' "which is said"
cp "$SCRATCH/before" "$CONFIG"
oknek update --reload-local >/dev/null

# ---- as anybody, and inside a tree ---------------------------------------------------------------

chmod 755 "$SCRATCH"
as_user "$(bin oknek)" --json --run-dir "$RUN" doctor --config "$CONFIG" --state-dir "$STATE" \
	--rules "$RULES" >"$SCRATCH/json" 2>"$SCRATCH/err"
like "$(cat "$SCRATCH/err")" '^$' "unprivileged: nothing on stderr"
like "$(ask 'f("fanotify")["seen"]')" "only root" "unprivileged: what cannot be tried is said"
like "$(ask 'f("listener")["seen"]')" "only root" "or looked at"
is "$(ask "$own"'["sockets"]')" None "sockets of the daemon are not guessed"
is "$(ask "$own"'["no_new_privs"]')" True "what everybody may see is shown"
like "$(as_user "$(bin oknek)" --run-dir "$RUN" doctor)" "note|ok|problem" "in words, too"
before=$(events --rule O2 | wc -l)
agent "$(bin oknek)" --json --run-dir "$RUN" doctor --config "$CONFIG" --rules "$RULES" \
	>"$SCRATCH/json" 2>"$SCRATCH/err" || diag "$(cat "$SCRATCH/err")"
is "$(ask 'f("daemon")["check"]')" daemon "inside a watched tree it works"
is "$(events --rule O2 | wc -l)" "$before" "without asking for what is refused there"
oknek mode observe >/dev/null
doctor
is "$(ask 'f("daemon")["state"]')" note "in observe it says that nothing is denied"

# ---- hostile names -------------------------------------------------------------------------------

cp "$(bin fan_listener)" "$SCRATCH/bin/"$'a\e[2J'
mkfifo "$SCRATCH/fifo"
"$SCRATCH/bin/"$'a\e[2J' <"$SCRATCH/fifo" >"$SCRATCH/listen" &
exec 9>"$SCRATCH/fifo"
wait_for 10 grep -q ready "$SCRATCH/listen"
oknek doctor --config "$CONFIG" --state-dir "$STATE" >"$SCRATCH/text" 2>&1
nok "no control byte of a process's name reaches the terminal" grep -q $'\e' "$SCRATCH/text"
ok "it is shown escaped" grep -qF 'a\x1b[2J' "$SCRATCH/text"
exec 9>&-
ok "the daemon stops" stop_daemon
done_testing
