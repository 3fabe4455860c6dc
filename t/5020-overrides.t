#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a host says about rules: other actions and thresholds, and exceptions, which let one process
# through and no other, no second name, and nobody once they have expired. What is wrong is refused
# by file and line, and changes nothing.
# sanitize: address
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open

scene tmpfs || { fail "the scene"; done_testing; }
daemon=$(bin oknekd)
terraform=$SCRATCH/bin/terraform
cp "$(bin plain_open)" "$terraform"
put "$TEST_HOME/.aws/config" "region $TOKEN"
write_rule aws.yaml '.aws/**'
cat >"$OWN_RULES/limit.yaml" <<'END'
id: X705
name: a limit
version: 1
kind: file_opened
match:
  all_of:
    - path: { glob: "~/notes.txt" }
    - any_of:
        - uid: { gte: 10 }
threshold: { default: 10, configurable: true }
action: { default: block, configurable: true, options: [ block, warn ] }
END
cat >"$OWN_RULES/exec.yaml" <<'END'
id: X706
name: nobody reports this here
version: 1
kind: mcp_endpoint
match: { any_of: [ process_name: { eq: dd } ] }
action: { default: block }
END

# host NAME LINE…: a file of the configuration; without lines it goes.
mkdir "$CONFIG.d"
host() {
	local name=$1
	shift
	rm -f "$CONFIG.d/$name.yaml"
	[ $# -eq 0 ] || printf '%s\n' "$@" >"$CONFIG.d/$name.yaml"
}
shown() { oknek --json rules show "$1"; }
reload() { oknek update --reload-local; }

# ---- actions and thresholds -----------------------------------------------------------------

ok "it starts" start_daemon --rules "$OWN_RULES"
denied "the rule blocks" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
exits 1 "the limit is passed" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
like "$(shown X705)" '"threshold":10,.*"threshold_default":10,.*"threshold_overridden":null' \
	"the limit is shown"
like "$(shown X705)" '"observed":true' "somebody reports it"
like "$(shown X706)" '"observed":false' "nobody reports what is executed"
like "$(oknek rules)" 'X706 +block +detect +mcp_endpoint .*not observed: no running source reports mcp_endpoint' \
	"and it is said"

host 10 'rules:' '  X705: { threshold: 4000000000 }'
ok "another limit is read by a reload" reload
ok "and holds" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
like "$(oknek rules show X705)" $'threshold +4000000000\n +the rule says 10; [^ ]*/10.yaml:2 set it' \
	"it is said to people"
like "$(shown X705)" "\"overridden\":\"[^\"]*/10.yaml:2\"" "it is told who said so"
like "$(shown X705)" '"threshold":4000000000,.*"threshold_default":10' "and what was shipped"
host 20 'rules:' '  X705:' '    action: warn'
ok "an action in another file" reload
like "$(shown X705)" '"action":"warn".*"action_default":"block".*20.yaml:3' "is told"
like "$(shown X705)" '"threshold":4000000000' "and leaves the threshold alone"
host 10
ok "without the threshold" reload
ok "the action still holds" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
host 20
ok "both are gone" reload
exits 1 "and it blocks as shipped" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"

# ---- exceptions ------------------------------------------------------------------------------

host 30 'exceptions:' '  X700:' '    - match:' '        all_of:' \
	'          - process_name: { eq: terraform }' '          - path: { glob: "~/.aws/config" }' \
	'      reason: terraform reads its profile' '      author: ops@example.org' \
	'      expires: 2100-01-31'
ok "an exception is read by a reload" reload
gets "it lets through whom it names" "${IN_TREE[@]}" "$terraform" "$TEST_HOME/.aws/config"
denied "and no other program" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/.aws/config"
denied "and to no other file" "${IN_TREE[@]}" "$terraform" "$SECRET"
like "$(oknek status)" 'exceptions +1 in force, 0 expired' "the status counts it"
like "$(oknek --json status)" '"exceptions":\{"active":1,"expired":0,"let_through":1\}' "also in JSON"
like "$(shown X700)" '"reason":"terraform reads its profile"' "its reason is shown"
like "$(shown X700)" '"author":"ops@example.org"' "who wrote it"
like "$(shown X700)" '"let_through":1[,}]' "how much it let through"
like "$(shown X700)" '"expires":"2100-01-31","expired":false' "how long it lasts"
like "$(shown X700)" '30.yaml","line":3' "and where it stands"
like "$(oknek rules show X700)" \
	$'exception +terraform reads its profile\n +by ops@example.org, until 2100-01-31, .*/30.yaml:3' \
	"people see all that"

# A second name of the secret, where the exception lets anything be read.
as_user rm "$TEST_HOME/.aws/config"
as_user ln "$SECRET" "$TEST_HOME/.aws/config"
denied "a hard link at the excepted name does not open the secret" \
	"${IN_TREE[@]}" "$terraform" "$TEST_HOME/.aws/config"
denied "nor by its own name" "${IN_TREE[@]}" "$terraform" "$SECRET"
as_user rm "$TEST_HOME/.aws/config"
put "$TEST_HOME/.aws/config" "region $TOKEN"
gets "what is put there instead is let through" "${IN_TREE[@]}" "$terraform" "$TEST_HOME/.aws/config"
as_user ln "$TEST_HOME/.aws/config" "$TEST_HOME/copy"
gets "by its other name too" "${IN_TREE[@]}" "$terraform" "$TEST_HOME/copy"
denied "not to others" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/copy"

host 40 'exceptions:' '  X705: { match: { uid: { eq: 4711 } }, reason: old, author: me, expires: 2020-01-01 }' \
	'  X700: { match: { process_name: { eq: terraform } }, reason: soon over, author: me, expires: "'"$(
		date -u -d '6 seconds' +%FT%TZ)"'" }'
