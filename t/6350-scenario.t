#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Forty actions, good and bad, under each source and under all: the same records, but for who tells
# them and what becomes of it. What a source does not see is in the table, which is that of
# oknekd(8), WHAT EACH SOURCE SEES.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach route runs oknek_preload.so openat2 opath_reopen write_open thread_open double_fork \
	clone_parent vfork_exec static_open uring_open uring_closed reach_static
need_command jq
need_audit_alone

"$(bin reach)" up 203.0.113.1 203.0.113.2 2001:db8::1 169.254.169.254 || skip_all "no addresses"
scene tmpfs || { fail "the scene"; done_testing; }
H=$TEST_HOME A=$SCRATCH/bin B=$MNT/bin
for b in openat2 opath_reopen write_open thread_open double_fork clone_parent vfork_exec static_open \
	uring_open uring_closed reach_static route runs oknek_preload.so; do bin $b >/dev/null; done
chmod -R a+rX "$A"
mkdir "$B"
cp "$(readlink -f /bin/sh)" "$B/sh" && cp "$(command -v bash)" "$B/bash" && ln "$B/sh" "$B/innocent"
# shellcheck disable=SC2034 # the actions have it
chain='true; true; true | true; true && true; true; true; true; true'
put "$H/.ssh/id_ed25519" "$TOKEN"
as_user ln -s .aws/credentials "$H/link"
as_user ln "$SECRET" "$H/hard"
for a in "127.0.0.1 7005" "203.0.113.2 443"; do
	# shellcheck disable=SC2086 # two words
	"$A/route" serve $a >"$SCRATCH/ready.${a% *}" &
	wait_for 5 grep -q ready "$SCRATCH/ready.${a% *}" || skip_all "no server"
done
"$A/route" listen "$H/docker.sock" >"$SCRATCH/ready.unix" &
wait_for 5 grep -q ready "$SCRATCH/ready.unix" || skip_all "no socket"
mapfile -t actions < <(grep -v '^#' t/scenario/actions)
is "${#actions[@]}" 40 "forty actions"

# What each leads to is known by the root of its tree: its rules, and what became of it.
declare -A fired fate
kinds=()
kept() { [ "$(oknek --json status | jq .evidence.pending)" = 0 ]; }
perform() { # perform SOURCE: all of them under it
	local i name command at=() source=$1
	for i in "${!actions[@]}"; do
		IFS='|' read -r _ name command <<<"${actions[i]}"
		eval "set -- $command"
		rm -f "$WORK/root"
		# shellcheck disable=SC2016 # for that shell
		timeout 60 "${IN_TREE[@]}" sh -c 'echo $$ >"$0"; exec "$@"' "$WORK/root" "$@" >/dev/null 2>&1
		at[i]=$(cat "$WORK/root")
		lay_secret
	done
	# The last is nobody's, and told after what came before.
	sleep 2
	wait_for 60 kept
	oknek --json events --limit 10000 | jq -r 'select(.kind != null and .agent.root_pid != null) |
		"\(.agent.root_pid) \(.rule.id) \(if .outcome == "denied" then "denied" else "detected" end
		) \(.kind) \(.process.uid)"' | sort >"$SCRATCH/records"
	for i in "${!actions[@]}"; do
		fired[$source $i]=$(awk -v p="${at[i]}" '$1 == p { print $2 }' "$SCRATCH/records" | paste -sd' ')
		fate[$source $i]=$(awk -v p="${at[i]}" '$1 == p { print $3 }' "$SCRATCH/records" | sort -u | paste -sd' ')
		kinds[i]+=$(awk -v p="${at[i]}" '$1 == p { print $4, $5 }' "$SCRATCH/records")$'\n'
	done
}
fresh() { # fresh SOURCES
	rm -rf "$STATE" "$RUN"
	start_daemon --source="$1" --rules "$RULES"
}
write_config "exec: {programs: [\"$B/sh\", \"$B/bash\"]}" 'egress: {allow: ["203.0.113.2:443"], allow_loopback: true}' \
	'audit: {scope: user}'
ran=()
for source in fanotify ebpf audit preload all; do
	sources=$source
	[ $source != all ] || sources=$(IFS=,; echo "${ran[*]}")
	if ! fresh "$sources" >"$SCRATCH/start" 2>&1; then
		diag "$source: $(tail -n 1 "$LOG")"
		continue
	fi
	perform $source
	ok "$source: the daemon ends" stop_daemon
	ran+=("$source")
done

# A column of the manual's table that did not run here is the manual's own.
columns=(fanotify ebpf audit preload all)
diag "$(printf '%-30s' ''; printf ' %-9s' "${columns[@]}")"
for i in "${!actions[@]}"; do
	IFS='|' read -r want name _ <<<"${actions[i]}"
	told=$(grep -F -- "$(printf '%-31s' "$name")" man/oknekd.8 | head -n 1)
	row=$(printf '%-30s' "$name")
	for c in "${!columns[@]}"; do
		source=${columns[c]}
		got=${told:31+10*c:9}
		got=${got%% *}
		if [ -n "${fate[$source $i]+x}" ]; then
			got=${fate[$source $i]:--}
			case ${fired[$source $i]} in
			"$want" | '') ;;
			*) [[ $source = @(preload|audit) && " $want " = *" ${fired[$source $i]} "* ]] ||
				fail "$source: $name: ${fired[$source $i]}, a record each" ;;
			esac
		fi
		row+=$(printf ' %-9s' "$got")
	done
	row=${row%"${row##*[! ]}"}
	diag "$row"
	is "${fired[all $i]:--}" "$want" "$name: all sources together, once"
	[ "$(sort -u <<<"${kinds[i]}" | grep -c .)" -le 1 ]
	is $? 0 "and of the same kind and user by each"
	is "$told" "$row" "as the manual has it"
done
done_testing
