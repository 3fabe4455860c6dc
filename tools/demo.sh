#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows a watched agent being denied a credential file, and the proof of it; `make demo` calls it.
# Everything happens in a scratch directory and on a mount that only this script sees; no service,
# file or setting of the machine is touched. Exits 0 only if all of it really happened.
# Where the kernel may not be asked to hold a system call, it says what is missing and has the programs
# ask by themselves (the preload shim); without the shim, it decides a recorded event instead.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
build=${OKNEK_BUILD:-build}
user=demo uid=23457
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export LC_ALL

for program in oknek oknekd; do
	[ -x "$build/$program" ] || { echo "demo: $build/$program is not built: make" >&2; exit 1; }
done

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	bold=$'\033[1m' dim=$'\033[2m' red=$'\033[31m' plain=$'\033[0m'
else
	bold='' dim='' red='' plain=''
fi
fields='agent\.id|decided_by|errno|mechanism|outcome|process\.exe|rule\.(id|part)|prev|seq|sig'
fields+='|time|verdict'
number=0
step() { number=$((number + 1)); printf '\n%s%d. %s%s\n' "$bold" $number "$1" "$plain"; }
typed() { printf '%s   $ %s%s\n' "$dim" "$1" "$plain"; }
shown() { sed 's/^/   /' "$scratch/out"; }
failed() {
	printf '\n%sdemo: %s%s\n' "$red" "$1" "$plain" >&2
	[ ! -s "$scratch/log" ] || { echo "the daemon said:" && tail -n 20 "$scratch/log"; } >&2
	exit 1
}

# What of that which it takes to hold a system call is missing.
missing_privilege() {
	local caps
	[ "$(id -u)" -eq 0 ] || { echo "root"; return; }
	caps=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
	((0x${caps:-0} >> 21 & 1)) || { echo "CAP_SYS_ADMIN"; return; }
	# A chroot that is no mount has nothing to make private.
	unshare --mount --propagation private -- sh -c 'd=$(mktemp -d) && mount -t tmpfs demo "$d" &&
		umount "$d" && rmdir "$d"' >/dev/null 2>&1 || echo "a mount namespace of one's own"
}

missing=${OKNEK_DEMO_MISSING-$(missing_privilege)}
if [ -z "$missing" ] && [ -z "${OKNEK_DEMO_INSIDE-}" ]; then
	OKNEK_DEMO_INSIDE=1 OKNEK_DEMO_MISSING='' \
		exec unshare --mount --propagation private -- "$root/tools/demo.sh"
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/oknek-demo.XXXXXX") || exit 1
daemon=
cleanup() {
	local rc=$? p
	trap - EXIT
	[ -z "$daemon" ] || kill -TERM "$daemon" 2>/dev/null
	[ -z "$daemon" ] || wait "$daemon" 2>/dev/null
	# Whatever is left of it: processes of the copy in our own scratch directory, nobody else's.
	for p in /proc/[0-9]*; do
		case $(readlink "$p/exe" 2>/dev/null) in
		"$scratch/bin/oknekd"*) kill -KILL "${p#/proc/}" 2>/dev/null ;;
		esac
	done
	[ -n "$missing" ] || umount -l "$scratch/mnt" 2>/dev/null
	rm -rf --one-file-system "$scratch"
	exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$scratch"
mkdir -m 755 "$scratch/bin" "$scratch/mnt"
cp "$build/oknek" "$build/oknekd" "$scratch/bin"
[ ! -f "$build/oknek_preload.so" ] || cp "$build/oknek_preload.so" "$scratch/bin"
run=$scratch/run state=$scratch/state config=$scratch/oknek.yaml
oknek() { "$scratch/bin/oknek" --run-dir "$run" "$@"; }

