#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whoever has the manual and openssl can verify what oknek exports, without a line of oknek.
. "$(dirname "$0")/lib.sh"
need_bin oknekd oknek
need_command openssl

# Without xxd, which not every system has.
hex_to_bin() { printf '%b' "$(sed 's/../\\x&/g')"; }
sha256() { openssl dgst -sha256 -r | cut -d' ' -f1; }

# verified PEM FILE HEX: the Ed25519 signature HEX of FILE holds by the key PEM.
verified() {
	hex_to_bin <<<"$3" >"$SCRATCH/sig" &&
		openssl pkeyutl -verify -rawin -pubin -inkey "$1" -in "$2" \
			-sigfile "$SCRATCH/sig" >/dev/null 2>&1
}
# public_key HEX: the raw key as PEM, in the wrapping of RFC 8410.
public_key() {
	printf -- '-----BEGIN PUBLIC KEY-----\n'
	hex_to_bin <<<"302a300506032b6570032100$1" | openssl base64
	printf -- '-----END PUBLIC KEY-----\n'
}

# An openssl that cannot do Ed25519 in one shot shows nothing either way: the second vector of
# section 7.1 of RFC 8032.
printf 'r' >"$SCRATCH/r"
public_key 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c >"$SCRATCH/rfc.pem"
verified "$SCRATCH/rfc.pem" "$SCRATCH/r" "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb\
69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" ||
	skip_all "this openssl cannot verify Ed25519"

# Records: names with what JSON escapes, with bytes that are no text, beyond the BMP, none.
home=$SCRATCH/home
plan_events() {
	local path
	for path in '.aws/credentials' '.ssh/id_rsa' '.aws/sso/cache/a\"b\\c.json' \
		'.aws/cli/cache/\u0001\u001b\u007f\u202e.json' '.aws/cli/cache/äöü€😀.json' 'x/y'; do
		printf '{"kind":"file_opened","agent":"claude-code","home":"%s","path":"%s/%s"' \
			"$home" "$home" "$path"
		printf ',"pid":4711,"ppid":4710,"uid":%d,"comm":"cat","exe":"/usr/bin/cat"}\n' "$(id -u)"
	done
	printf '{"kind":"file_opened","agent":"a","home":"%s","path_b64":"%s","exe":"/bin/x"}\n' \
		"$home" "$(printf '%s/.aws/cli/cache/\377\376.json' "$home" | openssl base64 -A)"
}
plan_events >"$SCRATCH/events"
mkdir -m 700 "$RUN" "$STATE"
printf 'agents: {recognise: false}\n' >"$CONFIG"
for n in 1 2; do # the chain goes on over a restart
	ok "the daemon replays, run $n" timeout 60 "$(bin oknekd)" --foreground --run-dir "$RUN" \
		--state-dir "$STATE" --config "$CONFIG" --rules "$RULES" \
		--source=replay:"$SCRATCH/events"
done
oknek export --db "$STATE/oknek.db" >"$SCRATCH/export" 2>&1
records=$(wc -l <"$SCRATCH/export")
is "$records" 12 "every event that a rule names has a record"

pub=$(cat "$STATE/host.pub")
public_key "$pub" >"$SCRATCH/host.pem"

# check FILE: says why the records in it do not hold; nothing when they do. last_hash is its end.
check() {
	local line sig seq prev want=1 zeros
	printf -v zeros '%064d' 0
	last_hash=$zeros
	while IFS= read -r line; do
		sig=$(sed -n 's/.*,"sig":"\([0-9a-f]\{128\}\)",.*/\1/p' <<<"$line")
		seq=$(sed -n 's/.*,"seq":\([0-9]*\),.*/\1/p' <<<"$line")
		prev=$(sed -n 's/.*,"prev":"\([0-9a-f]\{64\}\)",.*/\1/p' <<<"$line")
		[ -n "$sig" ] || { echo "record $want has no signature"; return; }
		printf '%s' "${line/\"sig\":\"$sig\",/}" >"$SCRATCH/signed"
		[ "$seq" = "$want" ] || { echo "record $want is not there"; return; }
		[ "$prev" = "$last_hash" ] || { echo "record $want does not follow"; return; }
		verified "$SCRATCH/host.pem" "$SCRATCH/signed" "$sig" ||
			{ echo "record $want is not signed by the host"; return; }
		last_hash=$({ cat "$SCRATCH/signed"; hex_to_bin <<<"$sig"; } | sha256)
		want=$((want + 1))
	done <"$1"
}

check "$SCRATCH/export" >"$SCRATCH/why"
is "$(cat "$SCRATCH/why")" "" "openssl verifies every signature and the chain"
is "$(oknek --json verify --state-dir "$STATE" |
	sed -n 's/.*"last_hash":"\([0-9a-f]*\)".*/\1/p')" "$last_hash" "oknek sees the same head"

# The signed head beside the database: one line of JSON, then the signature.
printf '%s' "$(sed -n 1p "$STATE/head")" >"$SCRATCH/head"
ok "openssl verifies the signed head" verified "$SCRATCH/host.pem" "$SCRATCH/head" \
	"$(sed -n 2p "$STATE/head")"
like "$(cat "$SCRATCH/head")" "\"hash\":\"$last_hash\".*\"seq\":$records," "which is the end of the chain"

# RFC 8785, by another implementation: sorted keys, no space, escapes as few as may be.
if command -v python3 >/dev/null; then
	is "$(python3 - "$SCRATCH/export" <<'PY'
import json, sys
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    again = json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if again != line.rstrip("\n"):
        print(line, again)
PY
)" "" "records are canonical JSON"
else
	skip "records are canonical JSON" "no python3"
fi

# And what is not as it was does not hold.
cp "$SCRATCH/export" "$SCRATCH/bad" && sed -i '3s/"pid":4711/"pid":4712/' "$SCRATCH/bad"
is "$(check "$SCRATCH/bad")" "record 3 is not signed by the host" "a record that was altered is seen"
sed 4d "$SCRATCH/export" >"$SCRATCH/bad"
is "$(check "$SCRATCH/bad")" "record 4 is not there" "one that was removed"
{ sed -n 1,4p "$SCRATCH/export" && sed -n 3p "$SCRATCH/export" | sed 's/"seq":3/"seq":5/'; } >"$SCRATCH/bad"
is "$(check "$SCRATCH/bad")" "record 5 does not follow" "and one in another's place"
public_key "$(tr 0-9a-f 1-9a-f0 <<<"$pub")" >"$SCRATCH/host.pem"
is "$(check "$SCRATCH/export")" "record 1 is not signed by the host" "no other key verifies them"
done_testing
