#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make deps installs only what is missing, and says clearly when it cannot.
. "$(dirname "$0")/lib.sh"
need_command gcc pkg-config

# An apt-get that only notes that it was called.
mkdir "$SCRATCH/fake"
printf '#!/bin/sh\necho "$@" >>"%s/called"\nexit 1\n' "$SCRATCH" >"$SCRATCH/fake/apt-get"
chmod +x "$SCRATCH/fake/apt-get"
deps() { PATH=$SCRATCH/fake:$PATH sh tools/deps.sh; }

if deps >/dev/null 2>&1; then
	rm -f "$SCRATCH/called"
	ok "with everything there it succeeds" deps
	is "$(cat "$SCRATCH/out")" "" "in silence"
	ok "and asks nobody" test ! -e "$SCRATCH/called"
else
	skip "nothing to do" "not everything is installed here"
fi

# A PATH without prove, cut short: only what the script itself uses.
mkdir "$SCRATCH/few"
for c in sh id cat cut tail mktemp rm ls; do ln -s "$(command -v $c)" "$SCRATCH/few/$c"; done
sed '/^PATH=/d' tools/deps.sh >"$SCRATCH/deps.sh"
bare() { PATH=$SCRATCH/few "$SCRATCH/few/sh" "$SCRATCH/deps.sh" "$@"; }
nok "on a system without apt-get it fails" bare
like "$(cat "$SCRATCH/out")" "missing:.* gcc.* prove.*"$'\n'".*only Debian's" "and names what is missing"
nok "the build names what it lacks" sh tools/deps.sh --check-build pkg-config cc-nowhere libnowhere
like "$(cat "$SCRATCH/out")" "lacks: cc-nowhere libnowhere; 'make deps'" "in one line"
ok "the build lacks nothing it does not use" sh tools/deps.sh --check-build pkg-config gcc
exits 64 "other words are refused" sh tools/deps.sh --bogus
done_testing
