#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `oknek status` says how large the database and its log are, and how many records were removed.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/evidence.sh
. t/evidence.sh
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek atk_json atk_tamper

scene tmpfs || { fail "the scene"; done_testing; }
status() { oknek --json status | "$(bin atk_json)" get "$1"; }
size() { stat -c %s "$STATE/$1"; }
as_on_disk() {
	[ "$(status store.db_bytes)" = "$(size oknek.db)" ] &&
		[ "$(status store.wal_bytes)" = "$(size oknek.db-wal)" ]
}

ok "it starts" start_daemon --rules "$OWN_RULES"
denied "a member is denied" "${IN_TREE[@]}" cat "$SECRET"
ok "it is recorded" records_reach 1 X700
ok "both files are as large as status says" wait_for 10 as_on_disk
is "$(status store.pruned)" 0 "nothing was removed"
like "$(oknek status)" 'database [0-9.]+ [KM]iB, its log [0-9.]+ [KM]iB, 0 records removed' "in words"
ok "it stops" stop_daemon

# Records enough for the size limit, by a daemon that replays.
store_rule 1d
write_config 'evidence: {max_size: 1M}'
seq 3000 | sed 's|.*|{"kind":"file_opened","agent":"a","home":"/h","path":"/h/vault/&","pid":7,"uid":1,"comm":"c","exe":"/b"}|' \
	>"$SCRATCH/events"
timeout 60 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" \
	--rules "$SCRATCH/rules" --source=replay:"$SCRATCH/events" >>"$LOG" 2>&1 </dev/null
ok "it starts again" start_daemon --rules "$OWN_RULES"
removed_some() { [ "$(status store.pruned)" -gt 0 ]; }
ok "what was removed is counted" wait_for 10 removed_some
ok "it stops again" stop_daemon
diag "$(sql 'SELECT count(*) FROM events') records now"
is "$(verify_says pruned)" "$(sql "SELECT sum(last-first+1) FROM pruned")" "as verify counts them"
done_testing
