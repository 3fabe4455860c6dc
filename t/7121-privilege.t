#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the daemon and its helpers may, once it is ready: few capabilities and never again more, no
# network, no core dump; no helper holds a descriptor that could answer or be waited for.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

# Numbers of linux/capability.h: dac_read_search 2, kill 5, setgid 6, setuid 7, ipc_lock 14,
# sys_ptrace 19, bpf 39.
bits() { local n v=0; for n; do v=$((v | 1 << n)); done; echo $v; }
DAEMON_MAY=$(bits 2 5 14 19 39)
GUARDIAN_MAY=$(bits 2 14 19 39)
# A zygote has what either of the two helpers has, and may kill one; what the helpers may, t/7140.
HELPERS_MAY=$(bits 2 5 6 7 19)

field() { sed -n "s/^$2:[[:space:]]*//p" "$1/status"; }
# beyond SET TASK: the kinds of capabilities in which it has more than it may.
beyond() {
	local kind
	for kind in CapEff CapPrm CapInh CapAmb; do
		[ $((0x$(field "$2" $kind) & ~$1)) -eq 0 ] || echo "$kind $(field "$2" $kind)"
	done
}
# Sockets of PID that speak to a network.
network_sockets() {
	local s
	for s in $(find "/proc/$1/fd" -type l -printf '%l\n' | sed -n 's/^socket:\[\(.*\)\]$/\1/p'); do
		awk -v inode="$s" '$0 ~ "(^| )" inode "( |$)" { print FILENAME ": " $0 }' \
			"/proc/$1/net/"{tcp,tcp6,udp,udp6,udplite,raw,raw6,icmp,icmp6,packet} 2>/dev/null
	done
}
# That it would be seen.
exec 8<>/dev/udp/127.0.0.1/9 2>/dev/null && {
	isnt "$(network_sockets $$)" "" "an open socket is found"
	exec 8>&-
}

look() { # look WHEN
	local t p names n=0
	for t in "/proc/$DAEMON_PID/task/"*; do
		names=$(cat "$t/comm") n=$((n + 1))
		is "$(beyond "$DAEMON_MAY" "$t")" "" "$1: thread $names has no capability too many"
		is "$(field "$t" NoNewPrivs)" 1 "$1: thread $names gets no new privileges"
	done
	ok "$1: there are threads" test $n -ge 3
	n=0
	for p in $(daemon_pids); do
		names=$(cat "/proc/$p/comm")
		is "$(network_sockets "$p")" "" "$1: $names has no network socket"
		like "$(grep '^Max core file size' "/proc/$p/limits")" ' 0  *0 ' "$1: $names dumps no core"
		[ "$p" -ne "$DAEMON_PID" ] || continue
		if [ "$names" = oknek-guardian ]; then
			is "$(beyond "$GUARDIAN_MAY" "/proc/$p")" "" "$1: $names has no capability too many"
			is "$(field "/proc/$p" NoNewPrivs)" 1 "$1: $names gets no new privileges"
			continue # it answers: it has what the daemon has open
		fi
		n=$((n + 1))
		is "$(beyond "$HELPERS_MAY" "/proc/$p")" "" "$1: $names has no capability too many"
		is "$(field "/proc/$p" NoNewPrivs)" 1 "$1: $names gets no new privileges"
		is "$(find "/proc/$p/fd" -lname '*fanotify*' | wc -l)" 0 "$1: $names holds no fanotify group"
	done
	ok "$1: there are helpers" test $n -ge 2
}

scene tmpfs && start_daemon || { fail "the scene"; done_testing; }
# Whoever may trace us is the same as somebody who has what we have.
is "$(stat -c %u "/proc/$DAEMON_PID/environ")" 0 "its memory is not for others"
look "at start"
denied "an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
nok "another user reads nothing of it" as_user cat "/proc/$DAEMON_PID/environ"
ok "its mode changes" oknek mode observe
ok "and back" oknek mode enforce
look "later"
ok "the daemon stops cleanly" stop_daemon
done_testing
