#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What members of a watched tree do is told by the kernel's audit: each way to a file, programs,
# connections, by the object that they were, once. It is switched on for that, and put back.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin aud_host oknek oknekd plain_open route
need_command jq

need_audit_alone
host() { "$(bin aud_host)" "$@"; }
host owner >"$SCRATCH/owner" 2>&1 || skip_all "no audit here: $(cat "$SCRATCH/owner")"
[ "$(host status | cut -d' ' -f2)" != 2 ] || skip_all "audit is locked"
ours() { host rules | grep -c "$(printf oknek- | od -An -tx1 | tr -d ' \n')"; }
no_ours() { [ "$(ours)" -eq 0 ]; }
alone() { no_ours && [ "$(host owner)" = 0 ]; }
# What a daemon has left that was killed, the next one takes away.
wait_for 2 alone || { start_daemon --source=audit && stop_daemon; rm -rf "$STATE" "$RUN"; } >/dev/null 2>&1
alone || skip_all "audit is another's: owner $(host owner), $(ours) rules of an oknekd"

# The records since the last call, as RULE VERDICT MECHANISM OUTCOME SOURCE in one line each.
records() {
	local last
	last=$(cat "$SCRATCH/last" 2>/dev/null)
	oknek --json events --limit 1000 | jq -r --argjson l "${last:-0}" 'select(.seq > $l and .kind != null) |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source)"' | sort | uniq -c | sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}
some() { oknek --json events --limit 1 | jq -e --argjson l "$(cat "$SCRATCH/last")" '.seq > $l'; }
# What was done is recorded by then: the first soon, and what else comes of it after that.
settled() { wait_for 15 some; sleep 0.5; records; }
nothing() { sleep 2; records; }
audit() { oknek --json status | jq -c ".sources[] | select(.name == \"audit\") | $1"; }

scene tmpfs || { fail "the scene"; done_testing; }
: >"$SCRATCH/last" && echo 0 >"$SCRATCH/last"
ok "an administrator's rule" host add admins
trap 'rc=$?; host del admins >/dev/null 2>&1; end_left_behind; (exit $rc); cleanup' EXIT
state=$(host status) rules=$(host rules)
as_before() { [ "$(host status)" = "$state" ] && [ "$(host rules)" = "$rules" ]; }

# ---- the source --------------------------------------------------------------------------------------

write_rule warned.yaml notes.txt warn X701
cat >"$OWN_RULES/runs.yaml" <<-'END'
	id: X703
	name: a program
	version: 1
	kind: exec_observed
	match: {all_of: [{argv: {contains: forty-two}}]}
	action: {default: block}
	evidence: {capture: [argv]}
END
cat >"$OWN_RULES/connects.yaml" <<-'END'
	id: X704
	name: a port
	version: 1
	kind: socket_connect
	match: {all_of: [{dest_port: {eq: 7042}}]}
	action: {default: block}
	evidence: {capture: [dest_ip, dest_port, protocol]}
END
cat >"$OWN_RULES/nowhere.yaml" <<-'END'
	id: X705
	name: nobody knows where
	version: 1
	kind: socket_connect
	match: {none_of: [{dest_port: {gte: 0}}, {dest_path: {prefix: /}}]}
	action: {default: warn}
	evidence: {capture: [dest_ip, dest_port, protocol]}
END
if ! start_daemon --source=audit --rules "$OWN_RULES"; then
	grep -q 'audit:' "$LOG" && skip_all "$(grep 'audit:' "$LOG" | tail -n 1)"
	fail "a daemon with audit alone"
	done_testing
fi
pass "a daemon with audit alone"
is "$(oknek --json status | jq -c '[.sources[].name]')" '["audit"]' "status names the one source"
is "$(host owner)" "$DAEMON_PID" "it owns the socket, where nobody did"
is "$(audit .reads)" '"unicast"' "and says so"
is "$(audit '.kernel | [.enabled, .owner, .rate_limit]')" "[true,$DAEMON_PID,0]" "with what the kernel says"
like "$(oknek status)" 'audit: by unicast, owner pid [0-9]+; [0-9]+ of [0-9]+ in its backlog, [0-9]+ lost' "in words, too"
is "$(oknek --json rules | jq -rs 'map(select(.action == "block") | .mechanism) | unique | join(" ")')" detect \
	"what rules block is detected"
like "$(oknek rules)" 'X700 ' "which rules says"
like "$(jq -nr --argjson s "$(oknek --json status)" '$s.privilege.capabilities | join(" ")')" 'audit_control' \
	"the capabilities that it takes are kept"
