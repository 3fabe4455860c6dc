#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pack of rules that was signed holds; anything else is refused with its reason, and whatever an
# archive holds, nothing is written.
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
need_bin oknek
cli=$(bin oknek)
cd "$SCRATCH" || exit 1
err() { { "$@" >/dev/null; } 2>&1; }
# refused PACK WHAT REGEX: verify ends with 1, one line, and says why.
refused() {
	exits 1 "$2: refused" timeout 20 "$cli" pack verify --key k.pub "$1"
	like "$(err "$cli" pack verify --key k.pub "$1")" "$3" "$2: and says why"
}

mkdir rules
rule() { printf 'id: %s\nname: n\nversion: %s\nkind: file_opened\nmatch: { any_of: [ path: { glob: "%s" } ] }\naction: { default: %s }\n' "$@"; }
rule R1 1 '~/.a' block >rules/a.yaml
rule R2 1 '~/.b' warn >rules/b.yaml

ok "a key is made" "$cli" pack keygen k
is "$(stat -c %a k)" 600 "that only its owner reads"
exits 2 "and never written over" "$cli" pack keygen k
ok "another" "$cli" pack keygen other
build() { "$cli" pack build --key k --created 2026-01-01T00:00:00Z --expires 3650d "$@"; }
ok "a pack is built" build --pack-version 1.0.0 rules
ok "under the published name" test -f oknek-rules-v1.0.0.tar.gz
ok "again" build --pack-version 1.0.0 --output again.tar.gz rules
ok "with the same bytes" cmp oknek-rules-v1.0.0.tar.gz again.tar.gz
ok "it verifies" "$cli" pack verify --key k.pub again.tar.gz
is "$(tar tzf again.tar.gz | tr '\n' ' ')" "manifest.yaml rules/a.yaml rules/b.yaml signature.ed25519 " \
	"it holds what was published, and no more"

# The signature is what it says: sha256 of the manifest and the rules, in order, by openssl alone.
mkdir good && tar xzf again.tar.gz -C good
digest=$(cat good/manifest.yaml good/rules/a.yaml good/rules/b.yaml | sha256sum | cut -d' ' -f1)
like "$("$cli" --json pack show --key k.pub again.tar.gz)" "\"digest\": ?\"$digest\"" "the digest is that of sha256sum"
ok "a folder with the same contents verifies" "$cli" pack verify --key k.pub good
like "$("$cli" pack show --key k.pub good)" 'R2 +1 +warn +file_opened' "show lists the rules"
ok "from a folder of that form it is built as well" build --pack-version 1.0.0 --output third.tar.gz good
ok "the same" cmp again.tar.gz third.tar.gz
mkdir empty
like "$(err build --pack-version 1.0.0 empty)" '^oknek: empty: there are no rule files \(\*\.yaml\) in it$' \
	"nothing comes of nothing"

cp -r rules yml && rule R3 1 '~/.c' block >yml/c.yml
exits 2 "a file that a folder of rules has, and a pack cannot" build --pack-version 1.0.0 --output yml.tar.gz yml
like "$(err build --pack-version 1.0.0 --output yml.tar.gz yml)" 'yml/c.yml: rule files of a pack end in .yaml: rename it' "is not left out in silence"
ok "nor is a pack made" test ! -e yml.tar.gz

rule R2 2 '~/.b' block >rules/b.yaml
rule R3 1 '~/.c' warn >rules/c.yaml
rm rules/a.yaml
ok "a next one, tied to the first" build --pack-version 1.1.0 --previous again.tar.gz rules
out=$("$cli" pack diff --key k.pub again.tar.gz oknek-rules-v1.1.0.tar.gz)
like "$out" 'R1 +removed' "diff: removed"
like "$out" 'R3 +added' "diff: added"
like "$out" 'R2 +changed +warn → block' "diff: changed"

unbuilt() { # unbuilt DESC REGEX ARGS…: that no host would take it is said before it is signed
	exits 2 "$1" build --output unbuilt.tar.gz "${@:3}"
	like "$(err build --output unbuilt.tar.gz "${@:3}")" "$2" "$1: and says why"
	is "$(ls unbuilt.tar.gz* 2>/dev/null)" "" "$1: nothing is written"
}
unbuilt "the version of the pack before" '^oknek: version 1.0.0 is not above 1.0.0 of the previous pack$' \
	--pack-version 1.0.0 --previous again.tar.gz rules
