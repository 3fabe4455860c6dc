#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek update is killed at each of its steps: afterwards the old pack is active or the new one, whole,
# never none; the next update goes through, and the way back is kept.
# sanitize: address
. "$(dirname "$0")/lib.sh"
need_root
need_command strace
need_command jq
in_private_mounts "$@"
need_bin oknekd oknek
cli=$(bin oknek)
make_fs tmpfs "$SCRATCH/fs" || skip_all "nothing can be mounted"
cd "$SCRATCH" || exit 1
STATE=$SCRATCH/fs/state # where fsync takes no time
key=$ROOT/tools/packaging/development.key
rule() { printf 'id: R1\nname: n\nversion: %s\nkind: file_opened\nmatch: { any_of: [ path: { glob: "/x%s" } ] }\naction: { default: block }\n' "$1" "$1"; }
rule2() { printf 'id: R2\nname: n\nversion: 1\nkind: file_opened\nmatch: { any_of: [ path: { glob: "/y" } ] }\naction: { default: block, configurable: true, options: [warn, block] }\n'; }
for v in 1 2 3; do
	mkdir $v && rule $v >$v/a.yaml
	"$cli" pack build --key "$key" --pack-version $v.0.0 --output $v.tar.gz $v >/dev/null
done
update() { "$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes "$@"; }
# By its manifest; whether it is whole the next update says, which verifies it.
version() { sed -n 's/^version: //p' "$STATE/rules/$1/manifest.yaml" 2>/dev/null | grep . || echo none; }
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

# Beside a daemon, whose configuration names a rule that the next pack has no more. It says so before
# anything is exchanged: whenever the update is killed, what is active is what a daemon starts with.
write_config
rm -rf "$STATE" && mkdir "$STATE"
for v in 4 5 6; do
	mkdir $v && rule $v >$v/a.yaml
	[ $v = 5 ] || rule2 >$v/b.yaml
	"$cli" pack build --key "$key" --pack-version $v.0.0 --output $v.tar.gz $v >/dev/null
done
start() {
	"$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" >>"$LOG" 2>&1 &
	# shellcheck disable=SC2034 # stop_daemon uses it
	DAEMON_PID=$!
	wait_for 20 oknek status
}
cp "$CONFIG" plain.yaml
echo 'rules: { R2: { action: warn } }' >>"$CONFIG"
ok "a pack, and a daemon that serves it" eval 'update --config "$CONFIG" 4.tar.gz && start'
cp -a "$STATE/rules" rules.before
kills=0 bad=''
for call in connect renameat2 fsync sendto; do
	for ((n = 1; n < 20; n++)); do
		rm -rf "$STATE/rules" && cp -a rules.before "$STATE/rules"
		killed_at $call $n --yes 5.tar.gz
		[ "$(version active)" = 4.0.0 ] || bad+=" $call:$n"
		grep -q 'killed by SIGKILL' trace || break
		kills=$((kills + 1))
	done
done
diag "killed $kills times"
is "$bad" "" "a pack that the daemon would refuse is never active"
ok "it was killed" test "$kills" -ge 4
exits 2 "not killed it is refused" update 5.tar.gz
like "$(cat "$SCRATCH/out")" 'R2.*the rules that served go on' "for its reason"
is "$(ls "$STATE/rules")" active "and nothing is left of it"

# The configuration changes after an update that was killed between the exchange and the reload.
cp plain.yaml "$CONFIG"
ok "without that line" oknek update --reload-local
killed_at renameat 1 --yes 5.tar.gz
is "$(version active) $(version incoming)" "5.0.0 4.0.0" "the next pack is active, the one before not yet put away"
echo 'rules: { R2: { action: warn } }' >>"$CONFIG"
kill_daemon
exits 78 "--check refuses it" "$(bin oknekd)" --check --state-dir "$STATE" --config "$CONFIG"
ok "a daemon starts" start
is "$(oknek --json rules list | jq -r .pack | sort -u)" "oknek-rules 4.0.0" "with the pack before"
like "$(oknek status)" 'previous pack oknek-rules 4.0.0' "as status says"
like "$(oknek --json status | jq -r '.warnings[]')" "the active pack does not load with this host's configuration: .*R2.*; the rules of .*/incoming serve" "and why"
like "$(cat "$LOG")" "the active pack does not load .*R2" "and the log"
wait_for 10 eval '[ -n "$(events --rule O1)" ]'
like "$(events)" 'active pack refused' "and a record"
exits 2 "a reload says it as well" oknek update --reload-local
ok "the next pack that fits" update 6.tar.gz
is "$(oknek --json rules list | jq -r .pack | sort -u)" "oknek-rules 6.0.0" "serves"
unlike "$(oknek --json status | jq -r '.warnings[]')" "active pack" "and nothing is to be warned of"
is "$(version previous)" 5.0.0 "the one before it is kept"
exits 2 "going back to what does not load is refused" update --rollback
is "$(version active) $(version previous)" "6.0.0 5.0.0" "and changes nothing"

# The same, when the update was finished.
cp plain.yaml "$CONFIG"
ok "without that line it can be gone back" eval 'oknek update --reload-local && update --rollback'
echo 'rules: { R2: { action: warn } }' >>"$CONFIG"
kill_daemon
ok "a daemon starts with the previous pack" start
is "$(oknek --json rules list | jq -r .pack | sort -u)" "oknek-rules 6.0.0" "which serves"
ok "it stops" stop_daemon
rm -r "$STATE/rules/previous"
printf 'rules: { R77: { action: warn } }\n' >>"$CONFIG"
exits 78 "what no pack fits is the configuration's fault" timeout 20 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG"

# One at a time.
rm -rf "$STATE" && cp -a before "$STATE"
(flock 9 && exec sleep 20) 9<"$STATE/rules" &
wait_for 5 eval '! flock -n "$STATE/rules" true'
exits 2 "a second update beside one" update 3.tar.gz
like "$(cat "$SCRATCH/out")" 'another oknek update is at it' "is told so"
kill $! && wait $! 2>/dev/null
ok "and not when that is over" update 3.tar.gz
done_testing