# start ARG…: the daemon, until it answers.
start() {
	local tries
	"$scratch/bin/oknekd" "$@" --foreground --run-dir "$run" --state-dir "$state" --config "$config" \
		--rules "$root/rules/core" </dev/null >"$scratch/log" 2>&1 &
	daemon=$!
	for ((tries = 0; tries < 200; tries++)); do
		oknek status >/dev/null 2>&1 && return 0
		kill -0 "$daemon" 2>/dev/null || { wait "$daemon"; daemon_status=$?; daemon=; return 1; }
		sleep 0.05
	done
	return 1
}
stop() {
	kill -TERM "$daemon"
	wait "$daemon" || failed "the daemon did not end well"
	daemon=
}

# recorded: waits until the block of R3 is in the evidence; its sequence number in $seq.
recorded() {
	local tries
	for ((tries = 0; tries < 100; tries++)); do
		seq=$(oknek --json events 2>/dev/null |
			sed -n '/"id": *"R3"/s/.*"seq": *\([0-9]*\).*/\1/p' | tail -n 1)
		[ -z "$seq" ] || return 0
		sleep 0.05
	done
	return 1
}

prove() {
	typed "oknek verify --state-dir …"
	oknek verify --state-dir "$state" >"$scratch/out" 2>&1 ||
		failed "oknek verify: $(cat "$scratch/out")"
	shown
}

home=$scratch/mnt/home secret=$scratch/mnt/home/.aws/credentials

# What is seen of it, by as_user() with $home and $secret; WHO denies it.
shows() {
	typed "oknek status"
	oknek status >"$scratch/out" 2>&1 || failed "oknek status: $(cat "$scratch/out")"
	shown

	step "Outside an agent's tree the file opens as ever"
	typed "cat ~/.aws/credentials"
	as_user cat "$secret" >"$scratch/out" 2>&1 || failed "it cannot be read: $(cat "$scratch/out")"
	shown

	step "In an agent's tree $1 denies it"
	typed "oknek run --agent claude-code -- cat ~/.aws/credentials"
	if as_user "$scratch/bin/oknek" --run-dir "$run" run --agent claude-code -- \
		cat "$secret" >"$scratch/out" 2>&1; then
		shown
		failed "the agent could read it"
	fi
	shown
	grep -q 'Operation not permitted' "$scratch/out" || failed "that was not a denial"

	step "And what lies beside it opens: rules are about secrets, not about agents"
	echo "print('hello')" >"$home/hello.py"
	typed "oknek run --agent claude-code -- cat ~/hello.py"
	as_user "$scratch/bin/oknek" --run-dir "$run" run --agent claude-code -- \
		cat "$home/hello.py" >"$scratch/out" 2>&1 || failed "it was denied: $(cat "$scratch/out")"
	shown

	step "The event, as the administrator sees it"
	recorded || failed "the event is not in the evidence"
	typed "oknek events"
	oknek events >"$scratch/out" 2>&1 || failed "oknek events: $(cat "$scratch/out")"
	shown
	grep -q BLOCK "$scratch/out" || failed "the event line does not say BLOCK"

	step "The reason, as the agent or its user may ask for it"
	typed "oknek why"
	as_user "$scratch/bin/oknek" --run-dir "$run" why >"$scratch/out" 2>&1 ||
		failed "oknek why: $(cat "$scratch/out")"
	shown
	grep -q R3 "$scratch/out" || failed "it does not name the rule"

	step "The proof: a signed record, chained to the one before it"
	typed "oknek show $seq"
	oknek show "$seq" >"$scratch/out" 2>&1 || failed "oknek show: $(cat "$scratch/out")"
	grep -E "^($fields) " "$scratch/out" | sed 's/^/   /'
	echo "   …"
	prove
	stop
}

