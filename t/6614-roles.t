#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who looks on, who answers, who may do everything: by user or group, and never from a watched tree.
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
cat >>"$SCRATCH/passwd" <<-END
	okv:*:23501:23501::/nonexistent:/bin/sh
	oko:*:23502:23502::/nonexistent:/bin/sh
	oka:*:23503:23503::/nonexistent:/bin/sh
	okn:*:23504:23504::/nonexistent:/bin/sh
END
echo "okops:*:23510:" >>"$SCRATCH/group"
write_config 'roles: {viewer: [okv, 23506, ghost], operator: ["@okops", "@23511"], admin: [oka]}' "hold: {deadline: 5m}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
like "$(cat "$LOG")" 'roles: user ghost has none: there is no such' "a name that nobody has is told"

# by UID GROUPS CMD…
by() {
	local uid=$1 groups=$2
	shift 2
	setpriv --reuid "$uid" --regid "$uid" --groups "$groups" -- "$(bin oknek)" --run-dir "$RUN" "$@"
}
role() { by "$1" "$2" --json status | jq -r .caller.role; }
is "$(role 23501 23501) $(role 23506 1) $(role 23502 23510) $(role 23502 23511) $(role 23503 1) $(role 23504 1)" \
	"viewer viewer operator operator admin none" "users and groups, by name and number"
is "$(oknek --json status | jq -r .caller.role)" admin "root is admin"

opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
may() { # may WHO UID GROUPS CMD…
	local who=$1
	shift
	by "$@" >"$SCRATCH/out" 2>&1
	is "$?" 0 "$who: ${*:3}"
}
may_not() {
	local who=$1
	shift
	by "$@" >"$SCRATCH/out" 2>&1
	is "$?" 2 "$who may not: ${*:3}"
	like "$(cat "$SCRATCH/out")" 'only root' "$who: ${*:3}: who may"
}
t=$(token)
for c in pending "allow t$t" "block t$t" "mode observe" "pause 1m" "unwatch 1" "update --reload-local"; do
	# shellcheck disable=SC2086 # words
	may_not nobody 23504 1 $c
done
for c in "allow t$t" "block t$t" "mode observe" "pause 1m" "unwatch 1" "update --reload-local"; do
	# shellcheck disable=SC2086 # words
	may_not viewer 23501 1 $c
done
for c in "mode observe" "pause 1m" "unwatch 1" "update --reload-local"; do
	# shellcheck disable=SC2086 # words
	may_not operator 23502 23510 $c
done
may viewer 23501 1 pending
like "$(cat "$SCRATCH/out")" "t$t" "and sees who waits"
may operator 23502 23510 pending
held_still() { held 1; }
ok "nobody of them has answered" held_still
may operator 23502 23510 allow "t$t" --reason "by an operator"
came 1 0 "the operator's answer counts"
wait_for 30 eval 'events --rule O2 --limit 20 | grep -q "by an operator"'
is "$(events --rule O2 --limit 20 | jq -c 'select(.capture.detail.reason == "by an operator") |
	[.capture.caller.uid,.capture.caller.role]')" '[23502,"operator"]' "and is told with who that was"
records_reach 1 X700
may viewer 23501 1 events
like "$(cat "$SCRATCH/out")" 'X700' "a viewer sees what others did"
may admin 23503 1 mode observe
may admin 23503 1 mode enforce

# From inside: whatever its uid or groups.
opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
t=$(token)
before=$(records O2)
"$(bin oknek)" --run-dir "$RUN" run --agent x -- setpriv --reuid 23502 --regid 23502 --groups 23510 -- \
	"$(bin oknek)" --run-dir "$RUN" allow "t$t" >"$SCRATCH/out" 2>&1
is "$?" 2 "an operator in a watched tree is none"
ok "and that is evidence" records_reach $((before + 1)) O2
ok "who was held still is" held 1
may operator 23502 23510 block "t$t"
came 2 1 "until an operator says no"
sed -i 's/okv, //' "$CONFIG"
like "$(oknek update --reload-local)" 'roles' "a reload says that roles are read at the start"
ok "the daemon stops cleanly" stop_daemon
done_testing