out=$(reload)
like "$("$daemon" --check --config "$CONFIG" --rules "$OWN_RULES" 2>&1)" '40.yaml:2: the exception to X705 expired' \
	"--check tells of one that has expired"
like "$out" 'notice .*40.yaml:2: the exception to X705 expired \(2020-01-01\) and has no effect' \
	"an expired one loads, and is told of"
ok "also in the log" wait_for 5 grep -q 'the exception to X705 expired' "$LOG"
gets "files add to each other" "${IN_TREE[@]}" "$terraform" "$TEST_HOME/.aws/config"
gets "one that lasts some seconds" "${IN_TREE[@]}" "$terraform" "$SECRET"
ok "ends without a reload" wait_for 15 eval \
	'! timeout 20 "${IN_TREE[@]}" "$terraform" "$SECRET" >/dev/null 2>&1'
denied "so the secret is one again" "${IN_TREE[@]}" "$terraform" "$SECRET"
like "$(oknek --json status)" '"exceptions":\{"active":1,"expired":2,"let_through":[0-9]+\}' \
	"the status counts them"
like "$(shown X705)" '"expires":"2020-01-01","expired":true' "and the rule shows it"
host 40

# ---- what is wrong ----------------------------------------------------------------------------

# refused DESC MESSAGE LINE…: by a reload and by --check, and nothing changes.
refused() {
	local desc=$1 want=$2 rc=0 out
	shift 2
	host 50 "$@"
	out=$(reload 2>&1) || rc=$?
	is $rc 2 "$desc: refused"
	like "$out" "50.yaml:$want" "$desc: with file and line"
	rc=0
	out=$("$daemon" --check --config "$CONFIG" --rules "$OWN_RULES" 2>&1) || rc=$?
	is $rc 78 "$desc: --check finds it"
	is "$(grep -c . <<<"$out")" 1 "$desc: in one line"
	like "$out" "50.yaml:$want" "$desc: the same"
}
refused "a threshold where there is none" '2: X700: threshold 3 is refused, rule X700 has no threshold' \
	'rules:' '  X700: { threshold: 3 }'
refused "an action that is no option" '2: X705: action allow is refused, rule X705 does not have it' \
	'rules:' '  X705: { action: allow }'
refused "a rule that may not be changed" '2: X706: action warn is refused, rule X706 is not configurable' \
	'rules:' '  X706: { action: warn }'
refused "no such rule" '2: X999: there is no such rule' 'rules:' '  X999: { threshold: 3 }'
refused "half a number" '2: threshold must be a whole number' 'rules:' '  X705: { threshold: 3.5 }'
refused "an exception to no rule" '3: exceptions: there is no rule X9' \
	'exceptions:' '  X9:' '    reason: r' '    author: a' '    match: { uid: { eq: 1 } }'
