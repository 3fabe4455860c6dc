#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An open whose answer depends on a helper that does not answer gets what on_timeout says when the
# deadline has passed, and the record says what happened: what was let through was not blocked.
# sanitize: address
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_freeze atk_json

# newest KEY: of the newest record of the rule.
newest() { events --limit 1 --rule X700 | "$(bin atk_json)" get "$1"; }

for what in allow deny; do
	scene tmpfs || { fail "the scene"; done_testing; }
	# The secret is replaced by a new file, which nobody has marked yet.
	# shellcheck disable=SC2016 # expanded by the agent's shell
	replace='echo "aws_secret_access_key = '$TOKEN'" >"$1.new" && mv "$1.new" "$1"; exec "$2" "$1"'
	write_config "deadline: 300ms" "on_timeout: $what"
	start_daemon --rules "$OWN_RULES" || { fail "$what: the daemon starts"; done_testing; }
	if [ ! -r "/proc/$DAEMON_PID/task/$DAEMON_PID/children" ]; then
		skip "$what" "/proc tells no children"
		stop_daemon
		scene_end
		continue
	fi
	# The tree and its marks are there before the helpers stop.
	as_user mkfifo "$WORK/go"
	timeout 60 "${IN_TREE[@]}" bash -c "read -r x <'$WORK/go'; $replace" bash "$SECRET" \
		"$(bin plain_open)" >"$SCRATCH/got" 2>&1 &
	agent=$!
	exec 9>"$WORK/go"
	"$(bin atk_freeze)" "$DAEMON_PID" 6 &
	freeze=$!
	sleep 0.5
	from=${EPOCHREALTIME/./}
	echo go >&9
	exec 9>&-
	rc=0
	wait $agent || rc=$?
	took_ms=$(((${EPOCHREALTIME/./} - from) / 1000))
	kill $freeze
	wait $freeze
	diag "$what: exit $rc after $took_ms ms: $(head -c 200 "$SCRATCH/got")"
	if [ $what = allow ]; then
		is $rc 0 "allow: the deadline lets it through"
		want="detected allowed deadline null"
	else
		is $rc 1 "deny: the deadline refuses it"
		want="block denied deadline EPERM"
	fi
	ok "$what: there is a record" records_reach 1 X700
	is "$(newest verdict) $(newest outcome) $(newest decided_by) $(newest errno)" "$want" \
		"$what: and it says what happened"
	[ "$(status_get enforcement.by_deadline)" -gt 0 ] || fail "$what: it is counted"
	ok "$what: the daemon stops cleanly" stop_daemon
	ok "$what: the evidence holds" oknek verify --state-dir "$STATE"
	scene_end
done
done_testing
