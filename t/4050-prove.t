#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `oknek doctor --prove` shows by trying it what the rules hold: what is denied is told as denied, with the
# mechanism of its record; what gets through is OPEN, and is an error where a rule claims to block it. In
# observe mode decoys alone are held. It is for operators, its result is evidence, and nothing is left.
# serial
# sanitize: address
. "$(dirname "$0")/lib.sh"
need_root
need_command jq python3
in_private_mounts "$@"
need_bin oknek oknekd plain_open

make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
# Shells of the test's own, so that they may be held.
mkdir "$MNT/upper" "$MNT/work"
shells=''
mount -t overlay -o "lowerdir=/usr/bin,upperdir=$MNT/upper,workdir=$MNT/work" oknek-test /usr/bin &&
	[ "$(realpath /bin/sh)" -ef /usr/bin/sh ] && shells=', /bin, /usr/bin'
# Two who plan for later: one has nothing for this user, which it exits with 1 for.
[ -z "$shells" ] || { cp /bin/false /usr/bin/crontab && cp /bin/true /usr/bin/atq; }
test_user "$SCRATCH/fs/home"
H=$TEST_HOME
put "$H/.aws/credentials" 'real secret'
mkdir "$SCRATCH/elsewhere"
chown "$TEST_UID" "$SCRATCH/elsewhere"
cat >>"$SCRATCH/passwd" <<-END
	okv:*:23501:23501::/nonexistent:/bin/sh
	oko:*:23502:23502::$SCRATCH/fs/oko:/bin/sh
END
mkdir -m 700 "$SCRATCH/fs/oko"
chown 23502 "$SCRATCH/fs/oko"
roles='roles: {viewer: [okv], operator: [oko]}'
exits 2 "without a daemon it says so" oknek doctor --prove --user "$TEST_USER"
config() {
	printf '%s\n' 'mode: enforce' 'agents: {recognise: false}' "fanotify: {only: [\"$MNT\"$shells]}" "$roles" \
		"$@" >"$CONFIG"
}
config
start_daemon || { fail "the daemon starts"; done_testing; }

# prove ARGS…: as the test user; its JSON is in $SCRATCH/json, its exit status in $rc.
prove() {
	rc=0
	oknek --json doctor --prove --user "$TEST_USER" "$@" >"$SCRATCH/json" 2>"$SCRATCH/err" || rc=$?
	[ ! -s "$SCRATCH/err" ] || diag "$(cat "$SCRATCH/err")"
}
# of RULE [FILTER]: what its routes came to, in words, each once
of() {
	jq -r --arg r "$1" ".cells[] | select(.rule == \$r ${2:+and ($2)}) | .result" "$SCRATCH/json" |
		sort -u | paste -sd' '
}
failed() { jq -r '.cells[] | select(.failed) | "\(.rule) \(.route) \(.result)"' "$SCRATCH/json"; }
route() { jq -r --arg r "$1" --arg w "$2" '.cells[] | select(.rule == $r and .route == $w) | .result' "$SCRATCH/json"; }
nothing_left() {
	[ -z "$(find "$SCRATCH/fs" "$SCRATCH/elsewhere" -name '.oknek-prove-*')" ] &&
		! oknek --json agents | grep -q '"agent":"oknek-prove"'
}

# ---- enforce ------------------------------------------------------------------------------------------

before=$SECONDS
prove
is "$rc $(failed)" "0 " "enforce: what rules claim to block is blocked"
ok "in less than a minute ($((SECONDS - before)) s)" [ $((SECONDS - before)) -lt 60 ]
is "$(of R3/aws .claimed)" "DENIED NOT_TRIED" "R3/aws: denied by each route that can be tried"
for w in open 'hard link' rename 'bind mount' symlink '/proc/self/root' 'O_PATH reopen' thread 'double fork' \
	CLONE_PARENT vfork+exec openat2; do
	is "$(route R3/aws "$w")" DENIED "R3/aws: $w"
done
ok "most routes can be tried" [ "$(jq '[.cells[] | select(.rule == "R3/aws" and .result == "DENIED")] | length' \
	"$SCRATCH/json")" -ge 18 ]
is "$(jq -r '.cells[] | select(.result == "DENIED" and (.mechanism == null or .recorded == null or .ms == null)) | .route' \
	"$SCRATCH/json")" "" "each denial has its record, mechanism and time"