refused "a field of another kind" '5: no field "chain_depth" for kind file_opened' \
	'exceptions:' '  X700:' '    reason: r' '    author: a' '    match: { chain_depth: { gt: 1 } }'
refused "no reason" '2: the exception to X700 has no reason' \
	'exceptions:' '  X700: { author: a, match: { uid: { eq: 1 } } }'
refused "a date that is none" '2: expires must be a date like 2027-01-31' \
	'exceptions:' '  X700: { reason: r, author: a, match: { uid: { eq: 1 } }, expires: 2027-02-30 }'
gets "what was let through is" "${IN_TREE[@]}" "$terraform" "$TEST_HOME/.aws/config"
denied "what was denied is" "${IN_TREE[@]}" "$terraform" "$SECRET"
kill -HUP "$DAEMON_PID"
ok "SIGHUP says it in the log" wait_for 5 grep -q 'rules are unchanged: .*50.yaml:2' "$LOG"
host 50
ok "the daemon takes what is right again" reload

# ---- versions ---------------------------------------------------------------------------------

sed -i 's/^name: .*/name: another text/' "$OWN_RULES/limit.yaml"
like "$(oknek --json update --reload-local)" \
	'"notice":\["[^"]*limit.yaml:1: rule X705 has version 1 as before, but other content: give it version 2"\]' \
	"other content of the same version is a notice"
ok "and in the log" wait_for 5 grep -q 'rule X705 has version 1 as before' "$LOG"
like "$(oknek --json update --reload-local)" '"notice":\[\]' "told once"
sed -i 's/^version: .*/version: 3/' "$OWN_RULES/limit.yaml"
like "$(oknek --json update --reload-local)" '"notice":\[\]' "a higher version is none"
sed -i 's/^version: .*/version: 2/' "$OWN_RULES/limit.yaml"
like "$(reload)" 'notice .*limit.yaml:1: rule X705 has version 2, below version 3 of .*limit.yaml:1' \
	"a lower version is"

cat >"$OWN_RULES/named.yaml" <<'END'
id: X707
name: by a list
version: 1
kind: file_opened
match: { all_of: [ path: { eq: /nowhere }, process_name: { in: { list: some } } ] }
action: { default: warn }
END
echo 'lists: { some: [sh] }' >"$OWN_RULES/lists.yaml"
like "$(oknek --json update --reload-local)" '"notice":\[\]' "a rule that names a list is new"
echo 'lists: { some: [dash] }' >"$OWN_RULES/lists.yaml"
like "$(oknek --json update --reload-local)" \
	'"notice":\["[^"]*named.yaml:1: rule X707 has version 1 as before, but a list that it names has other values: give it version 2"\]' \
	"another value of a list is a notice"
rm "$OWN_RULES/named.yaml" "$OWN_RULES/lists.yaml"

sed -i 's/^mode: .*/mode: observe/' "$CONFIG"
like "$(reload)" 'notice .*changed since the start, and read then only: mode' \
	"what a reload does not read is told"
denied "and is not in force" "${IN_TREE[@]}" "$terraform" "$SECRET"
ok "the daemon stops cleanly" stop_daemon

# ---- replayed events decide by their own time ---------------------------------------------------

host 30 'exceptions:' '  X706: { match: { pid: { eq: 7 } }, reason: r, author: a, expires: 2026-01-31 }'
for at in 2026-01-31T23:59:59Z 2026-02-01T00:00:01Z; do
	echo '{"kind":"mcp_endpoint","time":"'$at'","agent":"claude-code","root_pid":7,"pid":7,"exe":"/bin/dd"}'
done >"$SCRATCH/events"
like "$("$daemon" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" \
	--rules "$OWN_RULES" --source="replay:$SCRATCH/events" 2>&1; echo "exit $?")" 'exit 0' \
	"recorded events are decided"
ok "a daemon that tells" start_daemon --rules "$OWN_RULES"
is "$(events --rule X706 | wc -l)" 1 "the rule fired once: when the exception had expired by the event's time"
like "$(events --rule X706)" '"time": ?"2026-02-01T' "namely then"
ok "and it stops" stop_daemon
done_testing
