#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files made to hurt who reads them, as rules and as configuration: each is refused with one clear
# line, within a second of processor time and 64 MiB, and nothing crashes.
# sanitize: address
# shellcheck disable=SC2016 # $ is for perl
. "$(dirname "$0")/lib.sh"
need_command perl prlimit
need_build oknekd oknek

shapes=$SCRATCH/shapes
mkdir "$shapes" "$SCRATCH/rules" "$SCRATCH/good"
echo 'mode: observe' >"$SCRATCH/good.yaml"

rule() { printf 'id: X1\nname: n\nversion: 1\nkind: file_opened\naction: { default: block }\n'; }
shape() { cat >"$shapes/$1.yaml"; }
make() { perl -e "$2" | shape "$1"; }

rule >"$SCRATCH/good/a.yaml"
echo 'match: { any_of: [ path: { eq: /a } ] }' >>"$SCRATCH/good/a.yaml"

# ---- what YAML itself makes possible
make flow-deep 'print "a: ", "[" x 10000'
make flow-deep-closed 'print "a: ", "[" x 10000, "]" x 10000, "\n"'
make flow-maps 'print "{a: " x 10000'
make flow-largest 'print "[" x 1048576'
make block-deep 'print " " x $_, "a:\n" for 0..1400'
make block-lists 'print "- " x 500000'
make keys-deep 'print "? " x 500000'
make depth-of-one-too-many 'print "a: ", "[" x 33, "]" x 33, "\n"'
make quotes-deep 'print "a: ", "[\x27" x 100000'
make laughs 'print "a: &a [x,x,x,x,x,x,x,x,x]\n"; $p = "a"; for (b..i) { print "$_: &$_ [", join(",", ("*$p") x 9), "]\n"; $p = $_ }'
make self 'print "a: &a [*a]\n"'
make self-map 'print "a: &a { b: *a }\n"'
make anchors 'print "a$_: &n$_ 1\n" for 1..60000'
make alias-unknown 'print "a: *nothing\n"'
make merge 'print "a: &a { x: 1 }\n<<: *a\n"'
make merge-many 'print "<<: [", join(",", ("*a") x 10000), "]\n"'
make duplicate 'print "id: X1\nid: X1\n"'
make duplicate-far 'print "k$_: 1\n" for 1..30000; print "k1: 1\n"'
make duplicate-each 'print "mode: observe\n" x 60000'
make keys 'print "k$_: 1\n" for 1..100000'
make keys-flow 'print "{", join(",", map { "k$_: 1" } 1..80000), "}\n"'
make keys-same-hash 'print "k", "a" x ($_ % 100), "$_: 1\n" for 1..15000'
make key-long 'print "a" x 1000000, ": 1\n"'
make elements 'print "[", "1," x 400000, "]\n"'
make elements-million 'print "a: [", "1," x 1000000, "]\n"'
make documents 'print "---\na: 1\n" x 10000'
make documents-empty 'print "---\n" x 200000, "a: 1\n"'
make documents-most 'print "--- a\n" x 170000'
make scalar-16m 'print "name: ", "a" x (16 << 20), "\n"'
make scalar-1m 'print "name: ", "a" x 1000000, "\n"'
make scalar-quoted 'print "name: \"", "a" x 1000000, "\"\n"'
make scalar-escapes 'print "name: \"", "\\u00e4" x 170000, "\"\n"'
make scalar-folded 'print "name: >\n", "  a\n" x 250000'
make scalar-lines 'print "name: \"", "a\n\n" x 300000, "\"\n"'
make line-long 'print "name: ", "a " x 500000, "\n"'
make spaces 'print " " x 1000000, "a"'
make newlines 'print "\n" x 1000000, "a"'
make comments 'print "# a\n" x 250000, "a: 1"'
make unterminated 'print "name: \"", "a" x 1000'
make unterminated-single 'print "name: \x27", "a\n" x 100000'
make tag 'print "a: !!binary aWQ=\n"'
make tag-python 'print "a: !!python/object/apply:os.system [\"id\"]\n"'
make tag-long 'print "a: !<", "x" x 100000, "> 1\n"'
make tag-directive 'print "%TAG ! tag:x,2000:\n---\na: !y 1\n"'
make tag-directives 'print "%TAG !a$_! tag:x,2000:\n" for 1..20000; print "---\na: 1\n"'
make directive 'print "%YAML 9.9\n---\na: 1\n"'
make directive-long 'print "%YAML 1.", "1" x 100000, "\n---\na: 1\n"'
make directives 'print "%FOO bar\n" x 100000, "---\na: 1\n"'
make tab 'print "a:\n\tb: 1\n"'
make tabs 'print "\t" x 500000, "a: 1\n"'
make nul 'print "name: a\0b\n"'
make nuls 'print "\0" x 1000000'
make nul-escape 'print "name: \"a\\0b\"\n"'
make invalid-utf8 'print "name: \xff\xfe\n"'
make overlong-utf8 'print "name: \xc0\x80\n"'
make surrogate 'print "name: \xed\xa0\x80\n"'
make cut-utf8 'print "name: \xe2\x82"'
make utf16 'print "\xff\xfei\0d\0:\0 \0X\0"'
make utf16-be 'print "\xfe\xff\0i\0d\0:\0 \0X"'
make utf32 'print "\xff\xfe\0\0i\0\0\0"'
make controls 'print "name: a\x1b[31mb\x07\n"'
make control-key 'print "\"\\e[31m\\a\\n\": 1\n"'
make c1 'print "name: a\xc2\x9b31m\n"'
make delete 'print "name: a\x7f\n"'
make separators 'print "a\xe2\x80\xa8b: 1\xc2\x85c: 2\n"'
make colons 'print ": " x 100000'
make commas 'print "[", "," x 100000'
make brackets-wrong 'print "a: [}\n"'
make question 'print "? ? ? ?\n"'
make binary 'print pack("C*", map { ($_ * 7919) % 251 + 1 } 1..100000)'
make one-byte 'print "\""'
make block-scalar-indent 'print "a: |99\n x\n"'
make block-scalar-huge 'print "a: |", "9" x 100000, "\n x\n"'

