# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What shell tests of the store share: evidence without the kernel, and a clock that can be set.
# Sourced after t/lib.sh; needs oknek, oknekd, atk_json and atk_tamper.

# events_for N [EXE]: N denials to replay, in $SCRATCH/events.
events_for() {
	local i
	for ((i = 0; i < $1; i++)); do
		printf '{"kind":"file_opened","agent":"claude-code","home":"/h","path":"/h/vault/f%d",' $i
		printf '"pid":%d,"ppid":1,"uid":1000,"comm":"cat","exe":"%s"}\n' \
			$((4000 + i)) "${2:-/usr/bin/cat}"
	done >"$SCRATCH/events"
}

# store_rule RETAIN: the rule they break, kept for so long.
store_rule() {
	mkdir -p "$SCRATCH/rules"
	cat >"$SCRATCH/rules/vault.yaml" <<-END
		id: X702
		name: test rule
		version: 1
		kind: file_opened
		match:
		  any_of:
		    - path: { glob: "/h/vault/**" }
		action:
		  default: block
		  configurable: true
		  options: [ block, warn, allow ]
		evidence:
		  capture: [ path, agent_identifier ]
		  retain_for: ${1:-30d}
	END
}

# replay N: a daemon that records N denials and ends. OFFSET_S: what its clock is ahead, if set.
replay() {
	[ -e "$CONFIG" ] || echo 'agents: {recognise: false}' >"$CONFIG"
	mkdir -p "$RUN" "$STATE" && chmod 700 "$STATE"
	events_for "$1"
	(
		if [ -n "${OFFSET_S-}" ]; then
			export LD_PRELOAD=$SCRATCH/clock.so CLOCK_OFFSET_FILE=$SCRATCH/clock
			echo "$OFFSET_S" >"$SCRATCH/clock"
		fi
		exec timeout 60 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" \
			--config "$CONFIG" --rules "$SCRATCH/rules" --source=replay:"$SCRATCH/events"
	) </dev/null >>"$LOG" 2>&1
}

# A clock_gettime() whose wall clock is ahead by the seconds that a file says: an ordinary daemon
# under a clock that is set while it runs.
make_clock() {
	cat >"$SCRATCH/clock.c" <<-'END'
		#include <fcntl.h>
		#include <stdlib.h>
		#include <sys/syscall.h>
		#include <time.h>
		#include <unistd.h>
		int clock_gettime(clockid_t id, struct timespec *t)
		{
			long r = syscall(SYS_clock_gettime, id, t);
			char text[32] = "";
			int fd;

			if (r || id != CLOCK_REALTIME)
				return (int)r;
			fd = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY | O_CLOEXEC);
			if (fd >= 0) {
				if (read(fd, text, sizeof(text) - 1) < 0)
					text[0] = 0;
				close(fd);
			}
			t->tv_sec += atol(text);
			return 0;
		}
	END
	"${CC:-cc}" -shared -fPIC -o "$SCRATCH/clock.so" "$SCRATCH/clock.c"
}

sql() { "$(bin atk_tamper)" "$STATE/oknek.db" "$1"; }
# verify_says KEY: of the result for $STATE.
verify_says() { oknek --json verify --state-dir "$STATE" | "$(bin atk_json)" get "$1"; }
# How many records of the store's own have this name.
told() {
	oknek export --db "$STATE/oknek.db" --rule O1 | grep -c "\"name\":\"$1\""
}
