#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where an answer depends on a helper that does not answer, the rule that blocks the file says how
# long that may take and what it is then, whatever oknek.yaml says about other files.
# sanitize: address
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_freeze

# The configuration's deadline is longer than the helpers are stopped: what comes before is the rule's.
for what in allow deny; do
	[ $what = allow ] && other=deny || other=allow
	scene tmpfs || { fail "the scene"; done_testing; }
	sed -i "s/^  options: .*/&\n  deadline: 300ms\n  on_timeout: $what/" "$OWN_RULES/aws.yaml"
	# The secret is replaced by a new file, which nobody has marked yet.
	# shellcheck disable=SC2016 # expanded by the agent's shell
	replace='echo "aws_secret_access_key = '$TOKEN'" >"$1.new" && mv "$1.new" "$1"; exec "$2" "$1"'
	write_config "deadline: 9s" "on_timeout: $other"
	start_daemon --rules "$OWN_RULES" || { fail "$what: the daemon starts"; done_testing; }
	if [ ! -r "/proc/$DAEMON_PID/task/$DAEMON_PID/children" ]; then
		skip "$what" "/proc tells no children"
		stop_daemon
		scene_end
		continue
	fi
	as_user mkfifo "$WORK/go"
	timeout 60 "${IN_TREE[@]}" bash -c "read -r x <'$WORK/go'; $replace" bash "$SECRET" \
		"$(bin plain_open)" >"$SCRATCH/got" 2>&1 &
	agent=$!
	exec 9>"$WORK/go"
	"$(bin atk_freeze)" "$DAEMON_PID" 7 &
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
	[ $what = allow ] && want=0 || want=1
	is $rc "$want" "$what: the rule's answer, not that of the configuration"
	ok "$what: by the rule's deadline" [ $took_ms -lt 5000 ]
	[ "$(status_get enforcement.by_deadline)" -gt 0 ] || fail "$what: it is counted"
	ok "$what: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
