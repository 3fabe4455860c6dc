#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One user gives its agents more homes than the daemon keeps; the homes of others are still looked
# for, and its own.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open

scene tmpfs && other_user && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
as_user mkdir "$TEST_HOME/fake"
for i in $(seq 130); do
	as_user mkdir -p "$TEST_HOME/fake/h$i"
	timeout 10 "${OUTSIDE[@]}" HOME="$TEST_HOME/fake/h$i" "$(bin oknek)" --run-dir "$RUN" run -- true \
		>"$SCRATCH/out" 2>&1 || diag "home $i: $(tail -n 1 "$SCRATCH/out")"
done
denied "another user's agent is denied that user's secret" \
	"${OTHER_TREE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
gets "outside a tree that user reads it" "${OTHER_OUTSIDE[@]}" "$(bin plain_open)" "$OTHER_SECRET"
denied "the first user's is denied its own" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# Projects the same: the directory that a command is run in.
for i in $(seq 130); do
	(cd "$TEST_HOME/fake/h$i" && timeout 10 "${IN_TREE[@]}" true) >"$SCRATCH/out" 2>&1 ||
		diag "project $i: $(tail -n 1 "$SCRATCH/out")"
done
other_alt() {
	"${OTHER_OUTSIDE[@]}" mkdir -p "$OTHER_HOME/alt/.aws" &&
		"${OTHER_OUTSIDE[@]}" cp "$OTHER_SECRET" "$OTHER_HOME/alt/.aws/credentials"
}
ok "the other user has a second home" other_alt
denied "in which the secret is denied, too" "${OTHER_OUTSIDE[@]}" HOME="$OTHER_HOME/alt" \
	"$(bin oknek)" --run-dir "$RUN" run -- "$(bin plain_open)" "$OTHER_HOME/alt/.aws/credentials"
ok "the daemon stops cleanly" stop_daemon
done_testing