# ---- what only rules have
rulish() { { rule; perl -e "$2"; } | shape "rule-$1"; }
# These load: what they ask for is bounded when it is matched.
either() { rulish "$@"; : >"$shapes/rule-$1.either"; }
rulish globs 'print "match: { any_of: [ path: { glob: [\n", "\"{a,b}{c,d}{e,f}{g,h}\",\n" x 20000, "] } ] }\n"'
rulish braces 'print "match: { any_of: [ path: { glob: \"/", "{a,b}" x 40, "\" } ] }\n"'
rulish braces-deep 'print "match: { any_of: [ path: { glob: \"/", "{a," x 2000, "}" x 2000, "\" } ] }\n"'
rulish braces-open 'print "match: { any_of: [ path: { glob: \"/", "{" x 500000, "\" } ] }\n"'
rulish classes 'print "match: { any_of: [ path: { glob: \"/", "[" x 100000, "\" } ] }\n"'
rulish glob-long 'print "match: { any_of: [ path: { glob: \"/", "*a" x 400000, "\" } ] }\n"'
either recursion 'print "match: { any_of: [ path: { match: \"(?R)\" } ] }\n"'
rulish backslash-c 'print "match: { any_of: [ path: { match: \x27a\\C\x27 } ] }\n"'
rulish regex-utf 'print "match: { any_of: [ path: { match: \"(*UTF)a\" } ] }\n"'
rulish regex-ucp 'print "match: { any_of: [ path: { match: \"(*UCP)a\" } ] }\n"'
rulish lookbehind 'print "match: { any_of: [ path: { match: \"(?<=a*)b\" } ] }\n"'
rulish regex-repeats 'print "match: { any_of: [ path: { match: \"", "(" x 8, "a{1,1000}", "){1,1000}" x 8, "\" } ] }\n"'
rulish regex-deep 'print "match: { any_of: [ path: { match: \"", "(" x 400, "a", ")" x 400, "\" } ] }\n"'
rulish regex-long 'print "match: { any_of: [ path: { match: \"", "a|" x 400000, "b\" } ] }\n"'
either regexes 'print "match: { any_of: [ path: { match: [\n", "\"(a{1,99}b{1,99}){1,99}\",\n" x 1000, "] } ] }\n"'
rulish values 'print "match: { any_of: [ pid: { in: [", "1," x 2000, "] } ] }\n"'
rulish capture 'print "match: { any_of: [ pid: { gt: 1 } ] }\nevidence: { capture: [", "path," x 60000, "] }\n"'
rulish authors 'print "match: { any_of: [ pid: { gt: 1 } ] }\nauthors: [", "a," x 60000, "]\n"'
rulish groups 'print "match: ", "{ any_of: [ " x 200, "\n"'
rulish number 'print "match: { any_of: [ pid: { gt: ", "9" x 100000, " } ] }\n"'
rulish cidr 'print "match: { any_of: [ path: { cidr: 10.0.0.0/8 } ] }\n"'
perl -e 'for (1..3000) { print "---\nid: X1\nname: n\nversion: 1\nkind: file_opened\naction: { default: block }\nmatch: { any_of: [ path: { eq: /a } ] }\n" }' | shape rule-same
perl -e 'print "lists: {\n"; print "a$_: [1],\n" for 1..2000; print "}\n"' | shape rule-lists
perl -e 'print "lists: { a: [ { list: a } ] }\n"' | shape rule-list-of-itself
either regex-bomb 'print "match: { any_of: [ path: { match: \"(a+)+\\$\" } ] }\n"'
either callout 'print "match: { any_of: [ path: { match: \"a(?C1)b\" } ] }\n"'
either verbs 'print "match: { any_of: [ path: { match: \"(*LIMIT_MATCH=4294967295)(*LIMIT_HEAP=4294967295)(*NO_JIT)(a+)+b\" } ] }\n"'
either subroutine 'print "match: { any_of: [ path: { match: \"(a(?1)?b)\" } ] }\n"'
either globs-many 'print "match: { any_of: [\n"; print "path: { glob: \"~/x$_/**/*y*/**\" },\n" for 1..10000; print "] }\n"'
either stars 'print "match: { any_of: [ path: { glob: \"/", "*a" x 400, "\" } ] }\n"'

