#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknekd's options and exit statuses: what is wrong is said in one line, and by the status.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek

scene tmpfs || { fail "the scene"; done_testing; }
daemon=$(bin oknekd)
base=(--run-dir "$RUN" --state-dir "$STATE" --rules "$OWN_RULES")

# says STATUS DESC ARGS…: exits with one of STATUS (69|78) within ten seconds, one line on stderr.
says() {
	local want=$1 desc=$2 rc=0
	shift 2
	timeout -k 1 10 "$daemon" "$@" >"$SCRATCH/stdout" 2>"$SCRATCH/stderr" </dev/null || rc=$?
	if [[ $rc =~ ^($want)$ ]]; then
		pass "$desc: exit $rc"
	else
		fail "$desc" "exit $rc, not $want" "$(cat "$SCRATCH/stderr")"
	fi
	is "$(grep -c . "$SCRATCH/stderr")" 1 "$desc: one line: $(head -c 300 "$SCRATCH/stderr" | tr -d '#\n')"
}

ok "--version" "$daemon" --version
like "$(cat "$SCRATCH/out")" '[0-9]+\.[0-9]+' "it is a version"
ok "--help" "$daemon" --help

says 64 "unknown option" --nonsense
says 64 "argument that is none" "${base[@]}" something
says 64 "option without its argument" --config
says 64 "unknown mode" "${base[@]}" --config "$CONFIG" --mode strict
says '64|69' "unknown source" "${base[@]}" --config "$CONFIG" --source=telepathy

ok "--check of what is right" "$daemon" --check --config "$CONFIG" "${base[@]}"
ok "--check of the shipped rules" "$daemon" --check --config "$CONFIG" --run-dir "$RUN" \
	--state-dir "$STATE" --rules "$RULES"
ok "--check touched nothing" eval '[ ! -e "$RUN/oknek.sock" ] && [ ! -e "$STATE/oknek.db" ]'

rc=0
timeout 10 "$daemon" --foreground "${base[@]}" --config "$CONFIG" --source=replay:/nonexistent/file \
	>"$SCRATCH/out" 2>&1 || rc=$?
is $rc 69 "events to replay that are not there"
is "$(grep -c /nonexistent/file "$SCRATCH/out")" 1 "are named, once: $(tr -d '#\n' <"$SCRATCH/out")"

says 64 "a source that does not exist, by --check too" --check --source=nope --config "$CONFIG" "${base[@]}"
says 78 "configuration that is not there" --check --config "$SCRATCH/nowhere.yaml" "${base[@]}"
says 78 "rules that are not there" --check --config "$CONFIG" --rules "$SCRATCH/nowhere"
says 78 "rules that are a file" --check --config "$CONFIG" --rules "$CONFIG"

n=0
while IFS='|' read -r what text; do
	n=$((n + 1))
	bad=$SCRATCH/bad$n.yaml
	printf '%b\n' "$text" >"$bad"
	says 78 "$what" --check --config "$bad" "${base[@]}"
	like "$(cat "$SCRATCH/stderr")" "bad$n\.yaml:[0-9]+: " "$what: file and line"
	says 78 "$what, not only checked" --foreground --config "$bad" "${base[@]}"
done <<-'END'
	unknown mode|mode: strict
	unknown key|modus: enforce
	wrong type|mode: [enforce]
	broken YAML|mode: enforce\nagents: {recognise
	not a mapping|- enforce
	deadline out of bounds|deadline: 1h
	deadline that is none|deadline: soon
	on_timeout that is none|on_timeout: maybe
	a source that is none|source: [foo]
	nowhere and everywhere|fanotify: {only: []}
	an override of no rule|mode: enforce\nrules:\n  X999: {action: warn}
	a reader of no rule|mode: enforce\nreaders:\n  X999: [/usr/bin/true]
	a missing directory|mode: enforce\nfanotify: {only: ["/nonexistent/oknek"]}
	a relative directory|fanotify: {only: ["home"]}
	two values for one key|mode: enforce\nmode: observe
	exploding aliases|a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]
	not UTF-8|mode: "\0377\0376"
END

rc=0
timeout 10 setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups -- \
	"$daemon" --foreground --config "$CONFIG" --run-dir "$WORK/run" --state-dir "$WORK/state" \
	--rules "$OWN_RULES" >"$SCRATCH/out" 2>&1 || rc=$?
is $rc 77 "not root: exit 77"
is "$(grep -c . "$SCRATCH/out")" 1 "not root: one line: $(head -c 300 "$SCRATCH/out" | tr -d '#\n')"

ok "a daemon" start_daemon --rules "$OWN_RULES"
rc=0
timeout 15 "$daemon" --foreground --config "$CONFIG" "${base[@]}" >"$SCRATCH/out" 2>&1 || rc=$?
isnt $rc 0 "a second one on the same directories does not start"
isnt $rc 124 "and does not wait"
ok "the first goes on" oknek status
denied "and enforces" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
ok "its socket is gone" test ! -S "$RUN/oknek.sock"

# Its directories are its own business, and nobody else's.
ok "again" start_daemon --rules "$OWN_RULES"
is "$(stat -c %a "$STATE/oknek.db")" 600 "the database is for root alone"
is "$(stat -c %a "$STATE/host.key")" 600 "so is the key"
nok "the user cannot list the state directory" as_user ls "$STATE"
stop_daemon >/dev/null
done_testing
