#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever the daemon is asked to do, it loads no library, no locale, no time zone and no name service
# after its start, asks nobody by a socket, and its verdict thread opens nothing outside of /proc.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/stranger.sh
. t/attack/stranger.sh
need_root
in_private_mounts "$@"
need_command strace nm
need_bin oknek oknekd plain_open atk_json atk_latency

# ---- what is not even linked ---------------------------------------------------------------------

late='dlopen|syslog|vsyslog|openlog|setlocale|newlocale|iconv_open|backtrace|pthread_cancel|getaddrinfo'
late+='|gethostbyname|getpwnam|getpwuid|getgrnam|getgrgid|localtime|strftime|mktime|system|popen|wordexp'
linked=$(nm -D --undefined-only "$(bin oknekd)" 2>/dev/null | awk '{ print $2 }' | sed 's/@.*//')
like "$linked" 'read' "the daemon's imports can be read"
# The name service is asked by a helper that has no privilege and nothing of ours.
is "$(grep -xE "$late" <<<"$linked" | grep -vx getaddrinfo | tr '\n' ' ')" "" "nothing that loads or asks late is linked"
asks=$(grep -lE '(^|[^_])(getaddrinfo|getnameinfo)\(' ./{core,enforce,rules,sources,store}/*.c tools/{daemon_*,oknekd}.c)
is "$asks" "./enforce/names.c" "but for the helper that resolves names"

# ---- what it does --------------------------------------------------------------------------------

scene tmpfs || { fail "the scene"; done_testing; }
write_config 'agents: {recognise: true}'
sed -i '/recognise: false/d' "$CONFIG"
daemon_words
ok "the daemon starts" stuck_ready "${DAEMON[@]}"

code_of() { awk '$2 ~ /x/ && $6 ~ /^\// { print $6 }' "/proc/$1/maps" | sort -u; }
files_of() { awk '$6 ~ /^\// { print $6 }' "/proc/$1/maps" | sort -u; }
thread_of() { grep -lx "$1" "/proc/$DAEMON_PID/task/"*/comm 2>/dev/null | cut -d/ -f5; }

# Every command, as somebody who may and as somebody who may not.
everything() {
	local id pid
	"${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	"${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
	sleep 60 &
	pid=$!
	oknek watch $pid
	oknek status
	oknek --json status
	oknek agents
	oknek pending
	oknek rules list
	oknek why "$SECRET"
	oknek unwatch $pid
	kill $pid
	oknek mode observe
	"${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	oknek mode enforce
	oknek pause 3s
	oknek mode enforce
	oknek update --reload-local
	kill -HUP "$DAEMON_PID"
	sleep 0.5
	oknek events
	oknek --json events --limit 0
	id=$(oknek --json events --limit 1 | sed -n 's/.*"seq":\([0-9]*\).*/\1/p')
	oknek show "${id:-1}"
	oknek export
	oknek verify
	"${IN_TREE[@]}" "$(bin oknek)" --run-dir "$RUN" mode observe
	"${IN_TREE[@]}" "$(bin oknek)" --run-dir "$RUN" why "$SECRET"
	"${IN_TREE[@]}" sh -c 'mv "$1" "$1.x"; mv "$1.x" "$1"; echo >"$1.new"' sh "$SECRET"
	"${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" mode observe
	"${OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" status
}

code_of "$DAEMON_PID" >"$SCRATCH/code.before"
files_of "$DAEMON_PID" >"$SCRATCH/files.before"
verdict=$(thread_of oknek-verdict)
like "$verdict" '^[0-9]+$' "there is one verdict thread"
timeout -s INT 60 strace -qq -f -y -s 200 -p "$DAEMON_PID" -o "$SCRATCH/trace" \
	-e trace=open,openat,openat2,execve,connect,socket,mmap 2>"$SCRATCH/strace.err" &
tracer=$!
if wait_for 10 grep -q '^TracerPid:.*[1-9]' "/proc/$DAEMON_PID/task/$verdict/status"; then
	everything >"$SCRATCH/everything" 2>&1
	kill -INT $tracer
	wait $tracer
	unlike "$(cat "$SCRATCH/everything")" 'unknown command|usage:' "the commands are such"
	opens=$(grep -E ' open(at2?)?\(' "$SCRATCH/trace" | sed -n 's/^\([0-9]*\) .*"\([^"]*\)".*/\1 \2/p')
	diag "$(wc -l <<<"$opens") opens, $(grep -c . "$SCRATCH/trace") calls"
	ok "there were opens to look at" test "$(wc -l <<<"$opens")" -ge 10
	is "$(awk -v t="$verdict" '$1 == t { print $2 }' <<<"$opens" | grep -v '^/proc/' | sort -u)" "" \
		"the verdict thread opens nothing outside of /proc"
	# Its own directories, the rules and /proc; the random numbers of the database.
	is "$(cut -d' ' -f2- <<<"$opens" | grep -v -e '^/proc$' -e '^/proc/' -e '^/sys/' -e "^$STATE" -e "^$RUN" \
		-e "^$OWN_RULES" -e "^$CONFIG" -e '^/dev/urandom$' -e '^[^/]*$' | sort -u)" "" \
		"no thread opens what others could hold: libraries, locales, zones, names"
	is "$(grep -E ' (execve|connect)\(' "$SCRATCH/trace" | grep -v NOTIFY | head -n 3)" "" \
		"nothing is executed, nobody is called"
	is "$(grep -E ' socket\(AF_(INET|INET6|PACKET)' "$SCRATCH/trace" | head -n 3)" "" \
		"no socket leads out"
	is "$(grep -E 'mmap\(.*PROT_EXEC' "$SCRATCH/trace" | head -n 3)" "" "no code is mapped"
else
	skip "its system calls" "strace cannot attach: $(head -n 1 "$SCRATCH/strace.err")"
	everything >"$SCRATCH/everything" 2>&1
fi
ok "the pause ends, it enforces again" wait_for 15 status_is mode enforce
is "$(code_of "$DAEMON_PID" | comm -13 "$SCRATCH/code.before" -)" "" "no library is loaded late"
is "$(files_of "$DAEMON_PID" | comm -13 "$SCRATCH/files.before" - | grep -v "^$STATE")" "" \
	"and no file mapped but the database's"

# ---- what it is ready for ------------------------------------------------------------------------

locked=$(sed -n 's/^VmLck:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$DAEMON_PID/status")
swapped=$(sed -n 's/^VmSwap:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$DAEMON_PID/status")
ok "its memory is locked ($locked kB)" test "${locked:-0}" -gt 1000
is "${swapped:-0}" 0 "none of it is swapped out"
cores=0
for p in $(daemon_pids); do
	grep -qE '^Max core file size +0 +0' "/proc/$p/limits" 2>/dev/null || cores=$((cores + 1))
done
is $cores 0 "neither it nor a helper writes a core"
goes_on "after all that"
ends "at last"
done_testing
