#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The build signs the rules that it ships, the same bytes each time; a packager signs with another
# key or brings a pack that is signed; a release is not signed with the key that everybody has.
. "$(dirname "$0")/lib.sh"
need_build oknek oknekd
b=$SCRATCH/b
cp "$BUILD/oknek" "$SCRATCH/bin/oknek"
cli=$SCRATCH/bin/oknek
# The pack alone, by the program that is there.
run_make() { make --no-print-directory B="$b" PACKER="$cli" -o "$b/oknek" "$@"; }
pack() { rm -rf "$b" && run_make "$b/pack/manifest.yaml" "$@"; }
plan_only() { make --no-print-directory -n B="$b" "$@"; }
said() { cat "$SCRATCH/out"; }
field() { "$cli" --json pack verify --key "$b/pack.pub" "$b/pack" | jq -r ".$1"; }
key=tools/packaging/development.key

ok "a pack is built" pack SOURCE_DATE_EPOCH=1700000000
ok "as an archive of the published name" test -s "$b/oknek-rules-v0.1.0.tar.gz"
is "$(field name) $(field version)" "oknek-rules 0.1.0" "with name and version"
is "$(field created)" 2023-11-14T22:13:20Z "made at SOURCE_DATE_EPOCH"
like "$(field expires)" '^2033-' "good for ten years"
is "$(cd "$b/pack/rules" && sha256sum ./*)" "$(cd rules/core && sha256sum ./*.yaml)" "it holds the rules as they are"
cp "$b/oknek-rules-v0.1.0.tar.gz" "$SCRATCH/first.tar.gz"
ok "again" pack SOURCE_DATE_EPOCH=1700000000
ok "the same bytes" cmp "$b/oknek-rules-v0.1.0.tar.gz" "$SCRATCH/first.tar.gz"
ok "once more" run_make "$b/pack/manifest.yaml" SOURCE_DATE_EPOCH=1700000000
unlike "$(said)" PACK "builds nothing"
ok "another version" run_make "$b/pack/manifest.yaml" PACK_VERSION=1.2.3 PACK_EXPIRES=30d
is "$(field version) $(cd "$b" && echo oknek-rules-*)" "1.2.3 oknek-rules-v1.2.3.tar.gz" "takes its place"
if [ -e .git ] && git log -1 >/dev/null 2>&1; then
	ok "without SOURCE_DATE_EPOCH" env -u SOURCE_DATE_EPOCH make --no-print-directory B="$b" PACKER="$cli" \
		-o "$b/oknek" "$b/pack/manifest.yaml"
	like "$(field created)" '^20[2-9][0-9]-' "it is made when the source was"
fi

"$cli" pack keygen "$SCRATCH/k" >/dev/null
ok "with another key" pack PACK_KEY="$SCRATCH/k"
is "$(cat "$b/pack.pub")" "$(cat "$SCRATCH/k.pub")" "which is the one that is built in"
nok "not with the development key" "$cli" pack verify --key "$key.pub" "$b/pack"
mv "$b/oknek-rules-v0.1.0.tar.gz" "$SCRATCH/oknek-rules-v0.1.0.tar.gz"
nok "with a key that is not trusted" pack PACK_KEY="$SCRATCH/k" PACK_PUBKEY="$(cat $key.pub)"
like "$(said)" 'another key' "it says so"
ok "no pack is left" test ! -e "$b/pack/manifest.yaml"
ok "a pack that is signed" pack PACK="$SCRATCH/oknek-rules-v0.1.0.tar.gz" PACK_PUBKEY="$SCRATCH/k.pub"
ok "is taken as it is" cmp "$b/oknek-rules-v0.1.0.tar.gz" "$SCRATCH/oknek-rules-v0.1.0.tar.gz"
ok "and verifies" "$cli" pack verify --key "$SCRATCH/k.pub" "$b/pack"
nok "one that somebody else signed" pack PACK="$SCRATCH/first.tar.gz" PACK_PUBKEY="$SCRATCH/k.pub"
nok "one whose key nobody says" pack PACK="$SCRATCH/first.tar.gz"
like "$(said)" 'needs PACK_PUBKEY' "is asked for"

rm -rf "$b"
nok "a public key alone: nothing to install" run_make install -o all PACK_PUBKEY="$SCRATCH/k.pub" DESTDIR="$SCRATCH/dest"
like "$(said)" 'no signed pack to install: PACK_KEY=FILE signs one, PACK=FILE.tar.gz is one' "and it says what is missing"
ok "and nothing was installed" test ! -e "$SCRATCH/dest"
nok "a key that is none" plan_only all PACK_PUBKEY=12
like "$(said)" 'neither 64 hex digits nor a file' "says so"
nok "a release with the development key" plan_only all RELEASE=1
like "$(said)" 'RELEASE=1 needs PACK_PUBKEY' "is refused"
nok "in capitals" plan_only all RELEASE=1 PACK_PUBKEY="$(tr a-f A-F <$key.pub)"
nok "by its file" plan_only all RELEASE=1 PACK_PUBKEY=$key.pub
nok "by its secret half" plan_only all RELEASE=1 PACK_KEY=$key
ok "a release with another" plan_only all RELEASE=1 PACK_KEY="$SCRATCH/k"

like "$(readelf -d "$BUILD/oknek" 2>/dev/null)" 'libcurl.*|libarchive.*' "oknek reads archives and the network"
unlike "$(readelf -d "$BUILD/oknekd" 2>/dev/null)" 'libcurl|libarchive' "oknekd does neither"
done_testing