live() {
	as_user() {
		setpriv --reuid $uid --regid $uid --clear-groups -- \
			env HOME="$home" USER=$user LOGNAME=$user "$@"
	}

	step "A home of its own, on a mount that only this demo sees, with a fake secret in it"
	mount -t tmpfs -o size=16m,mode=755 oknek-demo "$scratch/mnt" || failed "cannot mount a tmpfs"
	mkdir -p "$home/.aws"
	printf '[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n' >"$secret"
	chown -R $uid:$uid "$home"
	chmod 600 "$secret"
	# A user for it, known in this mount namespace alone.
	cp /etc/passwd "$scratch/passwd"
	echo "$user:*:$uid:$uid::$home:/bin/sh" >>"$scratch/passwd"
	mount --bind "$scratch/passwd" /etc/passwd || failed "cannot bind a file"
	printf 'mode: enforce\nagents: {recognise: false}\nfanotify: {only: ["%s"]}\n' \
		"$scratch/mnt" >"$config"
	echo "   $secret"

	step "The daemon starts: it enforces, and marks nothing outside that mount"
	if ! start; then
		case ${daemon_status-0} in
		69 | 77) return 77 ;;
		esac
		failed "the daemon did not start"
	fi
	# Where eBPF alone is permitted, all is seen and nothing is held.
	if ! oknek --json status 2>/dev/null | grep -Eq '"name": ?"fanotify", ?"read"'; then
		stop
		return 77
	fi
	shows "the kernel"
	printf '\n%sAll of it happened, and nothing of it is left.%s\n' "$bold" "$plain"
}

# Nothing stronger is permitted: programs that carry the shim ask before they open.
preloaded() {
	as_user() { HOME=$home USER=$user LOGNAME=$user "$@"; }

	printf '\n%s%s is missing: the kernel cannot be asked to hold a system call here.%s\n' \
		"$bold" "$missing" "$plain"
	echo "Programs that carry the preload shim ask instead. That is advisory: static programs, direct"
	echo "system calls, io_uring and whoever unsets LD_PRELOAD are not asked."
	step "A home of its own, with a fake secret in it"
	mkdir -p "$home/.aws"
	printf '[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n' >"$secret"
	chmod 600 "$secret"
	printf 'mode: enforce\nagents: {recognise: false}\n' >"$config"
	echo "   $secret"

	step "The daemon starts: it enforces what it is asked about"
	start --source=preload || return 77
	shows "the shim"
	printf '\n%sAll of it happened; that the kernel denies it can be seen as root.%s\n' "$bold" "$plain"
}

# The same decision from a recording: no privilege, nothing is stopped, the record says so.
replayed() {
	printf '%s%s is missing: the kernel cannot be asked to hold a system call here.%s\n' \
		"$bold" "$missing" "$plain"
	echo "The same decision is made from a recorded event instead; as root elsewhere, nothing is replayed."
	step "An event is replayed: an agent's cat opened ~/.aws/credentials"
	printf 'mode: enforce\nagents: {recognise: false}\n' >"$config"
	grep -v '^#' tools/demo.events | sed 's/^/   /'
	typed "oknekd --foreground --source=replay:demo.events …"
	timeout 60 "$scratch/bin/oknekd" --foreground --run-dir "$run" --state-dir "$state" \
		--config "$config" --rules "$root/rules/core" \
		--source=replay:"$root/tools/demo.events" </dev/null >"$scratch/log" 2>&1 ||
		failed "the daemon did not end well"

	step "The proof: a signed record, chained to the one before it"
	typed "oknek export"
	oknek export --db "$state/oknek.db" >"$scratch/out" 2>&1 ||
		failed "oknek export: $(cat "$scratch/out")"
	shown
	grep '"id":"R3"' "$scratch/out" | grep -q '"verdict":"detected"' ||
		failed "the event is not in the evidence"
	prove
	printf '\n%sThe decision is the same; that the kernel denies it can be seen as root.%s\n' \
		"$bold" "$plain"
}

if [ -z "$missing" ]; then
	live
	rc=$?
	[ $rc -eq 77 ] || exit $rc
	missing="fanotify (CAP_SYS_ADMIN in the first user namespace)"
	number=0
	umount -l /etc/passwd "$scratch/mnt" 2>/dev/null
fi
if [ -f "$scratch/bin/oknek_preload.so" ]; then
	preloaded
	rc=$?
	[ $rc -eq 77 ] || exit $rc
	number=0
fi
replayed
