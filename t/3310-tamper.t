#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever is changed in a copy of the evidence, in any column of any row of any table, verify says
# so, and which record is the first that does not hold.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/evidence.sh
. t/evidence.sh
need_bin oknekd oknek atk_json atk_tamper
need_command cc
make_clock || skip_all "no shared library can be built"

# Records of two rules, of our own among them, and a gap of records that grew old.
store_rule 1h
replay 4
OFFSET_S=7200 replay 3
OFFSET_S=7200 replay 3
ok "the evidence holds" oknek verify --state-dir "$STATE"
isnt "$(sql 'SELECT count(*) FROM pruned')" 0 "it has a checkpoint"
cp -a "$STATE" "$SCRATCH/whole"
last=$(sql 'SELECT max(seq) FROM events')
first=$(sql 'SELECT min(seq) FROM events')
diag "records $first to $last"

OKNEK=$(bin oknek) TAMPER=$(bin atk_tamper)
restore() { rm -rf "$STATE" && cp -a "$SCRATCH/whole" "$STATE"; }
# The same, when nothing but the database was changed since.
fresh() {
	cp "$SCRATCH/whole/oknek.db" "$STATE/"
	[ ! -e "$STATE/oknek.db-wal" ] || rm "$STATE/oknek.db-wal" "$STATE/oknek.db-shm"
}
tried=0
# found DESC [SEQ]: verify names a record, this one.
found() {
	local rc=0 said seq=none
	tried=$((tried + 1))
	said=$("$OKNEK" --json verify --state-dir "$STATE" 2>&1) || rc=$?
	[[ ! $said =~ \"first_bad_seq\":([1-9][0-9]*), ]] || seq=${BASH_REMATCH[1]}
	if [ $rc -ne 1 ] || [ "$seq" = none ] || { [ -n "${2-}" ] && [ "$seq" != "$2" ]; }; then
		echo "$1: exit $rc, names $seq, not ${2:-any}: $said" >>"$SCRATCH/missed"
	fi
}
# change SQL [SEQ [LOOK BEFORE]]: done to a fresh copy. What the database refuses, or what leaves what
# LOOK shows as it was BEFORE, is no attack.
change() {
	local after
	fresh
	after=$("$TAMPER" "$STATE/oknek.db" "$1; ${3-}" 2>/dev/null) || return 0
	[ -z "${3-}" ] || [ "$after" != "$4" ] || return 0
	found "$1" "${2-}"
}

: >"$SCRATCH/missed"
for table in $(sql "SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name"); do
	columns=$(sql "PRAGMA table_info($table)" | cut -d'|' -f2)
	key=$(sql "PRAGMA table_info($table)" | awk -F'|' '$6 == 1 { print $2 }')
	restore
	before=$tried
	case $table in
	events) rows="$first $last" ;;
	*) rows=$(sql "SELECT $key FROM $table") ;;
	esac
	for row in $rows; do
		where="WHERE $key='$row'"
		name=
		[ "$table" != events ] || name=$row
		for column in $columns; do
			look="SELECT typeof($column),quote($column) FROM $table"
			fresh
			was=$(sql "$look" | tr -d '\0')
			[ "$table" != events ] || [ "$column" != seq ] || name=
			for value in NULL "''" 0 "$column+1" "$column||'x'" "'x'||$column" \
				"CAST($column AS BLOB)" "CAST($column AS TEXT)" "zeroblob(64)" \
				"'$(printf 'ab%.0s' {1..32})'" \
				"(SELECT o.$column FROM $table o WHERE o.$key<>$table.$key LIMIT 1)"; do
				change "UPDATE $table SET $column=$value $where" "$name" "$look" "$was"
			done
			name=
			[ "$table" != events ] || name=$row
		done
		change "DELETE FROM $table $where" "$name"
	done
	nines=${columns//[^$'\n']/}
	change "INSERT INTO $table($(tr '\n' , <<<"$columns" | sed 's/,$//')) VALUES(
		${nines//$'\n'/9,}9)"
	is "$(cat "$SCRATCH/missed")" "" "$table: each change of each column is found ($((tried - before)))"
	: >"$SCRATCH/missed"
done
isnt "$tried" 0 "changes were tried"

# Bytes that are no text are told as others are.
fresh
sql "UPDATE meta SET key=cast(x'ff41' as text) WHERE key=(SELECT min(key) FROM meta);" >/dev/null
found "a key that is no text"
fresh
sql "INSERT INTO retention VALUES(cast(x'58ff' as text),'x',9,zeroblob(64))" >/dev/null
found "a rule that is no text"
is "$(cat "$SCRATCH/missed")" "" "what is no UTF-8 is named, in JSON too"
: >"$SCRATCH/missed"

restore
# swap A B: two records in each other's place, with and without their columns.
swap() {
	change "UPDATE events SET seq=-1 WHERE seq=$1; UPDATE events SET seq=$1 WHERE seq=$2;
		UPDATE events SET seq=$2 WHERE seq=-1" "$1"
	change "CREATE TEMP TABLE t AS SELECT * FROM events WHERE seq IN ($1,$2);
		UPDATE events SET json=(SELECT json FROM t WHERE t.seq<>events.seq),
		sig=(SELECT sig FROM t WHERE t.seq<>events.seq) WHERE seq IN ($1,$2)" "$1"
}
all="time_ns,rule,part,verdict,agent,uid,pid,json,sig"
swap "$first" "$last"
swap $((last - 1)) "$last"
change "INSERT INTO events SELECT $last+1,$all FROM events WHERE seq=$last" $((last + 1))
change "INSERT INTO events SELECT $first-1,$all FROM events WHERE seq=$first" $((first - 1))
for ((n = first; n <= last; n++)); do
	change "DELETE FROM events WHERE seq>=$n" "$n"
	change "DELETE FROM events WHERE seq<=$n AND seq<$last"
	change "DELETE FROM events WHERE seq=$n; UPDATE events SET seq=seq-1 WHERE seq>$n" "$n"
done
change "DELETE FROM events; DELETE FROM pruned" 1
change "DELETE FROM events; DELETE FROM pruned; DELETE FROM retention; DELETE FROM meta" 1
for table in meta events retention pruned baseline; do
	change "ALTER TABLE $table ADD COLUMN z"
	change "ALTER TABLE $table ADD COLUMN z TEXT DEFAULT 'x'"
	change "ALTER TABLE $table ADD COLUMN z AS (1)"
done
change "DROP TABLE events"
change "DROP TABLE meta"
change "DROP TABLE pruned"
is "$(cat "$SCRATCH/missed")" "" "deleted, swapped, duplicated, renumbered, cut: each is found"
: >"$SCRATCH/missed"

# The head and the key.
for edit in 's/seq":[0-9]*/seq":1/' 's/hash":"./hash":"/' 's/closed":true/closed":false/' \
	's/boot":"./boot":"0/' 's/time_ns":1/time_ns":2/' '2s/^../00/' '2d' '1d' 's/$/ /'; do
	restore
	sed -i "$edit" "$STATE/head"
	found "head: $edit"
done
restore && rm "$STATE/head" && found "no head"
restore && : >"$STATE/head" && found "an empty head"
restore && : >"$STATE/host.pub" && found "an empty key" "$first"
restore && tr 0-9a-f 1-9a-f0 <"$SCRATCH/whole/host.pub" >"$STATE/host.pub"
# Whatever the key says, the first thing that it does not sign is named.
found "another key" 1
is "$(cat "$SCRATCH/missed")" "" "the head, and the key: each change is found"
: >"$SCRATCH/missed"

# Others' records, and our own of another time.
mv "$STATE" "$SCRATCH/ours"
replay 3
mv "$STATE" "$SCRATCH/other"
restore
sql "ATTACH '$SCRATCH/other/oknek.db' AS o; INSERT INTO events SELECT $last+1,$all FROM o.events
	WHERE seq=1" >/dev/null
found "a record of another host's, at the end" $((last + 1))
restore
sql "ATTACH '$SCRATCH/other/oknek.db' AS o; DELETE FROM events WHERE seq=$last;
	INSERT INTO events SELECT $last,$all FROM o.events WHERE seq=1" >/dev/null
found "a record of another host's, in place of ours" "$last"
restore && cp "$SCRATCH/other/oknek.db" "$STATE/"
found "another host's database" 1
restore && cp "$SCRATCH/other/oknek.db" "$SCRATCH/other/host.pub" "$STATE/"
found "and its key, not its head"
restore
replay 2
cp "$SCRATCH/whole/oknek.db" "$STATE/"
found "an older copy" $((last + 1))
is "$(cat "$SCRATCH/missed")" "" "other hosts' and older evidence: each is found"
is "$(verify_says finding)" ends-early "an older copy is told from what was altered"
restore
sql "DELETE FROM events WHERE seq=$last" >/dev/null
is "$(verify_says finding)" removed "a cut end is not taken for one"
unlike "$(oknek verify --state-dir "$STATE")" 'no signed head' "nor is a head said to be missing that is there"
done_testing