case $state in
"enabled 0"*) like "$(cat "$LOG")" 'audit was off, and is on' "that it was switched on is said" ;;
esac

# ---- each way to the secret: one record --------------------------------------------------------------

detected='1 X700 detected detect observed audit'
records >/dev/null
for n in plain_open openat2 symlink symlink_parent thread_open static_open hard_link vfork_exec proc_root proc_cwd \
	opath_reopen write_open exec_file uring_open uring_async uring_sqpoll uring_behind; do
	exe=$(bin "$n") || { skip "$n" "not built"; continue; }
	rc=0
	timeout 60 "${IN_TREE[@]}" "$exe" "$SECRET" "$WORK" >"$SCRATCH/out" 2>&1 || rc=$?
	[ $rc -eq 2 ] && { skip "$n" "not possible here"; continue; }
	lay_secret
	if [[ $n = uring_* ]] && [ "$(printf '%s\n' 5.16 "$(uname -r)" | sort -V | head -n 1)" != 5.16 ]; then
		skip "$n" "this kernel does not tell"
		continue
	fi
	# Of a worker's open the kernel tells that there was one.
	if [ $n = uring_async ]; then
		unnamed() { [ "$(audit .unnamed)" -ge 1 ]; }
		ok "$n: it is counted" wait_for 15 unnamed
		records >/dev/null
		continue
	fi
	like "$(settled)" '^[1-9][0-9]* X700 detected detect observed audit$' "$n: it is told"
done
ok "plainly" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "$detected" "it is told once"
e=$(oknek --json events --limit 1)
is "$(jq -r .capture.path <<<"$e")" "$SECRET" "with its path"
is "$(jq -r '.process | "\(.uid) \(.comm)"' <<<"$e")" "$TEST_UID plain_open" "and who it was, though it has ended"
is "$(jq -r .process.exe <<<"$e")" "$(bin plain_open)" "which program"
like "$(jq -r .process.pid <<<"$e")" '^[1-9]' "and which process"
ok "by a relative name" "${IN_TREE[@]}" sh -c "cd '$TEST_HOME/.aws' && exec cat ../.aws/./credentials"
is "$(settled)" "$detected" "it is told once"
is "$(oknek --json events --limit 1 | jq -r .capture.path)" "$SECRET" "as what it is"
as_user ln -s .aws/credentials "$TEST_HOME/elsewhere"
ok "by a link that is gone" "${IN_TREE[@]}" sh -c "cat '$TEST_HOME/elsewhere'; rm '$TEST_HOME/elsewhere'"
is "$(settled)" "$detected" "it is told once"
ok "a stranger reads it" as_user "$(bin plain_open)" "$SECRET"
is "$(nothing)" "" "and nothing is recorded"
ok "a member that may not" "${IN_TREE[@]}" sh -c "! cat '$TEST_HOME/.ssh/none'"
is "$(nothing)" "" "nor that nothing was there"

# ---- programs, connections ----------------------------------------------------------------------------

ok "a program" "${IN_TREE[@]}" /bin/echo forty-two
is "$(settled)" "1 X703 detected detect observed audit" "is told, once"
like "$(oknek --json events --limit 1 | jq -r .capture.argv)" '^/bin/echo forty-two$' "with its arguments"
"$(bin route)" serve 127.0.0.1 7042 >"$SCRATCH/ready" &
ok "somebody answers" wait_for 10 grep -q ready "$SCRATCH/ready"
ok "a connection" "${IN_TREE[@]}" "$(bin route)" tcp 127.0.0.1 7042
is "$(settled)" "1 X704 detected detect observed audit" "is told"
is "$(oknek --json events --limit 1 | jq -rc '.capture | [.dest_ip, .dest_port]')" '["127.0.0.1",7042]' "with where to"
ok "a datagram" "${IN_TREE[@]}" "$(bin route)" sendto 127.0.0.1 7042
like "$(settled)" '^[1-9][0-9]* X704 detected detect observed audit$' "is told"
is "$(oknek --json events --limit 1 | jq -r .capture.protocol)" udp "as what it was"
for way in uring uring-async uring-sqpoll uring-hidden uring-sendmsg uring-sendmsg-zc; do
	rc=0
	timeout 60 "${IN_TREE[@]}" "$(bin route)" $way 127.0.0.1 7042 >"$SCRATCH/out" 2>&1 || rc=$?
	# SENDMSG_ZC is of Linux 6.1.
	[ $rc -eq 2 ] || { [ $way = uring-sendmsg-zc ] && [ $rc -ne 0 ]; } && { skip "$way" "not possible here"; continue; }
	[ "$(printf '%s\n' 5.16 "$(uname -r)" | sort -V | head -n 1)" = 5.16 ] || { skip "$way" "this kernel does not tell"; continue; }
	# A worker has no address; nor has any but the last of a call.
	case $way in
	uring-async | uring-hidden) is "$(settled)" "1 X705 warn detect observed audit" "$way: that it connects is told once" ;;
	*) is "$(settled)" "1 X704 detected detect observed audit" "$way: it is told once" ;;
	esac