unbuilt "another name than that" 'the previous pack is oknek-rules, this one is strangers' \
	--pack-version 1.1.0 --name strangers --previous again.tar.gz rules
cp -r rules same && rule R2 1 '~/.other' block >same/b.yaml
unbuilt "a rule that is another under the same version" \
	'rules/b.yaml:1: rule R2 has version 1 as before, but other content: give it version 2' \
	--pack-version 1.1.0 --previous again.tar.gz same
unbuilt "no time to live" 'expires takes a duration like 365d' --pack-version 1.1.0 --expires 0d rules
unbuilt "a public key" 'k.pub: this is the public half of a key: the secret one signs' --pack-version 1.1.0 --key k.pub rules
cp k.pub wrong.pub && cp other wrong
unbuilt "a key with another's public half" 'wrong is not the secret half of wrong.pub' --pack-version 1.1.0 --key wrong rules
mkdir wide && for i in 1 2 3; do
	{ rule R$i 1 '~/.a' block; head -c 900000 /dev/zero | tr '\0' '#'; echo; } >wide/$i.yaml
done
unbuilt "what is packed further than a host unpacks" 'no host would take it: .*200' --pack-version 1.1.0 wide

mkdir named && printf 'id: R1\nname: n\nversion: 1\nkind: file_opened\nmatch: { any_of: [ process_name: { in: { list: sh } } ] }\naction: { default: warn }\n' >named/a.yaml
rule R2 1 '~/.b' warn >named/b.yaml
echo 'lists: { sh: [bash, zsh] }' >named/lists.yaml
build --pack-version 1.0.0 --output named1.tar.gz named >/dev/null
echo 'lists: { sh: [nothing] }' >named/lists.yaml
build --pack-version 1.1.0 --output named2.tar.gz named >/dev/null
out=$("$cli" pack diff --key k.pub named1.tar.gz named2.tar.gz)
like "$out" 'R1 +changed' "diff: of a rule that names a list, the list"
unlike "$out" 'R2' "and no other"

exits 2 "rules that do not load are not signed" build --pack-version 1.2.0 /etc
printf 'id: R9\n' >rules/bad.yaml
like "$(err build --pack-version 1.2.0 rules)" 'rules/bad.yaml:1: the rule has no name' "with file and line"
ok "and no pack is left" test ! -e oknek-rules-v1.2.0.tar.gz
rm rules/bad.yaml

exits 1 "another key" "$cli" pack verify --key other.pub again.tar.gz
exits 1 "the built-in key" "$cli" pack verify again.tar.gz
exits 2 "a key that is none" "$cli" pack verify --key rules/b.yaml again.tar.gz
exits 2 "no such pack" "$cli" pack verify --key k.pub nowhere.tar.gz
build --pack-version 1.0.0 --expires 1d --output old.tar.gz rules >/dev/null
refused old.tar.gz "expired" 'has expired'

# A flipped bit in the archive: mostly in gzip's header and trailer. archive-test tries all of them.
size=$(stat -c %s again.tar.gz) bad='' flips=0
cp again.tar.gz flip.tar.gz
flip() { # flip BIT
	printf "\\$(printf %03o $((bytes[$1 / 8] ^ 1 << $1 % 8)))" |
		dd of=flip.tar.gz bs=1 seek=$(($1 / 8)) conv=notrunc status=none
}
mapfile -t bytes < <(od -An -v -tu1 -w1 again.tar.gz | tr -d ' ')
for ((bit = 0; bit < size * 8; bit += bit < 96 || bit >= (size - 11) * 8 ? 3 : 53)); do
	flip $bit
	flips=$((flips + 1))
	! "$cli" pack verify --key k.pub flip.tar.gz >out 2>&1 || bad+=" $bit"
	printf "\\$(printf %03o "${bytes[bit / 8]}")" | dd of=flip.tar.gz bs=1 seek=$((bit / 8)) conv=notrunc status=none
