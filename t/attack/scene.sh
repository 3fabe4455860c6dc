# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the attack tests share: a home with one secret and ordinary files beside it, and the words
# to say who tried what. Sourced after t/lib.sh.
#
# Variables: SECRET (its path), TOKEN (a word in it), WORK (a directory of the test user's on the
# same filesystem), OWN_RULES (a rule directory that blocks SECRET and nothing else). With
# other_user also OTHER_UID, OTHER_HOME, OTHER_SECRET: somebody else, with a home and a secret too.

TOKEN='SECRET-4f9d1c'
OWN_RULES=$SCRATCH/rules
ORDINARY=(.aws/other .ssh/id_test.pub notes.txt)
OTHER_UID=$((TEST_UID + 1))

# What an agent of this test left running, orphans included: they are known by their home.
end_left_behind() {
	local p
	for p in $(pgrep -u "$TEST_UID,$OTHER_UID"); do
		grep -qzF "HOME=$SCRATCH/" "/proc/$p/environ" 2>/dev/null && kill -KILL "$p" 2>/dev/null
	done
	return 0
}
trap 'rc=$?; end_left_behind; (exit $rc); cleanup' EXIT
# Whoever reads our output may have gone.
trap 'exit 141' PIPE

# write_rule FILE GLOB [ACTION [ID]]: one rule about one pattern; one that does not begin with a slash
# is below the home.
write_rule() {
	local glob=$2
	[[ $glob = /* ]] || glob=\~/$glob
	mkdir -p "$OWN_RULES"
	cat >"$OWN_RULES/$1" <<-END
		id: ${4:-X700}
		name: test rule
		version: 1
		kind: file_opened
		match:
		  any_of:
		    - path: { glob: "$glob" }
		action:
		  default: ${3:-block}
		  configurable: true
		  options: [ block, warn, allow ]
		evidence:
		  capture: [ path, agent_identifier ]
		  retain_for: 30d
	END
}

# The secret and its neighbours as they must be before an attack. It is a script that prints
# itself: so that executing it, too, is a way to get at its bytes.
lay_secret() {
	local f
	[ -d "${SECRET%/*}" ] || as_user mkdir -p "${SECRET%/*}"
	if ! grep -qs "$TOKEN" "$SECRET"; then
		put "$SECRET" "#!/bin/cat
aws_secret_access_key = $TOKEN"
		chmod 700 "$SECRET"
	fi
	for f in "${ORDINARY[@]}"; do
		[ -s "$TEST_HOME/$f" ] || put "$TEST_HOME/$f" "ordinary $f"
	done
	[ -d "$WORK" ] || as_user mkdir -p "$WORK"
}

# scene TYPE: a filesystem of that type with the test user's home. Fails where it cannot be made.
scene() {
	make_fs "$1" "$SCRATCH/$1.mnt" || return
	test_user || return
	SECRET=$TEST_HOME/.aws/credentials
	WORK=$TEST_HOME/work
	lay_secret
	write_rule aws.yaml .aws/credentials
	write_config
	who
}

# Takes the scene down again, so that the test can make another.
scene_end() {
	local layers=$MNT.layers
	umount /etc/passwd /etc/group
	umount "$MNT" && MNT=
	[ ! -d "$layers" ] || umount "$layers"
	rm -rf "$STATE" "$RUN" "$CONFIG"
}

# Who tries, as words for timeout(1), to which functions are no commands: OUTSIDE is the test user,
# IN_TREE the same in a watched tree of its own, ROOT_OUTSIDE and ROOT_TREE the same for uid 0.
# shellcheck disable=SC2034 # for those who source this
who() {
	local run=("$(bin oknek)" --run-dir "$RUN" run --agent claude-code --)
	OUTSIDE=(setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups --
		env HOME="$TEST_HOME" USER="$TEST_USER" LOGNAME="$TEST_USER")
	IN_TREE=("${OUTSIDE[@]}" "${run[@]}")
	ROOT_OUTSIDE=(env)
	ROOT_TREE=("${run[@]}")
}

# other_user: a second user, beside the test user and with the same kind of secret. No directory of
# its home is made with other_user nohome. OTHER_OUTSIDE and OTHER_TREE are its words.
# shellcheck disable=SC2034 # for those who source this
other_user() {
	OTHER_HOME=${TEST_HOME%/*}/oknekother
	OTHER_SECRET=$OTHER_HOME/.aws/credentials
	echo "oknekother:*:$OTHER_UID:$OTHER_UID::$OTHER_HOME:/bin/bash" >>"$SCRATCH/passwd"
	echo "oknekother:*:$OTHER_UID:" >>"$SCRATCH/group"
	OTHER_OUTSIDE=(setpriv --reuid "$OTHER_UID" --regid "$OTHER_UID" --clear-groups --
		env HOME="$OTHER_HOME" USER=oknekother LOGNAME=oknekother)
	OTHER_TREE=("${OTHER_OUTSIDE[@]}" "$(bin oknek)" --run-dir "$RUN" run --agent claude-code --)
	[ "${1-}" = nohome ] || other_home
}
# The home of the other user, with its secret: at once, as one that was prepared elsewhere is.
other_home() {
	mkdir -p "$OTHER_HOME.new/.aws" &&
		echo "aws_secret_access_key = $TOKEN" >"$OTHER_HOME.new/.aws/credentials" &&
		chown -R "$OTHER_UID:$OTHER_UID" "$OTHER_HOME.new" && mv "$OTHER_HOME.new" "$OTHER_HOME"
}

# PERM_BITS: FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_OPEN_EXEC_PERM.
PERM_BITS=0x70000
# How many marks of the daemon's ask for a permission. The guardian has the same descriptors.
permission_marks() {
	local p mask n most=0
	for p in $(daemon_pids); do
		n=0
		while read -r mask; do
			[ $((0x$mask & PERM_BITS)) -eq 0 ] || n=$((n + 1))
		done < <(sed -n 's/^fanotify .* mask:\([0-9a-f]*\) .*/\1/p' "/proc/$p/fdinfo/"* 2>/dev/null)
		[ $n -le $most ] || most=$n
	done
	echo $most
}

# takes CMD…: its duration goes to TOOK_MS, its status to TOOK_RC; after 20 s it is ended.
takes() {
	local from=${EPOCHREALTIME/./}
	TOOK_RC=0
	timeout -k 1 20 "$@" >"$SCRATCH/took" 2>&1 || TOOK_RC=$?
	TOOK_MS=$(((${EPOCHREALTIME/./} - from) / 1000))
}

# sees WANT DESC CMD…: CMD exits with WANT (0: it printed the token, 1: it did not and says EPERM).
sees() {
	local want=$1 desc=$2 rc=0 out=$SCRATCH/sees
	shift 2
	timeout -k 5 60 "$@" >"$out" 2>"$out.err" || rc=$?
	if [ "$want" -eq 0 ]; then
		[ $rc -eq 0 ] && grep -q "$TOKEN" "$out" && { pass "$desc"; return 0; }
	else
		[ $rc -eq "$want" ] && ! grep -q "$TOKEN" "$out" "$out.err" && { pass "$desc"; return 0; }
	fi
	fail "$desc" "exit $rc, not $want: $*" "$(head -c 400 "$out")" "$(head -c 800 "$out.err")"
}

# denied DESC CMD…  and  gets DESC CMD…
denied() { local d=$1; shift; sees 1 "$d" "$@"; }
gets() { local d=$1; shift; sees 0 "$d" "$@"; }

# The whole word list of the attacks: those of one user, and those that need uid 0. Left out are the
# programs that other tests call by name, with more arguments.
attacks() {
	local f n
	for f in t/attack/*.c; do
		n=${f##*/} n=${n%.c}
		case $n in
		race_* | hold_race | hammer | forkstorm | crowd | lease_hold | keep_open) ;;
		opath_data | trunc_open | handle_open | argv_swap) ;;
		*) echo "$n" ;;
		esac
	done
}

# status_get a.b: one value of the daemon's status; "-" when it has none.
status_get() { oknek --json status | "$(bin atk_json)" get "$1"; }
status_is() { [ "$(status_get "$1")" = "$2" ]; }

# records RULE: how many records of that rule there are. They are written a little after the
# verdict: records_reach COUNT RULE waits for that many.
records() { events --limit 0 --rule "$1" | grep -c .; }
records_reach() {
	local n=$1 rule=$2 end=$((SECONDS + 15))
	until [ "$(records "$rule")" -ge "$n" ]; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# number KEY FILE: of KEY=NUMBER in what an attack program printed.
number() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" "$2" | tail -n 1; }
