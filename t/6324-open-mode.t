#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rules that ask how a file is opened see how a held open really opens, whatever else its process does
# meanwhile; where that cannot be found out they fire.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd mode_open
need_command jq

# mode_rule FILE MODE ID: what blocks that file below the home from being opened in that way.
mode_rule() {
	cat >"$OWN_RULES/$1.yaml" <<-END
		id: $3
		name: not to $2
		version: 1
		kind: file_opened
		match:
		  all_of:
		    - path: { glob: "~/$1" }
		    - open_mode: { eq: $2 }
		action:
		  default: block
		evidence:
		  capture: [ path, open_mode ]
		  retain_for: 30d
	END
}
MODE_OPEN=$(bin mode_open)

# opens WHO HOW FILE: 0 it does, 1 it is refused, else not to be had here.
opens() {
	local -n words=$1
	timeout 30 "${words[@]}" "$MODE_OPEN" "$2" "$TEST_HOME/$3"
}
# expect 0|1 HOW FILE
expect() {
	local rc=0 what=allowed
	[ "$1" = 0 ] || what=denied
	opens IN_TREE "$2" "$3" >"$SCRATCH/out" 2>&1 || rc=$?
	if [ $rc -eq 2 ]; then skip "$label: $2 of $3" "not to be had here"; else
		is $rc "$1" "$label: $2 of $3 is $what"
	fi
}
# As MODE COUNT: what the records of a rule say.
modes_recorded() {
	oknek --json events --limit 1000 | jq -r "select(.rule.id == \"$1\") | .capture.open_mode // \"unknown\"" |
		sort | uniq -c | awk '{ printf "%s ", $2 }'
}

scene tmpfs || { fail "the scene"; done_testing; }
rm -f "$OWN_RULES"/*
for f in w.txt r.txt free.txt; do put "$TEST_HOME/$f" "text of $f"; done
put "$TEST_HOME/x.sh" '#!/bin/sh
exit 0'
chmod 755 "$TEST_HOME/x.sh"
mode_rule w.txt write X710
mode_rule r.txt read X711
mode_rule x.sh exec X712
write_config

for sources in fanotify ebpf,fanotify; do
	label=$sources
	if ! start_daemon --source=$sources --rules "$OWN_RULES" || [ "$(oknek --json status | jq -r '.unavailable | length')" != 0 ]; then
		skip "$label" "$(grep -m 1 -E 'ebpf|fanotify' "$LOG")"
		stop_daemon >/dev/null 2>&1
		continue
	fi
	for how in read read-beside-idle; do expect 0 $how w.txt; done
	for how in write append both trunc openat2 compat uring uring-async way-out write-beside-readers \
		write-beside-idle; do
		expect 1 $how w.txt
	done
	for how in write append write-beside-idle; do expect 0 $how r.txt; done
	for how in read both read-beside-idle; do expect 1 $how r.txt; done
	ok "$label: what is not to be executed is read" "${IN_TREE[@]}" cat "$TEST_HOME/x.sh"
	# shellcheck disable=SC2016 # expanded by the shell that runs
	"${IN_TREE[@]}" bash -c 'exec "$1"' bash "$TEST_HOME/x.sh" >"$SCRATCH/out" 2>&1
	is $? 126 "$label: and not executed"
	for how in read write trunc openat2 uring; do expect 0 $how free.txt; done
	for f in w.txt r.txt free.txt; do put "$TEST_HOME/$f" "text of $f"; done
	for how in read write; do
		ok "$label: whoever is not watched does $how w.txt" opens OUTSIDE $how w.txt
		ok "$label: and $how r.txt" opens OUTSIDE $how r.txt
	done
	# What it costs: a shell that reads 200 times, with the question and without.
	for f in w.txt free.txt; do
		from=${EPOCHREALTIME/./}
		# shellcheck disable=SC2016 # expanded by the shell that opens
		"${IN_TREE[@]}" bash -c 'for i in $(seq 200); do read -r _ <"$1" || exit 1; done' bash \
			"$TEST_HOME/$f" || fail "$label: 200 reads of $f"
		diag "$label: a read of $f takes $(((${EPOCHREALTIME/./} - from) / 200)) µs, the shell included"
	done
	is "$(modes_recorded X710)" "unknown write " "$label: records say for what, as far as it was known"
	is "$(modes_recorded X711)" "read write " "$label: also of one that is for both"
	is "$(modes_recorded X712)" "exec " "$label: and to be executed"
	# The helper: stopped, killed, gone for good.
	peeks=$(for p in $(daemon_pids); do [ "$(cat "/proc/$p/comm" 2>/dev/null)" = oknek-peek ] && echo "$p"; done)
	for p in $peeks; do kill -STOP "$p"; done
	if [ $sources = fanotify ]; then
		expect 1 read w.txt # as nobody can say
	else
		expect 0 read w.txt # as one with a single thread is known without
	fi
	expect 1 write w.txt
	for p in $peeks; do kill -CONT "$p"; done
	keeper=$(pgrep -P "$DAEMON_PID" -x oknek-peek)
	server=$(pgrep -P "$keeper" -x oknek-peek)
	like "$(awk '/^Uid/ { print $2 }' "/proc/$server/status")" '^[1-9]' "$label: the helper is not root"
	# Numbers of linux/capability.h: dac_read_search 2, sys_ptrace 19.
	is "$(awk '/^CapPrm/ { print $2 }' "/proc/$server/status")" 0000000000080004 "$label: and may read"
	kill -KILL "$server"
	expect 1 write-beside-idle w.txt
	helper_is_back() { pgrep -P "$keeper" -x oknek-peek && opens IN_TREE read-beside-idle w.txt; }
	ok "$label: with another helper reading is told from writing" wait_for 5 helper_is_back
	kill -KILL "$keeper"
	ok "$label: when it is gone for good, status warns" wait_for 5 eval \
		'oknek --json status | jq -e ".warnings[] | select(contains(\"held processes has ended\"))"'
	expect 1 read-beside-idle w.txt
	expect 1 write w.txt
	ok "$label: the daemon stops" stop_daemon
	rm -rf "$STATE" "$RUN"
done
done_testing