is "$(jq -r '.cells[] | select(.rule == "R3/aws" and .result == "DENIED") | .mechanism' "$SCRATCH/json" | sort -u)" \
	fanotify "R3/aws: by fanotify"
if [ -n "$shells" ]; then
	is "$(of R1 .claimed)" DENIED "R1: denied by each route that it claims"
	like "$(route R1 memfd)" 'DETECTED|OPEN' "R1: what the manual says of a copy in memory"
else
	skip "R1" "no shells of the test's own"
fi
is "$(route R3/aws 'descriptor from before')" OPEN "what the manual says is open is shown as open"
like "$(of R3/dotenv)" 'DETECTED' "a rule that warns is detected"
unlike "$(of R3/dotenv)" 'DENIED' "and denies nothing"
if [ "$(oknek --json egress | jq -r .attached)" = true ]; then
	is "$(of R5 '.route | startswith("metadata")')" "DENIED" "R5: metadata is denied by each route"
	is "$(jq -r '[.cells[] | select(.rule == "R5" and .claimed)] | length > 15' "$SCRATCH/json")" true \
		"R5: by TCP, UDP, IPv6 … fast open and MPTCP"
fi
like "$(jq -r '.cells[] | select(.rule == "hand-off") | .route' "$SCRATCH/json" | paste -sd,)" \
	'systemd --user.*docker socket.*tmux server.*cron.*ssh localhost' "hand-offs are in the table"
[ -z "$shells" ] ||
	is "$(route hand-off cron) $(route hand-off at)" "OPEN OPEN" "who may be asked is open, also with nothing planned"
is "$(jq -r '.not_tried[] | select(.rule == "R3/shadow") | .why' "$SCRATCH/json" | grep -c system)" 1 \
	"files of the system are not opened for it, which is said"
is "$(jq -r '.counts.denied + .counts.detected + .counts.open + .counts.not_tried' "$SCRATCH/json")" \
	"$(jq '.cells | length' "$SCRATCH/json")" "the counts are of all"
ok "decoys and children are gone" wait_for 30 nothing_left
no_gap() { ! oknek --json status | grep -q oknek-prove-; }
ok "and the daemon looks for them no more" wait_for 30 no_gap
is "$(cat "$H/.aws/credentials")" "real secret" "the user's own file is as it was"
session=$(jq -r .session "$SCRATCH/json")
is "$(oknek --json events --agent oknek-prove | jq -r 'select(.process.pid != null) | .capture.path // ""' |
	grep -c "^$H/\.aws")" 0 "nor did anybody try to read it"

# The manual's table is this one.
sed -n '/^\.\\" routes$/,/^\.\\" end of routes$/p' man/oknek.8 | sed -n 's/^\.It \(.*\) Ta \(.*\)/\1 \2/p' |
	sort -u >"$SCRATCH/manual"
jq -r '.cells[] | select(.rule == "R1" or .rule == "R5" or .rule == "R3/aws" or .rule == "hand-off") |
	.route |= sub("^(foreign|metadata|service), "; "") | .route' "$SCRATCH/json" | sort -u >"$SCRATCH/routes"
is "$(sed 's/ [A-Z]*$//' "$SCRATCH/manual" | sort -u)" "$(cat "$SCRATCH/routes")" "the manual has these routes"
is "$(jq -r '.cells[] | select(.rule == "R3/aws" and .result != "NOT_TRIED") | "\(.route) \(.result)"' \
	"$SCRATCH/json" | sort | comm -23 - "$SCRATCH/manual")" "" "and says what becomes of them"

# ---- evidence -----------------------------------------------------------------------------------------

oknek --json events --rule O3 >"$SCRATCH/o3"
is "$(jq -r --arg s "$session" 'select(.capture.session == $s and .capture.counts) | .capture.counts.denied' \
	"$SCRATCH/o3")" "$(jq .counts.denied "$SCRATCH/json")" "the result is a record of the daemon's"
is "$(jq -r --arg s "$session" 'select(.capture.session == $s) | .capture.rules["R3/aws"] // empty |
	.["DENIED fanotify"] | index("hard link") != null' "$SCRATCH/o3")" true "with the table"
