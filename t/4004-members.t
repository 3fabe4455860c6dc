#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An agent, whatever its uid, cannot operate the daemon: it may ask for status and why, no more.
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
need_bin oknek fakedaemon

mkdir -p "$RUN"
"$(bin fakedaemon)" "$RUN" </dev/null >"$SCRATCH/ready" 2>&1 &
DAEMON_PID=$!
disown
wait_for 10 grep -q ready "$SCRATCH/ready" || { fail "the test daemon starts"; done_testing; }

in_tree() { oknek run -- "$(bin oknek)" --run-dir "$RUN" "$@"; }
detached() { oknek run -- bash -c 'setsid "$@" </dev/null & wait $!' _ "$(bin oknek)" --run-dir "$RUN" "$@"; }

ok "status" in_tree status
ok "why" in_tree why
for c in "mode observe" "pause 10m" "unwatch 1" "allow t1" "block t1" "update --reload-local" pending \
	"watch 1" agents events export "show 1" "rules list"; do
	# shellcheck disable=SC2086 # words
	exits 2 "$c" in_tree $c
	like "$(cat "$SCRATCH/out")" 'may only ask for status and why' "$c: says why"
done
exits 2 "in a session of its own" detached mode observe
exits 125 "nor start a tree of its own" in_tree run true
like "$(cat "$RUN/log")" 'refused mode member=1' "it is reported"
unlike "$(cat "$RUN/log")" '
(mode|pause|unwatch|allow|block|reload|watch|events) \{' "and no handler ran"

if [ "$(id -u)" -eq 0 ]; then
	chmod 755 "$RUN"
	nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups -- "$(bin oknek)" --run-dir "$RUN" "$@"; }
	ok "root may" oknek mode enforce
	exits 2 "another user may not" nobody mode observe
	like "$(cat "$SCRATCH/out")" 'only root or a member of the control group' "and is told"
	ok "but see the status" nobody status
	ok "and run a command watched" nobody run true
else
	skip "another user" "not root"
fi
kill -TERM "$DAEMON_PID" 2>/dev/null
done_testing