# ---- each as rules of a daemon, as a file to lint, and as a configuration

# A sanitizer has memory of its own, and takes its time.
case $BUILD in
*build-*) limits=(timeout 60) ;;
*) limits=(timeout 60 prlimit --cpu=1 --core=0 --as=$((64 << 20))) ;;
esac
oknekd=$BUILD/oknekd oknek=$BUILD/oknek
# libraries of oknek may want more room for their code than there is: their data is what counts
lint_limits=("${limits[@]}")
"${limits[@]}" "$oknek" --version >/dev/null 2>&1 ||
	lint_limits=(timeout 60 prlimit --cpu=1 --core=0 --data=$((64 << 20)))

# refused WANT FILE DESC CMD…: status, one line that says where and what, no control bytes.
refused() {
	local want=$1 file=$2 name=${2##*/} desc=$3 rc=0 why=
	shift 3
	"$@" >"$SCRATCH/out" 2>&1 </dev/null || rc=$?
	[[ " $want " = *" $rc "* ]] || why="exit $rc, not $want"
	if [ $rc -ne 0 ] && [ ! -e "${file%.yaml}.either" ]; then
		[ "$(wc -l <"$SCRATCH/out")" -eq 1 ] || why+=" $(wc -l <"$SCRATCH/out") lines"
		[[ $(head -c 700 "$SCRATCH/out") =~ $name(:[0-9]+)?:\ . ]] || why+=" does not say where"
		[ "$(head -c 1000 "$SCRATCH/out" | wc -c)" -lt 700 ] || why+=" long"
	fi
	! LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f\x7f]' "$SCRATCH/out" || why+=" control bytes"
	if [ -z "$why" ]; then pass "$desc"; else fail "$desc" "$why" "$(head -c 900 "$SCRATCH/out")"; fi
}

ok "what is right is taken within the limits" "${limits[@]}" "$oknekd" --check \
	--config "$SCRATCH/good.yaml" --rules "$SCRATCH/good"
ok "also by lint" "${lint_limits[@]}" "$oknek" rules lint "$SCRATCH/good/a.yaml"
for f in "$shapes"/*.yaml; do
	name=${f##*/} name=${name%.yaml} bad=78 found='1 2'
	[ ! -e "${f%.yaml}.either" ] || bad='0 78' found='0 1 2'
	rm -f "$SCRATCH/rules"/*
	cp "$f" "$SCRATCH/rules/"
	refused "$bad" "$f" "$name: as rules" "${limits[@]}" "$oknekd" --check \
		--config "$SCRATCH/good.yaml" --rules "$SCRATCH/rules"
	refused "$found" "$f" "$name: lint" "${lint_limits[@]}" "$oknek" rules lint "$f"
	refused 78 "$f" "$name: as configuration" "${limits[@]}" "$oknekd" --check --config "$f" \
		--rules "$SCRATCH/good"
done
done_testing