like "$(oknek events --rule O3 | tail -n 1)" 'PROOF O3 prove' "oknek events tells it"
# proved SESSION: of how many trees a result with this session is taken.
proved() {
	python3 - "$RUN/oknek.sock" "$1" <<-'END'
	import json, socket, sys
	taken = 0
	for tree in range(1, 10):
	    with socket.socket(socket.AF_UNIX) as s:
	        s.connect(sys.argv[1])
	        s.sendall(json.dumps({"cmd": "proved", "tree": tree, "result": {"session": sys.argv[2]}}).encode() + b"\n")
	        taken += json.loads(s.makefile().readline())["ok"]
	print(taken)
	END
}
is "$(proved "$session") $(proved "${session%?}") $(proved '')" "1 0 0" "a result is of one tree and session"
ok "export has it" bash -c "'$(bin oknek)' --run-dir '$RUN' export --rule O3 | grep -q '$session'"
ok "and it is signed" oknek verify --state-dir "$STATE"
like "$(oknek events --rule O2)" 'prove' "who asked is evidence"

# ---- as people read it --------------------------------------------------------------------------------

oknek doctor --prove --user "$TEST_USER" --brief >"$SCRATCH/brief" 2>&1
is "$?" 0 "--brief"
like "$(cat "$SCRATCH/brief")" 'R3/aws +[0-9]+ +0 +[0-9]+ ' "--brief: a line per rule"
like "$(cat "$SCRATCH/brief")" 'mode enforce: [0-9]+ denied' "and a sum"
oknek doctor --prove --user "$TEST_USER" >"$SCRATCH/long" 2>&1
like "$(cat "$SCRATCH/long")" 'R3/aws +hard link +DENIED +fanotify +[0-9.]+' "a line per route"

# ---- where a promise is not kept ------------------------------------------------------------------------

# Its place is not below fanotify.only: there is no mark.
prove --in "$SCRATCH/elsewhere"
is "$rc" 1 "no mark: exit 1"
like "$(failed)" 'R3/aws open OPEN' "no mark: open"
oknek doctor --prove --user "$TEST_USER" --in "$SCRATCH/elsewhere" --brief >"$SCRATCH/brief" 2>&1
like "$(cat "$SCRATCH/brief")" 'OPEN +R3/aws by open, which it claims to block' "no mark: said"

config 'exceptions:' '  R3/aws: { match: { uid: { eq: 23456 } }, reason: sabotage, author: t }'
ok "an exception is in force" oknek update --reload-local
prove
is "$rc" 1 "an exception: exit 1"
like "$(failed)" 'R3/aws hard link OPEN' "an exception: its rule is open"
unlike "$(failed)" 'R3/kube' "an exception: the others hold"

# ---- a closed jail --------------------------------------------------------------------------------------

config 'egress: {allow: ["198.51.100.1:443"]}'
ok "destinations are listed" oknek update --reload-local
if [ "$(oknek --json egress | jq -r .jail)" = closed ]; then
	prove
	is "$rc $(failed)" "0 " "a closed jail holds what it claims"
	is "$(of R5 '.route | startswith("foreign")')" "DENIED" "R5: foreign destinations are denied by each route"
	[ "$(oknek --json egress | jq -r .unix_sockets)" != true ] ||
		is "$(route R5 'service, AF_UNIX')" DENIED "R5: and the sockets of services"
else
	skip "a closed jail" "there is none here"
fi
config
oknek update --reload-local >/dev/null

# ---- operators ----------------------------------------------------------------------------------------

# What asks an operator is denied to who tries, at once.
config 'on_block: hold'
ok "what is blocked asks an operator" oknek update --reload-local
oknek --json pending --watch >"$SCRATCH/pending" 2>&1 &
asked=$!
prove
kill $asked
wait $asked
is "$rc $(failed)" "0 " "on_block: hold: what rules claim to block is blocked"
is "$(of R3/aws .claimed)" "DENIED NOT_TRIED" "on_block: hold: R3/aws is tried, and denied"
[ -z "$shells" ] || is "$(of R1 .claimed)" DENIED "on_block: hold: so is R1"
is "$(cat "$SCRATCH/pending")" "" "on_block: hold: nobody is asked"
is "$(oknek --json events --rule O1 | grep -c 'tree stopped')" 0 "on_block: hold: nor is the tree stopped"
config
oknek update --reload-local >/dev/null

