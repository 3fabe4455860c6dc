#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rule files that are wrong in every way: one clear line each, exit 78; and a running daemon that is
# told to read them goes on as if nothing had happened.
# sanitize: address
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open

scene tmpfs || { fail "the scene"; done_testing; }
daemon=$(bin oknekd)
bad=$SCRATCH/bad
mkdir "$bad" "$SCRATCH/one"

# rule EXTRA-LINE…: a good rule with the lines appended; sed on it makes it a bad one.
good() {
	cat <<-'END'
		id: X710
		name: bad rule
		version: 1
		kind: file_opened
		match:
		  any_of:
		    - path: { glob: "~/.aws/credentials" }
		action:
		  default: block
		evidence:
		  capture: [ path ]
		  retain_for: 30d
	END
}
of() { good | sed "$1" >"$bad/$2.yaml"; }

of 's/any_of:/any_of: [/' broken
of 's/- path:/- paht:/' field
of '$a surprise: yes' key
of 's/^version: 1/version: one/' type
of 's/glob: .*/glob: { a: b } }/' pattern
of 's/kind: .*/kind: file_open/' kind
of 's/- path:.*/- chain_depth: { gte: 3 }/' otherkind
of 's/glob:/globb:/' comparison
of 's/default: block/default: explode/' action
of 's/retain_for: 30d/retain_for: forever/' duration
of 's/\[ path \]/[ nonsense ]/' capture
of '/^id:/d' noid
of 's/^id: .*/id: "..\/..\/etc"/' id
of '/^match:/,/path:/d' nomatch
of 's/^name:.*/name: [a, b]/' listname
of 's/glob: .*/glob: "" }/' emptyglob
good | cat - <(echo ---) <(good) >"$bad/twice.yaml"
good | sed 's/bad rule/\xff\xfe\x80/' >"$bad/notutf8.yaml"
good | sed 's/bad rule/nul \x00 byte/' >"$bad/nul.yaml"
{ good; echo "name: |"; yes '  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' |
	head -c 10485760; } >"$bad/tenmegabytes.yaml"
{ echo 'a: &a [x,x,x,x,x,x,x,x,x]'; p=a
	for n in b c d e f g h i; do
		echo "$n: &$n [*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p]"; p=$n
	done; } >"$bad/aliases.yaml"
{ good; printf 'x: '; head -c 100000 /dev/zero | tr '\0' '['; } >"$bad/deep.yaml"
{ good | sed '/path:/d'; } >"$bad/nothing.yaml"
{ good | sed '/path:/d' | sed '/any_of:/q'
	for n in $(seq 20000); do echo "    - path: { glob: \"~/x$n/**/**/**\" }"; done
	good | sed -n '/^action/,$p'; } >"$bad/many.yaml"
printf 'id: X1\r\n\tname: tab' >"$bad/tab.yaml"
printf '\xff\xfei\x00d\x00' >"$bad/utf16.yaml"
mkfifo "$bad/fifo.yaml"
ln -s /dev/zero "$bad/zero.yaml"
mkdir "$bad/folder.yaml"
ln -s "$SCRATCH/nowhere" "$bad/dangling.yaml"

# Those that the rule engine may take or leave: it must not fall over, nothing else is promised.
either='nothing many dangling folder'

ok "it starts" start_daemon --rules "$OWN_RULES"
denied "and denies" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

for f in "$bad"/*.yaml; do
	name=${f##*/}
	rm -rf "$SCRATCH/one" && mkdir "$SCRATCH/one"
	cp -a "$f" "$SCRATCH/one/bad.yaml"
	rc=0
	timeout -k 1 10 "$daemon" --check --config "$CONFIG" --rules "$SCRATCH/one" \
		>"$SCRATCH/out" 2>&1 </dev/null || rc=$?
	case " $either " in
	*" ${name%.yaml} "*)
		ok "$name: exit $rc, no crash" eval '[ $rc -eq 0 ] || [ $rc -eq 78 ]'
		continue ;;
	esac
	is $rc 78 "$name: exit 78"
	is "$(grep -c . "$SCRATCH/out")" 1 "$name: one line"
	like "$(head -c 600 "$SCRATCH/out")" 'bad\.yaml(:[0-9]+)?: .' "$name: says where and what"
	unlike "$(cat "$SCRATCH/out")" $'[\x01-\x08\x0b-\x1f\x7f]' "$name: no control bytes"

	cp -a "$f" "$OWN_RULES/zz.yaml"
	rc=0
	timeout -k 1 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local >"$SCRATCH/out" 2>&1 ||
		rc=$?
	is $rc 2 "$name: a running daemon refuses it"
	like "$(head -c 600 "$SCRATCH/out")" 'zz\.yaml(:[0-9]+)?: .' "$name: and says where"
	denied "$name: it goes on denying" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	rm -rf "$OWN_RULES/zz.yaml"
done
ok "the right ones are taken again" oknek update --reload-local
write_rule notes.yaml notes.txt block X701
ok "and a new one" oknek update --reload-local
exits 1 "which is enforced at once" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
rm "$OWN_RULES/notes.yaml"
ok "and taken back" oknek update --reload-local
ok "which frees what it held" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
ok "the daemon stops cleanly" stop_daemon
done_testing