done
incomplete() { oknek --json events --limit 1000 | jq -es 'any(.[]; .rule.name == "audit events incomplete")'; }
if [ "$(audit .partial)" -gt 0 ]; then
	ok "that something is not sure is recorded" wait_for 90 incomplete
	like "$(oknek --json status | jq -r '.warnings[]')" 'of [1-9][0-9]* events something is missing' "and a warning of status"
fi

# ---- a tree that runs already -------------------------------------------------------------------------

# shellcheck disable=SC2016 # for that shell
as_user sh -c 'while [ ! -e "$0/go" ]; do sleep 0.1; done; cat "$1"; while [ -e "$0/go" ]; do sleep 0.1; done' \
	"$WORK" "$SECRET" >/dev/null &
grown=$!
ok "it is adopted" oknek watch --agent claude-code "$grown"
touch "$WORK/go"
is "$(settled)" "$detected" "what a child of it does is told"
ok "it is let go" oknek unwatch "$grown"
rm -f "$WORK/go"
wait "$grown" 2>/dev/null

# ---- who else is there --------------------------------------------------------------------------------

"${IN_TREE[@]}" sleep 60 &
sleeper=$!
is_watched() { [ "$(oknek --json status | jq .members)" -ge 1 ]; }
wait_for 30 is_watched
member=$(oknek --json agents | jq -r .root_pid | tail -n 1)
host lie "$member" /bin/liar "$SECRET" >"$SCRATCH/lie"
diag "$(sort "$SCRATCH/lie" | uniq -c)"
is "$(nothing)" "" "what somebody else than the kernel tells is not believed"

# An auditd that comes: its first try is refused, and we make way.
kill "$sleeper" 2>/dev/null
wait "$sleeper" 2>/dev/null
mkfifo "$SCRATCH/in0"
exec 9<>"$SCRATCH/in0"
(until "$(bin aud_host)" own; do sleep 0.2; done) <"$SCRATCH/in0" >"$SCRATCH/came" 2>&1 &
came=$!
ok "an auditd that comes later owns the socket" wait_for 30 grep -q ready "$SCRATCH/came"
is "$(audit .reads)" '"multicast"' "as we make way for it"
records >/dev/null
ok "plainly" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "$detected" "what is done then is told once"
ok "the daemon stops" stop_daemon
isnt "$(host owner)" 0 "it owns the socket afterwards"
echo >&9
exec 9>&-
wait "$came"
like "$(host status)" 'enabled 1' "and audit stays on for it"
case $state in "enabled 0"*) host enable 0 ;; esac
ok "audit is as it was, and its rules" as_before
mkfifo "$SCRATCH/in"
"$(bin aud_host)" own <"$SCRATCH/in" >"$SCRATCH/owned" 2>&1 &
owner=$!
exec 9>"$SCRATCH/in"
ok "somebody owns the socket" wait_for 10 grep -q ready "$SCRATCH/owned"
rm -rf "$STATE" "$RUN"
echo 0 >"$SCRATCH/last"
ok "a daemon beside it" start_daemon --source=audit --rules "$OWN_RULES"
is "$(audit .reads)" '"multicast"' "reads what everybody is told"
is "$(audit .kernel.owner)" "$owner" "and says who owns the socket"
ok "plainly" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "$detected" "it is told once"
"${IN_TREE[@]}" sleep 60 &
sleeper=$!
wait_for 30 is_watched
member=$(oknek --json agents | jq -r .root_pid | tail -n 1)
host lie "$member" /bin/liar "$SECRET" >"$SCRATCH/lie"
diag "$(sort "$SCRATCH/lie" | uniq -c)"
is "$(nothing)" "" "what somebody else tells everybody is not believed"
if grep -q '^took 0 1$' "$SCRATCH/lie"; then
	is "$(audit '.foreign > 0')" true "but counted"
	has_foreign() { oknek --json events --limit 1000 | jq -es 'any(.[]; .rule.name == "records not sent by the kernel")'; }
	ok "and recorded" wait_for 90 has_foreign