# ---- observe ------------------------------------------------------------------------------------------

# A stranger and another member open the real one all the time.
oknek mode observe >/dev/null
(
	while [ ! -e "$SCRATCH/enough" ]; do
		agent "$(bin plain_open)" "$H/.aws/credentials" >/dev/null 2>&1 || echo "member $?"
		as_user "$(bin plain_open)" "$H/.aws/credentials" >/dev/null 2>&1 || echo "stranger $?"
	done
) >"$SCRATCH/beside" &
beside=$!
prove
touch "$SCRATCH/enough"
wait $beside
is "$rc $(failed)" "0 " "observe: what enforce mode would hold is held"
is "$(of R3/aws .claimed)" "DENIED NOT_TRIED" "observe: decoys of R3 are denied"
[ "$(oknek --json egress | jq -r .attached)" != true ] ||
	is "$(of R5 '.route | startswith("metadata")')" "DENIED" "observe: metadata is"
is "$(route R1 'sh -c')" DENIED "observe: a decoy of a shell is held (R1)"
is "$(cat "$SCRATCH/beside")" "" "observe: nobody else was denied anything"
is "$(oknek --json status | jq -r .mode)" observe "observe: the mode is what it was"
is "$(oknek --json events --agent claude-code | jq -r 'select(.verdict == "block") | .seq')" "" \
	"observe: no record says so"
ok "observe: nothing is left" wait_for 30 nothing_left
prove
is "$rc $(failed)" "0 " "observe: nor is anything in the way of the next"

# What the user puts in the place of a decoy is not held for everybody.
printf '#!/bin/sh\n' >"$SCRATCH/fs/program"
chmod 755 "$SCRATCH/fs/program"
marks_of() { cat "/proc/$DAEMON_PID/fdinfo/"* 2>/dev/null | grep -c "^fanotify ino:$(printf %x "$(stat -c %i "$1")") "; }
oknek doctor --prove --user "$TEST_USER" >/dev/null 2>&1 &
prover=$!
for _ in $(seq 500); do
	shell=$(compgen -G "$H/.oknek-prove-*/bin/sh") && as_user ln -sf "$SCRATCH/fs/program" "$shell" && break
	sleep 0.01
done
ok "observe: a decoy of a shell is replaced by a link" [ -n "$shell" -a -L "$shell" ]
held=0
while kill -0 $prover 2>/dev/null; do
	held=$((held + $(marks_of "$SCRATCH/fs/program")))
	sleep 0.1
done
wait $prover
is "$held $(marks_of "$SCRATCH/fs/program")" "0 0" "observe: what it leads to is not held"
oknek mode enforce >/dev/null

# ---- who may, and one at a time ------------------------------------------------------------------------

exits 2 "a viewer may not" setpriv --reuid 23501 --regid 23501 --clear-groups -- \
	"$(bin oknek)" --run-dir "$RUN" doctor --prove
like "$(cat "$SCRATCH/out")" 'only root' "a viewer is told who may"
exits 2 "nor may a member" oknek run -- "$(bin oknek)" --run-dir "$RUN" doctor --prove --user "$TEST_USER"
like "$(cat "$SCRATCH/out")" 'watched' "a member is told why"
is "$(oknek --json events --rule O2 | jq -r 'select(.rule.name == "refused" and .capture.command == "prove") |
	.capture.caller.member' | sort -u | paste -sd' ')" "false true" "both attempts are evidence"
exits 2 "an operator may not as somebody else" setpriv --reuid 23502 --regid 23502 --clear-groups -- \
	"$(bin oknek)" --run-dir "$RUN" doctor --prove --user "$TEST_USER"
exits 0 "an operator may" setpriv --reuid 23502 --regid 23502 --clear-groups -- \
	"$(bin oknek)" --run-dir "$RUN" doctor --prove --brief
exits 2 "no such user" oknek doctor --prove --user nobody-of-that-name
exits 2 "--brief is for --prove" oknek doctor --brief
oknek update --reload-local >/dev/null
ok "no gap is left of it" wait_for 30 no_gap

# A command and its keeper that were killed both left this; the next one removes it.
as_user mkdir "$H/.oknek-prove-aaaaaa" "$H/.oknek-prove-bbbbbb"
as_user touch -d '1 hour ago' "$H/.oknek-prove-aaaaaa"

