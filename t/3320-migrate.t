#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Evidence of schema version 1, as an oknek of that time left it, is gone on with; that of a version
# nobody knows yet is not touched.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/evidence.sh
. t/evidence.sh
need_bin oknekd oknek atk_json atk_tamper

version_1() {
	rm -rf "$STATE" "$RUN"
	mkdir -m 700 "$STATE"
	cat >"$STATE/host.key" <<-END
		63d375aaa00d29c8ad3f2d6bbc2d39d78f82ac04621856251f23009d2a86843e
	END
	cat >"$STATE/host.pub" <<-END
		b0b73dc1a040d514f87d0b15bae05be18b7b4ef38a523f68c2b4b3ccd8058b61
	END
	cat >"$STATE/head" <<-'END'
		{"hash":"d095c2f625be343d610637308bd54a7b2896fdfa31a3681fb027527cb8290a2d","key":"31c0d6f1310e106fe5c3087b8c4fd838512891395af84286e5e127f6e6b86bf5","seq":4,"time_ns":1795340456301569552,"v":1}
		0f71202330a7489111d425e434121e4164837598c512c842648087205e9baa01c8f2d90842988e586327da3db3275fcc20a0c53dccc1e10c54a6675287f70901
	END
	: >"$STATE/oknek.db"
	chmod 600 "$STATE/host.key" "$STATE/oknek.db"
	sql "$(cat "$ROOT/t/store-v1.sql")" >/dev/null
}
version() { sql 'PRAGMA user_version'; }

store_rule 30d
version_1
is "$(version)" 1 "evidence of version 1"
ok "it is verified as it is" oknek verify --state-dir "$STATE"
is "$(verify_says checked)" 4 "all of it"
oknek export --db "$STATE/oknek.db" >"$SCRATCH/before"
ok "a daemon of today goes on with it" replay 3
isnt "$(version)" 1 "it is migrated"
is "$(sql "SELECT value FROM meta WHERE key='schema_version'")" "$(version)" "and says so"
ok "verify holds" oknek verify --state-dir "$STATE"
oknek export --db "$STATE/oknek.db" >"$SCRATCH/after"
is "$(head -n 4 "$SCRATCH/after" | cmp - "$SCRATCH/before" 2>&1)" "" "the old records are what they were"
is "$(grep -c '"id":"X702"' "$SCRATCH/after")" 7 "the new ones follow"
is "$(cd "$STATE" && echo *.bad-*)" '*.bad-*' "nothing was put beside"
ok "and again" replay 1
ok "verify holds" oknek verify --state-dir "$STATE"

version_1
sql "UPDATE events SET json=replace(json,'would_block','allow') WHERE seq=2" >/dev/null
is "$(verify_says first_bad_seq)" 2 "a record that was altered before"
ok "migrated" replay 1
is "$(verify_says first_bad_seq)" 2 "is one that was altered afterwards"
version_1
sql "DELETE FROM events WHERE seq=4" >/dev/null
is "$(verify_says finding)" ends-early "the last was removed before: version 1 cannot know better"
ok "migrated" replay 1
is "$(verify_says finding)" lost "it is lost"
is "$(verify_says first_bad_seq)" 4 "and is named"

version_1
ok "evidence of today" replay 1
newest=$(version)
sql "PRAGMA journal_mode=DELETE; PRAGMA user_version=$((newest + 1)); CREATE TABLE later(x)" >/dev/null
sum=$(cksum <"$STATE/oknek.db")
: >"$LOG"
replay 2
is "$(cksum <"$STATE/oknek.db")" "$sum" "evidence of a newer version is not touched"
is "$(cd "$STATE" && echo *.bad-*)" '*.bad-*' "nor put beside"
ok "that is said" grep -q 'is newer than this oknek knows' "$LOG"
exits 2 "verify cannot say" oknek verify --state-dir "$STATE"
like "$(cat "$SCRATCH/out")" newer "and says why"
# What it had to say waited, and is there when a daemon can read it again.
sql "DROP TABLE later; PRAGMA user_version=$newest" >/dev/null
ok "a daemon that knows it" replay 1
ok "verify holds" oknek verify --state-dir "$STATE"
is "$(oknek export --db "$STATE/oknek.db" | grep -c '"id":"X702"')" 8 "nothing was lost meanwhile"
done_testing