fi
kill "$sleeper" 2>/dev/null
wait "$sleeper" 2>/dev/null
ok "the daemon stops" stop_daemon
ok "the owner is as before" kill -0 "$owner"
is "$(host owner)" "$owner" "and owns it"
echo >&9
exec 9>&-
wait "$owner"
ok "audit is as it was, and its rules" as_before

# ---- a daemon that is killed --------------------------------------------------------------------------

rm -rf "$STATE" "$RUN"
echo 0 >"$SCRATCH/last"
ok "a daemon" start_daemon --source=audit --rules "$OWN_RULES"
"${IN_TREE[@]}" sleep 60 &
sleeper=$!
wait_for 30 is_watched
isnt "$(ours)" 0 "has rules in the kernel"
kill_daemon
isnt "$(ours)" 0 "which stay when it is killed"
ok "another one" start_daemon --source=audit --rules "$OWN_RULES"
kill "$sleeper" 2>/dev/null
wait "$sleeper" 2>/dev/null
ok "goes on" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "$detected" "with the same"
ok "stops" stop_daemon
ok "and puts back what the first one found" as_before
ok "a daemon again" start_daemon --source=audit --rules "$OWN_RULES"
"${IN_TREE[@]}" sleep 60 &
sleeper=$!
wait_for 30 is_watched
isnt "$(ours)" 0 "has rules in the kernel"
kill_daemon
ok "one that has not the source" start_daemon --rules "$OWN_RULES"
kill "$sleeper" 2>/dev/null
wait "$sleeper" 2>/dev/null
ok "puts back what that one found, at its start" as_before
ok "and forgets it" [ ! -e "$STATE/audit-rules" ]
ok "it stops" stop_daemon

# ---- with fanotify ------------------------------------------------------------------------------------

rm -rf "$STATE" "$RUN"
echo 0 >"$SCRATCH/last"
ok "with fanotify" start_daemon --source=audit,fanotify --rules "$OWN_RULES"
is "$(oknek --json rules | jq -r 'select(.id == "X700") | .mechanism')" fanotify "rules hold"
denied "the secret is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
wait_for 15 some
is "$(nothing)" "1 X700 block fanotify denied audit,fanotify" "in one record that names both"
ok "another file is read" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
wait_for 15 some
is "$(nothing)" "1 X701 warn detect observed audit,fanotify" "and warned of once, by both"
ok "observe mode" oknek mode observe
ok "the secret is read" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
wait_for 15 some
is "$(nothing)" "1 X700 would_block detect observed audit,fanotify" "and recorded once, by both"
is "$(audit .unconfirmed)" 0 "audit has told of each, too"
ok "the daemon stops" stop_daemon

# ---- too much -----------------------------------------------------------------------------------------

rm -rf "$STATE" "$RUN"
mkfifo "$SCRATCH/in2"
"$(bin aud_host)" limit 8 <"$SCRATCH/in2" >"$SCRATCH/limited" 2>&1 &
limiter=$!
exec 9>"$SCRATCH/in2"
ok "a small backlog" wait_for 10 grep -q ready "$SCRATCH/limited"
ok "a daemon" start_daemon --source=audit --rules "$OWN_RULES"
before=$(host status)
# shellcheck disable=SC2016 # for that shell
ok "many opens" "${IN_TREE[@]}" sh -c 'i=0; while [ $i -lt 30000 ]; do read -r x <"$0"; i=$((i + 1)); done' "$TEST_HOME/notes.txt"
lost() { [ "$(audit '.kernel_lost + .overruns')" -gt 0 ]; }
if ok "are more than it can tell" wait_for 30 lost; then
	told_lost() { oknek --json events --limit 500 | jq -es 'any(.[]; .rule.name == "audit records lost")'; }
	ok "which is recorded" wait_for 90 told_lost
	like "$(audit .lost)" '^[1-9]' "and counted as lost"
fi
ok "the daemon stops" stop_daemon
is "$(host status)" "${before/enabled 1/${state%% failure*}}" "and leaves the limits as they were"
echo >&9
exec 9>&-
wait "$limiter"
ok "audit is as it was, and its rules" as_before
ok "the administrator's rule goes" host del admins
done_testing
