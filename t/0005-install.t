#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install puts everything where the manual says; make uninstall removes exactly that.
. "$(dirname "$0")/lib.sh"
need_build oknek oknekd
dest=$SCRATCH/dest

# The programs are taken as built, whatever they were built for.
run_make() {
	make --no-print-directory "$1" -o all B="$BUILD" DESTDIR="$dest" PREFIX=/usr \
		OKNEK_VERSION="${2-0.1.0}"
}
have() { (cd "$dest" && find . -type f -o -type l) | sed 's|^\.||' | sort; }

ok "install" run_make install
for f in /usr/sbin/oknekd /usr/bin/oknek /usr/share/man/man8/oknekd.8 /usr/share/man/man8/oknek.8 \
	/usr/lib/oknek_preload.so /usr/share/man/man5/oknek.yaml.5 /usr/share/man/man5/oknek-rules.5 \
	/usr/lib/systemd/system/oknekd.service /usr/lib/systemd/system/oknekd-sleep.service \
	/usr/lib/systemd/system/oknek-prove.service /usr/lib/systemd/system/oknek-prove.timer \
	/usr/lib/sysusers.d/oknek.conf \
	/etc/oknek/oknek.yaml; do
	ok "$f is there" test -s "$dest$f"
done
pack=$dest/usr/share/oknek/rules
is "$(cd "$pack" && echo ./*)" "./manifest.yaml ./rules ./signature.ed25519" "the rules are a signed pack"
is "$(cd "$pack/rules" && ls)" "$(cd rules/core && ls ./*.yaml | sed 's|^\./||')" "all rules are there"
ok "and it verifies" "$BUILD/oknek" pack verify --key "$BUILD/pack.pub" "$pack"
is "$(sed -n 's/^ExecStart=//p' "$dest/usr/lib/systemd/system/oknekd.service")" "/usr/sbin/oknekd --foreground" \
	"the unit starts what was installed"
is "$(sed -n 's/^ExecStart=//p' "$dest/usr/lib/systemd/system/oknek-prove.service")" \
	"/usr/bin/oknek doctor --prove --brief" "as does that which tries the rules"
is "$(find "$dest" -type f -perm /022)" "" "nothing can be written by others"
is "$(have | grep -Ev '^/(usr/(s?bin|lib|share)|etc/oknek)/')" "" "nothing is anywhere else"

echo '# edited' >>"$dest/etc/oknek/oknek.yaml"
ok "install over it" run_make install
ok "keeps an edited configuration" grep -q '^# edited' "$dest/etc/oknek/oknek.yaml"
# An older one's rules would be strangers in the pack.
touch "$pack/R9_loose.yaml" "$pack/rules/R9_gone.yaml"
echo '  - file: rules/R9_gone.yaml' >>"$pack/manifest.yaml"
ok "install over another pack" run_make install
ok "leaves nothing of it" "$BUILD/oknek" pack verify --key "$BUILD/pack.pub" "$pack"
ok "uninstall" run_make uninstall
like "$(cat "$SCRATCH/out")" 'kept .*oknek.yaml' "says what it keeps"
is "$(have)" /etc/oknek/oknek.yaml "and keeps that alone"

# To a shell it would be two.
touch "$SCRATCH/a"
nok "a name of two words is refused" make --no-print-directory uninstall -o all B="$BUILD" DESTDIR="$SCRATCH/a b"
like "$(cat "$SCRATCH/out")" 'DESTDIR=.*/a b: there is a space' "and said"
ok "and what has the first for a name is there" test -e "$SCRATCH/a"

rm -rf "$dest"
mkdir -p "$dest/usr/share/man/man8"
echo other >"$dest/usr/share/man/man8/other.8"
ok "install beside others" run_make install
ok "uninstall again" run_make uninstall
is "$(have)" /usr/share/man/man8/other.8 "leaves nothing of ours, and what is others'"
is "$(find "$dest" -name 'oknek*')" "" "no folder of ours either"
done_testing
