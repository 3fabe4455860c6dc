#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The agent tries to operate the daemon, as itself and as root through sudo: it is refused whatever
# its uid, what it tried is evidence, and nothing has changed. It may ask for status and reasons.
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
cli=("$(bin oknek)" --run-dir "$RUN")
sudo=(sudo -n)
if ! command -v sudo >/dev/null || ! test_sudo || ! as_user sudo -n true 2>/dev/null; then
	sudo=()
fi

# A tree that lives meanwhile, to be unwatched.
timeout 200 "${IN_TREE[@]}" sleep "190.$$" >/dev/null 2>&1 &
wait_for 10 eval '[ "$(status_get trees)" -ge 1 ]'
tree=$(oknek --json agents | "$(bin atk_json)" get tree | head -n 1)
pid=$(pgrep -n -u "$TEST_UID" -f "^sleep 190.$$")

# refused WHO CMD…: exit 2, one line, and a record. The record of each try is looked for by its
# command, and there is one more of them than before.
refused() {
	local label=$1 rc=0 before
	shift
	before=$(records O2)
	timeout 30 "${words[@]}" "${cli[@]}" "$@" >"$SCRATCH/out" 2>&1 || rc=$?
	is "$rc" 2 "$label: oknek $* is refused"
	is "$(grep -c . "$SCRATCH/out")" 1 "$label: oknek $*: one line says so"
	if records_reach $((before + 1)) O2; then
		like "$(events --rule O2 --limit 1)" "\"$1\"|reload" "$label: oknek $* is evidence"
	else
		fail "$label: oknek $* is evidence" "$(events --rule O2)"
	fi
}

tries() { # tries LABEL
	refused "$1" unwatch "${pid:-1}"
	refused "$1" unwatch --tree "${tree:-1}"
	refused "$1" mode observe
	refused "$1" pause 10m
	refused "$1" allow "${pid:-1}"
	refused "$1" block "${pid:-1}"
	refused "$1" update --reload-local
	refused "$1" watch "${pid:-1}"
	is "$(status_get mode)" enforce "$1: still enforcing"
	denied "$1: still denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$1: status may be asked" timeout 30 "${words[@]}" "${cli[@]}" status
	ok "$1: why may be asked" timeout 30 "${words[@]}" "${cli[@]}" why
}

words=("${IN_TREE[@]}")
tries agent
# shellcheck disable=SC2016
like "$(timeout 30 "${IN_TREE[@]}" sh -c '"$1" "$2" 2>/dev/null; shift 2; sleep 0.5; "$@" why' sh \
	"$(bin plain_open)" "$SECRET" "${cli[@]}")" credentials \
	"why names what was denied to the tree"

words=("${IN_TREE[@]}" setsid -w)
refused "agent in another session" mode observe
words=("${ROOT_TREE[@]}")
tries "agent as root"
if [ ${#sudo[@]} -gt 0 ]; then
	words=("${IN_TREE[@]}" "${sudo[@]}")
	tries "agent through sudo"
	denied "sudo cat is denied as well" \
		"${IN_TREE[@]}" "${sudo[@]}" "$(bin plain_open)" "$SECRET"
else
	skip "agent through sudo" "sudo does not work here"
fi

# A run inside a tree would make a tree of its own to be judged by: it cannot be had either.
rc=0
timeout 30 "${IN_TREE[@]}" "${cli[@]}" run --agent other -- "$(bin plain_open)" "$SECRET" \
	>"$SCRATCH/out" 2>&1 || rc=$?
unlike "$(cat "$SCRATCH/out")" "$TOKEN" "a run inside a run gives nothing (exit $rc)"
isnt "$rc" 0 "and does not succeed"

# An orphan that nobody waits for, its parents dead.
as_user rm -f "$WORK/orphan"
# shellcheck disable=SC2016
timeout 30 "${IN_TREE[@]}" bash -c \
	'(setsid bash -c "sleep 0.3; \"\$@\" >\"$2\" 2>&1; echo rc \$? >>\"$2\"" x "${@:3}" &) ; true' \
	x y "$WORK/orphan" "${cli[@]}" mode observe
ok "the orphan has tried" wait_for 15 grep -q '^rc' "$WORK/orphan"
like "$(cat "$WORK/orphan")" 'rc 2' "an orphan is refused, too"
is "$(status_get mode)" enforce "still enforcing"

ok "the operator may" oknek mode observe
is "$(status_get mode)" observe "and it is done"
ok "and back" oknek mode enforce
ok "the evidence holds" oknek verify --state-dir "$STATE"
nok "another user may not either" as_user "${cli[@]}" mode observe
ok "the daemon stops cleanly" stop_daemon
done_testing
