#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# allow --always: an exception with reason and author, in force at once, after a reload and a restart.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
hold aws.yaml
write_rule other.yaml .ssh/key block X701
hold other.yaml
put "$TEST_HOME/.ssh/key" "$TOKEN"
write_rule ids.yaml ".ssh/id_*" block X702
hold ids.yaml
mkdir "$MNT/bin" && cp "$(readlink -f /bin/sh)" "$MNT/bin/dash"
cat >"$OWN_RULES/exec.yaml" <<-END
	id: X800
	name: test rule
	version: 1
	kind: exec_observed
	match: { all_of: [ { bash_command: { contains: forbidden } } ] }
	action: { default: block, on_block: hold }
END
write_config "exec: {programs: [\"$MNT/bin/dash\"]}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
mine=$CONFIG.d/90-operator.yaml

opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
ok "always" oknek allow "t$(token)" --always --reason 'the "deploy" job: needs it'
like "$(cat "$SCRATCH/out")" "exception +$SECRET, in $mine" "and says what is excepted, and where"
came 1 0 "it opens"
like "$(cat "$mine")" 'X700:' "an exception is written"
is "$(stat -c '%a %u' "$mine")" "644 0" "that others may read, and root alone write"
is "$(oknek --json rules | jq -c 'select(.id == "X700").exceptions[] | [.reason, .author]')" \
	'["the \"deploy\" job: needs it","root (uid 0)"]' "with reason and author"
acts() { events --rule O2 --limit 10 | grep -q '"command":"allow"'; }
wait_for 30 acts
is "$(events --rule O2 --limit 10 | jq -c 'select(.capture.command == "allow").capture.detail | [.always,.outcome]')" \
	'[true,"allowed"]' "and the act is evidence"
opens "$(bin plain_open)" "$SECRET"
came 2 0 "the next is not asked about"
opens "$(bin plain_open)" "$TEST_HOME/.ssh/key"
ok "another file is" wait_for 15 held 1
ok "always, too" oknek allow "t$(token)" --always
came 3 0 "it opens"
is "$(grep -c 'match:' "$mine")" 2 "a second exception stands beside the first"
ok "reload" oknek update --reload-local
opens "$(bin plain_open)" "$SECRET"
came 4 0 "after a reload it holds"
ok "restart" stop_daemon
# By a name that only means something where it is started, as somebody's shell may.
OKNEKD_UNDER=(env -C "$SCRATCH")
start_daemon --rules "$OWN_RULES" --config "${CONFIG##*/}"
opens "$(bin plain_open)" "$SECRET"
came 5 0 "after a restart, too"

# Whoever is held is shown by the name by which he was, and by that alone is excepted.
put "$TEST_HOME/.ssh/id_rsa" "$TOKEN"
put "$TEST_HOME/.ssh/id_dummy" "$TOKEN, but harmless"
opens "$(bin plain_open)" "$TEST_HOME/.ssh/id_dummy"
ok "one of two files of a rule is held" wait_for 15 held 1
ok "the other is moved away" as_user mv "$TEST_HOME/.ssh/id_rsa" "$TEST_HOME/.ssh/k"
ok "and this one put in its place" as_user mv "$TEST_HOME/.ssh/id_dummy" "$TEST_HOME/.ssh/id_rsa"
is "$(pending | jq -r '"\(.path) \(.path_now)"')" "$TEST_HOME/.ssh/id_dummy $TEST_HOME/.ssh/id_rsa" \
	"pending says by which name it was held, and what it is called now"
like "$(oknek pending)" 'id_dummy \(now .*id_rsa\)' "to people, too"
before=$(cat "$mine")
nok "not always" oknek allow "t$(token)" --always
like "$(cat "$SCRATCH/out")" 'id_dummy was held, and is .*id_rsa now: nothing is allowed' "is said"
is "$(cat "$mine")" "$before" "no exception is made"
ok "it is held still" held 1
ok "it may be allowed once" oknek allow "t$(token)"
came 6 0 "it opens" harmless

# A file that cannot be served is put back as it was.
rm "$mine"
echo 'exceptions: {X999: {match: {uid: {eq: 1}}, reason: r, author: a}}' >"$CONFIG.d/95-bad.yaml"
oknek update --reload-local >/dev/null 2>&1
mv "$CONFIG.d/95-bad.yaml" "$CONFIG.d/95-bad.off"
oknek update --reload-local >/dev/null
mv "$CONFIG.d/95-bad.off" "$CONFIG.d/95-bad.yaml"
opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
nok "a configuration that does not load" oknek allow "t$(token)" --always
like "$(cat "$SCRATCH/out")" 'X999.*
.*as before.*
.*this once' "is said"
came 7 0 "it was allowed once"
nok "and nothing is left of it" test -e "$mine"
rm "$CONFIG.d/95-bad.yaml"
opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
nok "not by who is no admin" as_user "$(bin oknek)" --run-dir "$RUN" allow "t$(token)" --always
ok "it is held still" held 1
mount -t tmpfs -o ro oknek-test "$CONFIG.d"
nok "where nothing can be written" oknek allow "t$(token)" --always
like "$(cat "$SCRATCH/out")" '90-operator.*Read-only.*who may write there' "is said"
unlike "$(cat "$SCRATCH/out")" 'answered|this once' "before anybody is let through"
ok "it is held still" held 1
umount "$CONFIG.d"
mv "$CONFIG.d" "$CONFIG.off"
ln -s /nonexistent/d "$CONFIG.d"
nok "nor where there is no folder, and none can be made" oknek allow "t$(token)" --always
ok "it is held still" held 1
rm "$CONFIG.d"
oknek block "t$(token)" >/dev/null
came 8 1 "and blocked"
opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
t=$(pending | jq .token)
ok "by the number that a program reads, into a folder that is made" oknek allow "$t" --always
like "$(cat "$SCRATCH/out")" "process $t has nothing held: it is taken for the token t$t.*
.*90-operator" "which says what it did"
came 9 0 "it opens"
is "$(cd "$CONFIG.d" && echo *)" 90-operator.yaml "there is one file"
rm -r "$CONFIG.d" && mv "$CONFIG.off" "$CONFIG.d"
ok "reload" oknek update --reload-local

# Arguments alone do not say which program it is, nor where each begins.
opens "$MNT/bin/dash" -c ': forbidden; echo did'
ok "a program is held" wait_for 5 held 1
nok "always is for files" oknek allow "t$(token)" --always
like "$(cat "$SCRATCH/out")" 'always is for files.*once or --for' "is said"
nok "nothing is written" test -e "$mine"
ok "it is held still" held 1
ok "it may be allowed once" oknek allow "t$(token)"
came 10 0 "and runs" did
ok "the daemon stops cleanly" stop_daemon
done_testing
