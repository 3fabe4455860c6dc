#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each reason to refuse a pack is said in words of its own, and leaves the active rules as they were,
# byte for byte, on disk and in the daemon.
# sanitize: address
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_bin oknekd oknek
cli=$(bin oknek)
key=$ROOT/tools/packaging/development.key
make_fs tmpfs "$SCRATCH/fs" || skip_all "nothing can be mounted"
cd "$SCRATCH" || exit 1
rule() { printf 'id: %s\nname: n\nversion: %s\nkind: file_opened\nmatch: { any_of: [ path: { glob: "%s" } ] }\naction: { default: %s, configurable: true, options: [warn, block] }\n' "$@"; }
pack() { "$cli" pack build --key "$key" --pack-version "$@" >/dev/null; }
update() { "$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes "$@"; }
tree() { (cd "$STATE/rules" && find . -type f -exec sha256sum {} + | sort; find . -printf '%p %m %T@\n' | sort); }
serving() { oknek --json rules list; }
refused() { # refused DESC REGEX ARGS…
	local desc=$1 re=$2
	shift 2
	exits 2 "$desc" update "$@"
	like "$(head -1 "$SCRATCH/out")" "^oknek: $re" "$desc: it says so"
	is "$(tree)" "$before" "$desc: what is active is as it was"
	is "$(serving)" "$served" "$desc: and what serves"
}

mkdir 1 && rule R1 2 '/a' block >1/a.yaml && rule R2 1 '/b' block >1/b.yaml && rule B1 1 '/c' warn >1/c.yaml
cp -r 1 2 && rule R1 3 '/a2' block >2/a.yaml
ok "packs are built" eval 'pack 1.1.0 --output v11 1 && pack 1.2.0 --output v12 2 &&
	pack 1.0.0 --output v10 1 && pack 1.1.0 --output other11 2 && pack 1.3.0 --previous v12 --output v13 2 &&
	pack 2.0.0 --name strangers --output strangers 2 &&
	pack 2.0.0 --created 2020-01-01T00:00:00Z --expires 1d --output expired 2 &&
	pack 2.0.0 --created 2100-01-01T00:00:00Z --output future 2'
mkdir -p "$STATE"
write_config
ok "the first is active" update v11
ok "the daemon serves it" eval '"$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" >>"$LOG" 2>&1 &
	DAEMON_PID=$!; wait_for 20 oknek status'
before=$(tree) served=$(serving)
like "$served" 'oknek-rules 1.1.0' "as it says"

refused "a lower version" 'version 1.0.0 is older than 1.1.0, which is active' v10
refused "the same version, other content" 'version 1.1.0 is another content of 1.1.0, which is active' other11
refused "expired" 'the pack has expired, on 2020-01-02' expired
refused "not yet made" 'the pack was made in the future, at 2100-01-01T00:00:00Z' future
refused "a pack of another name" 'the active pack is oknek-rules, this one is strangers' strangers
refused "one that follows another" 'the pack follows [0-9a-f]{16}…, the active one is [0-9a-f]{16}…' v13
"$cli" pack keygen foreign >/dev/null && "$cli" pack build --key foreign --pack-version 2.0.0 --output foreign.pack 2 >/dev/null
refused "another's key" 'foreign.pack: the signature does not hold: the pack was signed by another key' foreign.pack

# Folders that were altered.
unpacked() { rm -rf d && mkdir d && tar xzf v12 -C d; }
unpacked && echo >>d/rules/a.yaml
refused "a rule that was altered" 'd: the signature does not hold: rules/a.yaml is not what the manifest lists' d
unpacked && rm d/rules/b.yaml
refused "a file that is missing" 'd: the signature does not hold: the manifest lists rules/b.yaml, which the pack does not have' d
unpacked && rule R9 1 '/x' warn >d/rules/z.yaml
refused "a file more" 'd: rules/z.yaml is in the pack and not in its manifest' d
unpacked && touch d/README
refused "something beside it" 'a pack holds manifest.yaml, signature.ed25519 and rules/NAME.yaml, not "README"' d
unpacked && sed -i 's/1.2.0/1.9.0/' d/manifest.yaml
refused "a manifest that was altered" 'd: the signature does not hold: .*its manifest was altered' d
unpacked && truncate -s 63 d/signature.ed25519
refused "half a signature" 'd: signature.ed25519 must be 64 bytes, it has 63' d
unpacked && rm d/signature.ed25519
refused "no signature" 'd/signature.ed25519: No such file' d
unpacked && ln -sf /etc/passwd d/rules/b.yaml
refused "a link" 'd/rules/b.yaml: ' d
mkdir none two && cp v12 two/a.tar.gz && cp v12 two/b.tar.gz
refused "a folder with nothing" 'none: neither a pack .* nor a folder with one .tar.gz' none
refused "a folder with two" 'two: 2 archives lie there' two
refused "no such file" 'nowhere: No such file' nowhere

# Rules.
cp -r 1 down && rule R1 1 '/a' block >down/a.yaml && pack 2.0.0 --output down.pack down
refused "a rule that went back" 'rules/a.yaml:1: rule R1 .*version 1.*2' down.pack
cp -r 1 same && rule R2 1 '/other' block >same/b.yaml && pack 2.0.0 --output same.pack same
refused "a rule that is another with the same version" 'rules/b.yaml:1: rule R2 has version 1 as before, but other content' same.pack
cp -r 2 listed && sed -i 's/any_of: .*/any_of: [ process_name: { in: { list: sh } } ] }/; s/version: 1/version: 2/' listed/b.yaml
echo 'lists: { sh: [bash, zsh] }' >listed/lists.yaml && pack 2.0.0 --output listed.pack listed
cp -r listed other && echo 'lists: { sh: [nothing] }' >other/lists.yaml && pack 2.1.0 --output other.pack other
ok "a pack with a list" update listed.pack
before=$(tree) served=$(serving)
refused "a list with other values under the same version" \
	'rules/b.yaml:1: rule R2 has version 2 as before, but a list that it names has other values' other.pack
sed -i 's/version: 2/version: 3/' other/b.yaml && pack 2.1.0 --output other.pack other
ok "with the version raised it is taken" update other.pack
rm -r "$STATE/rules" && ok "the first again" update v11
before=$(tree) served=$(serving)
refused "two things at once" 'update: --rollback and --reload-local are two things' --rollback --reload-local
refused "two packs" 'update: too many arguments' v12 v13

# The configuration of this host names a rule that the next pack does not have.
cp -r 1 fewer && rm fewer/b.yaml && pack 2.0.0 --output fewer.pack fewer
echo 'rules: { R2: { action: warn } }' >>"$CONFIG"
ok "the configuration is read" oknek update --reload-local
before=$(tree) served=$(serving)
exits 2 "a pack without a rule that the configuration names" update fewer.pack
like "$(cat "$SCRATCH/out")" 'R2.*the rules that served go on' "says so"
is "$(cd "$STATE/rules" && ls)" active "nothing is left of it"
ok "the active one is whole" "$cli" pack verify "$STATE/rules/active"
is "$(serving)" "$served" "what serves is as it was"
ok "the daemon stops" stop_daemon
before=$(tree)
exits 2 "without a daemon too" update --config "$CONFIG" fewer.pack
like "$(cat "$SCRATCH/out")" "with this host's configuration it does not load: .*R2" "it is refused"
is "$(tree)" "$before" "before anything is activated"
sed -i '/R2/d' "$CONFIG"
ok "and goes through without that line" update --config "$CONFIG" fewer.pack
mkdir stick && cp v12 stick/oknek-rules-v1.2.0.tar.gz && rm -rf "$STATE/rules"
ok "a folder with one archive is a pack" update stick
done_testing