done
diag "$flips of $((size * 8)) bits"
is "$bad" "" "a flipped bit anywhere in the archive is refused"
ok "unflipped it is the pack" cmp again.tar.gz flip.tar.gz
tar czf repacked.tar.gz -C good .
like "$("$cli" --json pack verify --key k.pub repacked.tar.gz)" "\"digest\": ?\"$digest\"" "packed again by tar it is the same pack"
gzip -dc again.tar.gz | gzip -9 >regzip.tar.gz
like "$("$cli" --json pack verify --key k.pub regzip.tar.gz)" "\"digest\": ?\"$digest\"" "and by gzip"

# Archives that mean harm.
mk() { rm -rf x && cp -r good x; }
mk; ln -s /etc/passwd x/rules/l.yaml; tar czf l.tar.gz -C x .
refused l.tar.gz "a link" 'rules/l.yaml is no regular file'
mk; ln x/rules/a.yaml x/rules/h.yaml; tar czf h.tar.gz -C x manifest.yaml signature.ed25519 rules
refused h.tar.gz "a hard link" 'is no regular file'
mk; mkfifo x/rules/f.yaml; tar czf f.tar.gz -C x .
refused f.tar.gz "a fifo" 'rules/f.yaml is no regular file'
if mk && mknod x/rules/d.yaml c 1 3 2>/dev/null; then
	tar czf d.tar.gz -C x .
	refused d.tar.gz "a device" 'rules/d.yaml is no regular file'
fi
for name in ../evil.yaml /tmp/oknek-evil.yaml rules/../../evil.yaml rules/sub/evil.yaml .bashrc; do
	mk; cp good/rules/a.yaml x/evil; tar czPf t.tar.gz -C x --transform "s,^evil$,$name," \
		manifest.yaml signature.ed25519 rules evil
	refused t.tar.gz "the name $name" 'a pack holds manifest.yaml, signature.ed25519 and rules/NAME.yaml'
done
ok "nothing was written outside" test ! -e ../evil.yaml -a ! -e /tmp/oknek-evil.yaml -a ! -e .bashrc
mk; cp good/rules/a.yaml x/rules/z.yaml; tar czf e.tar.gz -C x .
refused e.tar.gz "a file more" 'rules/z.yaml is in the pack and not in its manifest'
mk; rm x/rules/a.yaml; tar czf m.tar.gz -C x .
refused m.tar.gz "a file less" 'signature does not hold|does not have'
mk; rm x/signature.ed25519; tar czf s.tar.gz -C x .
refused s.tar.gz "no signature" 'the pack has no signature.ed25519'
mk; head -c 60000000 /dev/zero >x/rules/zero.yaml; tar czf bomb.tar.gz -C x .
refused bomb.tar.gz "a bomb" 'unpacks to more than'
head -c 300000000 /dev/zero | gzip -1 >zeros.tar.gz
refused zeros.tar.gz "zeros without end" 'no .tar.gz|unpacks|larger'
head -c 30000000 /dev/urandom >noise.tar.gz
refused noise.tar.gz "noise, too large" 'larger than 16 MiB'
head -c 300000 /dev/urandom >noise.tar.gz
refused noise.tar.gz "noise" 'no .tar.gz'
head -c $((size / 2)) again.tar.gz >half.tar.gz
refused half.tar.gz "half of one" 'tar.gz: '
: >empty.tar.gz
refused empty.tar.gz "an empty file" 'no .tar.gz'
# Names that are no text.
odd=$'\xff'
mk; cp good/rules/a.yaml "x/rules/$odd.yaml"; tar czf u.tar.gz -C x .
exits 1 "a name that is no UTF-8: refused in JSON" "$cli" --json pack verify --key k.pub u.tar.gz
like "$(cat out)" 'rules/.*xff\.yaml' "with its reason"
exits 0 "a key of such a name" "$cli" --json pack keygen "k$odd"
exits 0 "a pack of such a name" "$cli" --json pack build --key k --pack-version 1.0.0 \
	--output "p$odd.tar.gz" good
mkfifo fifo.tar.gz
exits 1 "a fifo does not hold us" timeout 5 "$cli" pack verify --key k.pub fifo.tar.gz
is "$(find . -newer fifo.tar.gz -name '*.yaml' | wc -l)" 0 "nothing was unpacked"
done_testing
