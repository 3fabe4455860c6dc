#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One user's project has more files that a rule only warns of than the daemon keeps objects. What
# rules block, of whomever, is not displaced by them.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_manyfiles atk_json

scene tmpfs && other_user || { fail "the scene"; done_testing; }
write_rule env.yaml '**/*.env' warn X701
as_user mkdir "$TEST_HOME/p1" "$TEST_HOME/p2" "$TEST_HOME/p3"
for p in p1 p2 p3; do
	ok "$p: many files" as_user "$(bin atk_manyfiles)" "$TEST_HOME/$p" 13400 .env
done
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
for p in p1 p2 p3; do
	(cd "$TEST_HOME/$p" && timeout 20 "${IN_TREE[@]}" true) >"$SCRATCH/out" 2>&1
	diag "$p: exit $? $(tail -n 1 "$SCRATCH/out")"
done
diag "objects: $(status_get enforcement.objects)"
denied "another user's agent is denied that user's secret" \
	"${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
put "$TEST_HOME/new" x
denied "the first user's is denied its own" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
# A new one in the place of the old.
printf '%s\n' "aws_secret_access_key = $TOKEN" >"$TEST_HOME/new"
as_user mv "$TEST_HOME/new" "$SECRET"
denied "and the one that replaces it" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
done_testing