# ---- killed ------------------------------------------------------------------------------------------

"$(bin oknek)" --run-dir "$RUN" doctor --prove --user "$TEST_USER" >/dev/null 2>&1 &
prover=$!
running() { oknek --json agents | grep -q '"agent":"oknek-prove"'; }
ok "it runs" wait_for 60 running
exits 2 "one at a time" oknek doctor --prove --user "$TEST_USER"
like "$(cat "$SCRATCH/out")" 'just being tried' "and said"
kill -KILL $prover
wait $prover 2>/dev/null
ok "what was old is gone, what is new is not" [ -d "$H/.oknek-prove-bbbbbb" -a ! -d "$H/.oknek-prove-aaaaaa" ]
rmdir "$H/.oknek-prove-bbbbbb"
ok "killed: decoys and children are gone" wait_for 60 nothing_left
prove
is "$rc $(failed)" "0 " "and the next one runs"

# ---- not to the end --------------------------------------------------------------------------------------

begin() {
	"$(bin oknek)" --run-dir "$RUN" --json doctor --prove --user "$TEST_USER" >"$SCRATCH/json" 2>"$SCRATCH/err" &
	prover=$!
}
# The second of its children: the first has the decoys.
who_tries() { read -ra kids < <(cat "/proc/$prover/task/$prover/children" && echo); [ ${#kids[@]} -ge 2 ]; }
begin
ok "a process tries the routes, watched by nobody" wait_for 30 who_tries
kill -KILL "${kids[1]}"
wait $prover
is "$?" 2 "it is killed: what could not be tried is no success"
like "$(cat "$SCRATCH/err")" 'of what rules claim was not tried to the end, first [^ ]+ by .*: who tries did not come' \
	"which is one line"
is "$(wc -l <"$SCRATCH/err")" 1 "and no more"
is "$(jq '.counts.unfinished' "$SCRATCH/json")" \
	"$(jq '[.cells[] | select(.claimed and .result == "NOT_TRIED" and (.why | test("did not come")))] | length' \
		"$SCRATCH/json")" "its JSON counts them"
is "$(jq '.counts.unfinished > 0' "$SCRATCH/json")" true "and there are some"
begin
ok "it is tried" wait_for 60 running
who_tries
kill -KILL "${kids[1]}"
wait $prover
is "$?" 2 "the member that tries is killed: no success either"

# hang: attempts stop in the middle, of which the member has one at a time, until it is killed for that.
hang() {
	local at=
	for _ in 1 2; do
		until [ -n "$at" ]; do
			[ -d "/proc/${kids[1]}" ] || return
			read -r at _ <"/proc/${kids[1]}/task/${kids[1]}/children"
		done 2>/dev/null
		kill -STOP "$at"
		wait_for 30 nok_pid "$at"
		at=
	done
}
nok_pid() { ! kill -0 "$1" 2>/dev/null; }
late='[.cells[] | select(.claimed and (.why | test("did not end in [0-9]+ seconds$")))] | length'
for _ in 1 2 3 4; do # those that no rule claims may be hit
	begin
	wait_for 60 running && who_tries && hang
	wait $prover
	rc=$?
	[ "$(jq "$late" "$SCRATCH/json")" = 0 ] || break
done
isnt "$(jq "$late" "$SCRATCH/json")" 0 "an attempt of a member hangs where that of others does not"
is "$rc $(jq '.counts.unfinished' "$SCRATCH/json")" "2 $(jq "$late" "$SCRATCH/json")" "that is no success"
like "$(cat "$SCRATCH/err")" 'not tried to the end, .* did not end in' "and said"

# ---- root and the user ---------------------------------------------------------------------------------

# What root has of environment and descriptors is not shown to who may look into a process of the user's.
OF_ROOT=hunter2 "$(bin oknek)" --run-dir "$RUN" doctor --prove --user "$TEST_USER" --brief \
	7</etc/passwd >"$SCRATCH/killed" 2>&1 &
prover=$!
theirs() { # two are there, as the user, with nothing of root's
	read -ra kids < <(cat "/proc/$prover/task/$prover/children" && echo)
	[ ${#kids[@]} -ge 2 ] || return
	for k in "${kids[@]}"; do
		grep -q "^Uid:	$TEST_UID	$TEST_UID	" "/proc/$k/status" &&
			! grep -qa OF_ROOT "/proc/$k/environ" &&
			! find "/proc/$k/fd" -printf '%l\n' | grep -q -e '^/etc/' -e '/killed$' || return
	done
}
ok "who tries has nothing of root's" wait_for 30 theirs
kill -KILL "${kids[0]}"
wait $prover
is "$?" 0 "who keeps the decoys is killed: they are tried all the same"
like "$(cat "$SCRATCH/killed")" 'who kept the decoys was killed' "and it is said"
ok "decoys and children are gone" wait_for 60 nothing_left

# A directory that somebody else may put another in the place of.
mkdir -m 777 "$SCRATCH/open"
mkdir "$SCRATCH/open/dir"
chown "$TEST_UID" "$SCRATCH/open/dir"
exits 2 "not where others may write" oknek doctor --prove --user "$TEST_USER" --in "$SCRATCH/open/dir"
like "$(cat "$SCRATCH/out")" 'decoys cannot be made in .*/open/dir: somebody else may write' "which is said"

# ---- in the hands of the user ---------------------------------------------------------------------------

# Somebody of that uid puts a program in the place of each file among the decoys, as fast as it can: where it is
# run it is by the member, which does not get at the secret.
cat >"$SCRATCH/program" <<-END
	#!/bin/sh
	if "$(bin plain_open)" "$H/.aws/credentials"; then echo free; else echo held; fi >>"$SCRATCH/ran" 2>&1
END
touch "$SCRATCH/ran"
chmod 666 "$SCRATCH/ran"
chmod 755 "$SCRATCH/program"
as_user python3 - "$H" "$SCRATCH/program" "$SCRATCH/over" >"$SCRATCH/vandal" <<-'END' &
	import glob, os, stat, sys
	home, program, over = sys.argv[1:]
	text = open(program).read()
	replaced = set()
	while not os.path.exists(over):
	    for top in glob.glob(home + "/.oknek-prove-*"):
	        for at, _, names in os.walk(top):
	            for name in names:
	                path = os.path.join(at, name)
	                try:
	                    st = os.lstat(path)
	                    if stat.S_ISSOCK(st.st_mode) or st.st_size == len(text):
	                        continue
	                    with open(home + "/new", "w") as f:
	                        f.write(text)
	                    os.chmod(home + "/new", 0o700)
	                    os.rename(home + "/new", path)
	                    replaced.add(path)
	                except OSError:
	                    pass
	print(len(replaced))
END
vandal=$!
for _ in 1 2; do prove; done
touch "$SCRATCH/over"
wait $vandal
isnt "$(cat "$SCRATCH/vandal")" 0 "files among the decoys are replaced while it runs"
is "$(grep -c free "$SCRATCH/ran")" 0 "nothing of that is run unwatched"
rm -f "$H/new"
ok "decoys and children are gone" wait_for 60 nothing_left

# EPERM of somebody else's: files are made immutable once the member tries.
: >"$MNT/immutable"
if chattr +i "$MNT/immutable" 2>/dev/null; then
	chattr -i "$MNT/immutable"
	"$(bin oknek)" --run-dir "$RUN" --json doctor --prove --user "$TEST_USER" >"$SCRATCH/json" &
	prover=$!
	ok "it runs" wait_for 60 running
	find "$H" -path '*/.oknek-prove-*' -type f -exec chattr +i {} + 2>/dev/null
	ended() { ! running; }
	wait_for 120 ended
	find "$H" -path '*/.oknek-prove-*' -type f -exec chattr -i {} + 2>/dev/null
	wait $prover
	is "$?" 1 "refused by somebody else: exit 1"
	is "$(jq -r '.cells[] | select(.result == "DENIED" and .recorded != "block") | .route' "$SCRATCH/json")" "" \
		"nothing is denied without a record"
	like "$(jq -r '.cells[] | select(.failed) | "\(.route) \(.result) \(.why)"' "$SCRATCH/json")" \
		'open to write NOT_TRIED EPERM, and no record of ours' "what somebody else refused is not tried, and said"
	is "$(jq -r '.cells[] | select(.failed and .result != "NOT_TRIED") | .route' "$SCRATCH/json")" "" "nothing is open"
	ok "decoys and children are gone" wait_for 60 nothing_left
else
	skip "refused by somebody else" "files of this filesystem cannot be immutable"
fi
prove
is "$rc $(failed)" "0 " "with nobody in the way it is as before"

ok "the records are whole" oknek verify --state-dir "$STATE"
ok "the daemon stops" stop_daemon

# ---- rules that ask for more than a path -----------------------------------------------------------------

OWN_RULES=$SCRATCH/own
mkdir "$OWN_RULES"
rule() { # ID LINE…
	printf '%s\n' "id: $1" "name: $1" 'version: 1' "kind: ${KIND:-file_opened}" 'match: {all_of: [' "${@:2}" ']}' \
		'action: {default: block, configurable: true, options: [block, warn, allow]}' >"$OWN_RULES/$1.yaml"
}
rule X1 '{path: {glob: "~/.sec/a"}}'
rule X2 '{path: {glob: "~/.written"}}, {open_mode: {eq: write}}'
rule X3 '{path: {glob: "~/.others"}}, {process_name: {eq: curl}}'
rule X4 '{path: {glob: "~/.sec"}}'
D=$SCRATCH/fs/data
mkdir "$D"
chown "$TEST_UID" "$D"
rule X6 "{path: {glob: \"$D/**/*.key\"}}"
rule X7 "{path: {eq: \"$D/real\"}}"
KIND=socket_connect
rule X8 '{process_name: {eq: nc}}'
rule X9 '{dest_port: {eq: 25}}'
KIND=exec_observed
rule X10 '{process_name: {eq: crontab}}, {agent_identifier: {eq: claude-code}}'
[ -z "$shells" ] || rule X5 '{process_name: {in: [atq, crontab]}}'
KIND=''
ok "a daemon with rules of our own" start_daemon --rules "$OWN_RULES"
prove
is "$rc $(failed)" "0 " "each claims no more than it says"
is "$(of X1 .claimed) $(of X2 .claimed)" "DENIED NOT_TRIED DENIED" "and that is denied"
is "$(route X2 open)" OPEN "open_mode: write: who reads is let"
why() { jq -r --arg r "$1" '.not_tried[] | select(.rule == $r) | .why' "$SCRATCH/json"; }
like "$(why X3)" 'more than a path' "what asks for another program is not tried"
like "$(why X4)" 'have a directory' "nor is what is in the way of another"
like "$(why X6)" 'of the system are not opened' "nor what is elsewhere"
like "$(why X8)" 'who connects, and not to whom' "nor a connection of some program to anybody"
like "$(why X9)" 'a port alone' "nor one to whoever has some port"
like "$(why X10)" 'more than what a program is called' "nor a program that only another agent may not run"
is "$(jq .counts.rules_not_tried "$SCRATCH/json")" "$(jq '.not_tried | length' "$SCRATCH/json")" \
	"these rules are counted"
if [ -n "$shells" ]; then
	is "$(route hand-off cron) $(route hand-off at)" "DENIED DENIED" "who may not be asked is no way out"
	like "$(of X5 .claimed)" '^DENIED( NOT_TRIED)?$' "a program of that name that does nothing is denied by each route"
	is "$(route X5 program)$(route X5 'double fork')$(route X5 'other name')" DENIEDDENIEDDENIED "as such, and by another name"
else
	skip "planners" "no programs of the test's own"
fi
put "$D/real" 'real secret'
prove --in "$D"
is "$rc $(failed)" "0 " "below a directory that rules name"
is "$(of X6 .claimed)" "DENIED NOT_TRIED" "what they say of all that is in there is tried there, and denied"
like "$(why X7)" 'of the system are not opened' "but no file that they name itself"
oknek doctor --prove --user "$TEST_USER" --brief >"$SCRATCH/brief" 2>&1
like "$(cat "$SCRATCH/brief")" 'mode enforce: .* not tried; [1-9][0-9]* rules not tried' "the sum has the rules that are not tried"
if [ -n "$shells" ]; then
	oknek mode observe >/dev/null
	prove
	is "$rc $(failed)" "0 " "observe: what enforce mode would hold is held"
	is "$(route X5 program)" DENIED "observe: decoys of programs, too"
fi
ok "the daemon stops" stop_daemon
done_testing
