#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The build knows what depends on what.
. "$(dirname "$0")/lib.sh"
need_command gcc pkg-config

# A copy small enough to build: its own core, one program, one test.
tree=$SCRATCH/tree
mkdir -p "$tree/core" "$tree/t/attack" "$tree/tools"
cp GNUmakefile "$tree"
cp tools/deps.sh "$tree/tools"
echo 'int three(void);' >"$tree/core/three.h"
printf '#include "core/three.h"\nint three(void) { return 3; }\n' >"$tree/core/three.c"
printf '#include "core/three.h"\nint main(void) { return three(); }\n' >"$tree/tools/oknek.c"
printf '/* LDLIBS: -lnowhere */\nint main(void) { return 0; }\n' >"$tree/t/attack/nowhere.c"
printf '/* LDLIBS: -lm */\nint main(void) { return 0; }\n' >"$tree/t/attack/here.c"
in_tree() { make --no-print-directory -C "$tree" "$@"; }

ok "builds with what is there" in_tree all
exits 3 "and it runs" "$tree/build/oknek"
ok "again" in_tree all
unlike "$(cat "$SCRATCH/out")" 'CC|LD|AR' "builds nothing"
sleep 0.01
touch "$tree/core/three.h"
ok "a touched header" in_tree all
like "$(cat "$SCRATCH/out")" 'CC +core/three.c.*CC +tools/oknek.c|CC +tools/oknek.c.*CC +core/three.c' \
	"builds what includes it"
ok "other flags" in_tree all CFLAGS=-O0
like "$(cat "$SCRATCH/out")" 'CC +core/three.c' "build everything"
echo 'int four(void); int four(void) { return 4; }' >"$tree/core/four.c"
ok "a new file" in_tree all CFLAGS=-O0
like "$(cat "$SCRATCH/out")" 'core/four.c' "needs no edit"
ok "a test program whose library is missing" in_tree build/t/attack/nowhere build/t/attack/here
like "$(cat "$SCRATCH/out")" 'left out t/attack/nowhere.c' "is left out, and said"
ok "and no other" test -x "$tree/build/t/attack/here"
nok "a missing library" in_tree all pkgs=libnowhere
like "$(cat "$SCRATCH/out")" 'lacks: libnowhere' "is named"
ok "without clang" in_tree all CLANG=clang-nowhere
like "$(cat "$SCRATCH/out")" 'building without BPF' "it builds without BPF, and says so"
ok "commands in full" in_tree all V=1 CFLAGS=-O1
like "$(cat "$SCRATCH/out")" '-std=gnu17 .*-O1' "with V=1"
if [ "$(id -u)" -eq 0 ]; then
	printf '#!/bin/sh\n[ -x "$OKNEK_BUILD/oknek" ]\n' >"$tree/tools/demo.sh"
	chmod +x "$tree/tools/demo.sh"
	chown -R 65534:65534 "$tree" && chown -R 0:0 "$tree/build"
	ok "as root, in somebody's tree, by sudo" env SUDO_UID=65534 SUDO_GID=65534 make -C "$tree" demo
	is "$(find "$tree" -uid 0)" "" "what was built is theirs"
	chown -R 0:0 "$tree"
	ok "in a tree that is not the caller's" env SUDO_UID=65534 SUDO_GID=65534 make -C "$tree" demo
	is "$(find "$tree" -uid 65534)" "" "nothing is given away"
else
	skip "as root" "not root"
fi
ok "clean" in_tree clean
ok "removes all that was built" test ! -e "$tree/build"
done_testing
