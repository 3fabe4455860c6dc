#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Somebody who may write the database makes records look old, or their rule's retention short: an
# ordinary daemon does not remove what does not hold, says so once, and signs nothing over it.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/evidence.sh
. t/evidence.sh
need_bin oknekd oknek atk_json atk_tamper
need_command cc
case $BUILD in *address* | *thread*) skip_all "a preloaded library and a sanitizer" ;; esac
make_clock || skip_all "no shared library can be built"

store_rule 1d
# again WHAT SQL SEQ DESC: what is altered stays, and verify names it as before.
again() {
	rm -rf "$STATE" "$RUN"
	OFFSET_S=0 replay 5
	sql "$1" >/dev/null
	: >"$LOG"
	OFFSET_S=${5-60} replay 2
	is "$(verify_says first_bad_seq)" "$2" "$3: verify names it afterwards"
	is "$(sql "SELECT count(*) FROM events WHERE seq IN ($4)")" "$(wc -w <<<"${4//,/ }")" \
		"$3: nothing of that was removed"
	is "$(verify_says pruned)" 0 "$3: nothing is signed as removed"
}

again "UPDATE events SET time_ns=1710000000000000000 WHERE seq<4" 1 "older times" 1,2,3,4,5
like "$(cat "$LOG")" 'old records are not removed.*record 1: time_ns' "it is said"
is "$(told 'altered records kept')" 1 "it is recorded"
again "UPDATE retention SET retain_s=1" null "a shorter retention" 1,2,3,4,5
is "$(told 'evidence altered')" 1 "that it was altered is recorded"
again "UPDATE events SET time_ns=9000000000000000000 WHERE seq=5; DELETE FROM meta WHERE key='end'" \
	5 "a last record from the future" 1,2,3,4,5

# What does hold goes; the altered one, and what hangs from it, does not.
rm -rf "$STATE" "$RUN"
OFFSET_S=0 replay 6
sql "UPDATE events SET json=replace(json,'claude-code','claude-coda') WHERE seq=3" >/dev/null
: >"$LOG"
OFFSET_S=100000 replay 1
OFFSET_S=100100 replay 1
is "$(sql "SELECT group_concat(seq) FROM events WHERE seq<7")" 3,4 "others are removed"
is "$(verify_says first_bad_seq)" 3 "verify names the one that was altered"
is "$(grep -c 'old records are not removed' "$LOG")" 2 "each start says it once"
done_testing
