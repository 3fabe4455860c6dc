#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A denial by fanotify is in the host's own audit trail, with the number of our rule; what is allowed is
# not. Where auditing is not permitted the denial is the same.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq
in_private_mounts "$@"
need_bin oknek oknekd plain_open fan_audited atk_json

exec 2>"$SCRATCH/shell" # where the shell says what was killed
AUDIT=$SCRATCH/audit
# audited CMD…: in a tree, by the test user; what the kernel told is in $AUDIT.
audited() { timeout -k 5 90 "$(bin fan_audited)" "$AUDIT" "${IN_TREE[@]}" "$@" >"$SCRATCH/took" 2>&1; }
# Serial and text of each denial of a program of this test: others may be denied something meanwhile.
own() {
	awk -v own="exe=\"$SCRATCH/" '$1 == 1300 && index($0, own) { mine[$2] = 1 }
		$1 == 1331 { serial[++n] = $2; sub(/^1331 [0-9]* /, ""); text[n] = $0 }
		END { for (i = 1; i <= n; i++) if (mine[serial[i]]) print serial[i], text[i] }' "$AUDIT"
}
denials() { own | cut -d' ' -f2-; }
with_syscall() { # each record of a denial has a SYSCALL record with the same serial, which failed
	local serial text
	while read -r serial text; do
		grep -q "^1300 $serial .*success=no exit=-1 " "$AUDIT" || return 1
	done < <(own)
}
# want RULE: what the kernel says of a denial by it
want() {
	case $how in
	rule) echo "resp=2 fan_type=$([ "$1" = 0 ] && echo 0 || echo 1) fan_info=$1 subj_trust=2 obj_trust=2" ;;
	*) echo "resp=2" ;;
	esac
}

scene tmpfs || { fail "the scene"; done_testing; }
"$(bin fan_audited)" "$AUDIT" true
[ $? -ne 77 ] || skip_all "no audit here"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
how=$(status_get enforcement.audit)
like "$how" '^(rule|plain)$' "denials can be audited"
diag "with: $how"

audited "$(bin plain_open)" "$SECRET"
is $? 1 "an open of the secret is denied"
is "$(denials | sort -u)" "$(want 202BC)" "the audit trail has it, by the rule X700"
ok "with the system call that failed" with_syscall
audited "$(bin plain_open)" "$TEST_HOME/.aws/other"
is $? 0 "another file is opened"
is "$(denials)" "" "and the audit trail has nothing of it"
ok "nor of strangers" "$(bin fan_audited)" "$AUDIT" "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
is "$(denials)" "" "who are allowed"

# --- by the guardian -----------------------------------------------------------------------------
"${IN_TREE[@]}" sleep 300 & # what is watched keeps the guardian
ok "a tree is there" wait_for 30 status_is trees 1
# shellcheck disable=SC2016 # expanded by the member
timeout -k 5 120 "$(bin fan_audited)" "$AUDIT" "${IN_TREE[@]}" bash -c \
	'touch "$1/up"; until [ -e "$1/dead" ]; do sleep 0.05; done; exec "$2" "$3"' bash "$WORK" \
	"$(bin plain_open)" "$SECRET" >"$SCRATCH/took" 2>&1 &
member=$!
ok "a member waits" wait_for 30 test -e "$WORK/up"
kill_daemon
as_user touch "$WORK/dead"
rc=0
wait "$member" || rc=$?
is "$rc" 1 "the guardian of a dead daemon denies it"
is "$(denials | sort -u)" "$(want 0)" "audited, too, without a rule: it knows none"
rm -f "$WORK/dead" "$WORK/up"

# --- held, and nobody answers ----------------------------------------------------------------------
hold aws.yaml
write_config "hold: {deadline: 1s}"
ok "the daemon starts, and asks an operator" start_daemon --rules "$OWN_RULES"
audited "$(bin plain_open)" "$SECRET"
is $? 1 "who is not answered is denied"
is "$(denials | sort -u)" "$(want 202BC)" "by the rule, says the audit trail"
# --- while the daemon is stopped: the guardian knows by which rule
sed -i 's/deadline: 1s/deadline: 3s/' "$CONFIG"
ok "reload" oknek update --reload-local
audited "$(bin plain_open)" "$SECRET" &
member=$!
ok "one is held" wait_for 30 held 1
kill -STOP "$DAEMON_PID"
rc=0
wait "$member" || rc=$?
kill -CONT "$DAEMON_PID"
is "$rc" 1 "a guardian denies who was held"
is "$(denials | sort -u)" "$(want 202BC)" "by the rule as well"
ok "the daemon stops" stop_daemon

# --- not permitted -----------------------------------------------------------------------------------
OKNEKD_UNDER=(setpriv --inh-caps -audit_write --bounding-set -audit_write --)
ok "a daemon without CAP_AUDIT_WRITE starts" start_daemon --rules "$OWN_RULES"
is "$(status_get enforcement.audit)" none "and says so"
like "$(oknek status)" "denials are not in the host's audit trail" "in words, too"
audited "$(bin plain_open)" "$SECRET"
is $? 1 "it denies as well"
is "$(denials)" "" "and the audit trail has nothing"
ok "it stops cleanly" stop_daemon
scene_end
done_testing
