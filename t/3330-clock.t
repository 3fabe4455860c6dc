#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary daemon under a clock that is ten years ahead, ten years behind, and right: no record goes
# because of that, their order is that of their numbers, and that the clock was set is recorded.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/evidence.sh
. t/evidence.sh
need_bin oknekd oknek atk_json atk_tamper
need_command cc
case $BUILD in *address* | *thread*) skip_all "a preloaded library and a sanitizer" ;; esac
make_clock || skip_all "no shared library can be built"
YEARS=315360000

store_rule 1h
n=0
# run OFFSET COUNT DESC: a daemon with a clock so far ahead records so many.
run() {
	OFFSET_S=$1
	ok "$3" replay "$2"
	OFFSET_S=
	n=$((n + $2))
	ok "$3: verify holds" oknek verify --state-dir "$STATE"
}
kept() {
	is "$(oknek export --db "$STATE/oknek.db" --rule X702 | wc -l)" "$n" "$1"
	is "$(verify_says pruned)" 0 "$1: none is signed as removed"
}

run 0 3 "the right time"
run $YEARS 3 "ten years ahead"
kept "records of an hour are kept"
is "$(told 'clock is ahead of the evidence')" 1 "that the clock is ahead is recorded"
run $YEARS 2 "still ahead"
kept "they are still kept"
run -$YEARS 2 "ten years behind"
kept "nor does a clock that is behind remove any"
is "$(told 'clock is behind the evidence')" 1 "that it is behind is recorded"
run 0 2 "the right time again"
is "$(oknek export --db "$STATE/oknek.db" | sed 's/.*,"seq":\([0-9]*\),.*/\1/' | sort -nc 2>&1)" "" \
	"numbers ascend, whatever the times say"

# Time that has passed is another thing.
rm -rf "$STATE" "$RUN" n=0
run 0 4 "four records"
run 7200 1 "two hours later"
run 7250 1 "and again: the newest always stays"
is "$(oknek export --db "$STATE/oknek.db" --rule X702 | wc -l)" 2 "what is older than its hour goes"
is "$(verify_says pruned)" 4 "and is signed as removed"
run 7300 1 "a little later"
is "$(verify_says pruned)" 4 "nothing goes twice"
like "$(oknek verify --state-dir "$STATE" | tr '\n' ' ')" 'not here +4 records removed by age or size' \
	"verify says how many"
hash=$(sql "SELECT hash FROM pruned")
ok "the head of a record that was removed still fits" \
	oknek verify --state-dir "$STATE" --head "4:$hash"
ok "one that was removed before it cannot be looked at any more" \
	oknek verify --state-dir "$STATE" --head "2:$hash"
exits 1 "another does not" oknek verify --state-dir "$STATE" --head "4:$(printf 'ab%.0s' {1..32})"
done_testing
