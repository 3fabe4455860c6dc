#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek update is killed at each of its steps: afterwards the old pack is active or the new one, whole,
# never none; the next update goes through, and the way back is kept.
# sanitize: address
. "$(dirname "$0")/lib.sh"
need_root
need_command strace
need_bin oknek
cli=$(bin oknek)
cd "$SCRATCH" || exit 1
key=$ROOT/tools/packaging/development.key
rule() { printf 'id: R1\nname: n\nversion: %s\nkind: file_opened\nmatch: { any_of: [ path: { glob: "/x%s" } ] }\naction: { default: block }\n' "$1" "$1"; }
for v in 1 2 3; do
	mkdir $v && rule $v >$v/a.yaml
	"$cli" pack build --key "$key" --pack-version $v.0.0 --output $v.tar.gz $v >/dev/null
done
update() { "$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes "$@"; }
version() { "$cli" --json pack verify "$STATE/rules/$1" 2>/dev/null | jq -r '.version // "none"'; }
ok "the first and the second pack" eval 'update 1.tar.gz && update 2.tar.gz'
is "$(version active) $(version previous)" "2.0.0 1.0.0" "are active and previous"
cp -a "$STATE" before

# killed_at CALL N ARGS…: an update whose Nth call of that name is its last.
killed_at() {
	local call=$1 n=$2
	shift 2
	{ strace -qq -o trace -e trace="$call" -e inject="$call:signal=KILL:when=$n" \
		"$cli" --run-dir "$RUN" update --state-dir "$STATE" "$@"; } >out 2>&1
} 2>/dev/null

# Each call of these that an update makes is its last one.
kills=0 bad='' active_old=0 active_new=0
for call in mkdir mkdirat write fsync renameat2 renameat unlinkat flock; do
	for ((n = 1; n < 30; n++)); do
		rm -rf "$STATE" && cp -a before "$STATE"
		killed_at $call $n --yes 3.tar.gz
		grep -q 'killed by SIGKILL' trace || break
		kills=$((kills + 1))
		case "$(version active)" in
		2.0.0) active_old=$((active_old + 1)) ;;
		3.0.0) active_new=$((active_new + 1)) ;;
		*) bad+=" $call:$n:active" ;;
		esac
		update 3.tar.gz >out 2>&1 || bad+=" $call:$n:again"
		[ "$(version active) $(version previous)" = "3.0.0 2.0.0" ] ||
			bad+=" $call:$n:$(version active),$(version previous)"
		[ "$(ls "$STATE/rules")" = $'active\nprevious' ] || bad+=" $call:$n:left"
	done
done
diag "killed $kills times: the old one active $active_old times, the new one $active_new times"
is "$bad" "" "whenever it is killed, one of both is active, and the next update makes it whole"
ok "it was killed at many steps" test "$kills" -gt 20
ok "before the exchange and after it" test "$active_old" -gt 5 -a "$active_new" -gt 2

bad='' kills=0
for call in renameat2 renameat fsync; do
	for ((n = 1; n < 20; n++)); do
		rm -rf "$STATE" && cp -a before "$STATE"
		killed_at $call $n --rollback
		grep -q 'killed by SIGKILL' trace || break
		kills=$((kills + 1))
		case "$(version active) $(version previous)" in
		"2.0.0 1.0.0" | "1.0.0 2.0.0") ;;
		*) bad+=" $call:$n" ;;
		esac
	done
done
is "$bad" "" "a rollback that is killed was done, or not"
ok "it was killed" test "$kills" -ge 2

# One at a time.
rm -rf "$STATE" && cp -a before "$STATE"
(flock 9 && exec sleep 20) 9<"$STATE/rules" &
wait_for 5 eval '! flock -n "$STATE/rules" true'
exits 2 "a second update beside one" update 3.tar.gz
like "$(cat "$SCRATCH/out")" 'another oknek update is at it' "is told so"
kill $! && wait $! 2>/dev/null
ok "and not when that is over" update 3.tar.gz
done_testing
