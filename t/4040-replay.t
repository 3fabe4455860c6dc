#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek replay: what was captured is decided again exactly; another set of rules changes what is
# computed beforehand, and no more; evidence alone shows less, and says what it cannot show.
. "$(dirname "$0")/lib.sh"
need_build oknek oknekd

oknek=$(bin oknek)
printf 'mode: enforce\ncapture: all\nexceptions:\n  X1: { match: { process_name: { eq: git } }, reason: it may, author: t }\n' >"$CONFIG"
mkdir "$SCRATCH/old" "$SCRATCH/new"

rule() { # rule FILE ID KIND ACTION MATCH [CAPTURE]
	cat >"$SCRATCH/$1/$2.yaml" <<-END
		id: $2
		name: rule $2
		version: 1
		kind: $3
		match: $5
		action: { default: $4, configurable: true, options: [ block, warn, allow ] }
		evidence: { capture: [ ${6-path} ], retain_for: 400d }
	END
}
rule old X1 file_opened block '{ any_of: [ path: { glob: "~/.aws/**" } ] }'
rule old X2 file_opened warn '{ all_of: [ path: { glob: "/home/**/.env" }, wall_clock_hour: { gte: 12 } ] }'
rule old X3 exec_observed block '{ any_of: [ bash_command: { contains: "rm -rf" } ] }' argv
rule old X4 socket_connect warn '{ any_of: [ dest_port: { eq: 22 } ] }' dest_port

# Mixed events, and what the old and the new rules make of them by counting.
awk 'BEGIN {
	split("/home/u/.aws/credentials /home/u/p/.env /home/u/notes /etc/passwd", path, " ")
	split("/usr/bin/cat /usr/bin/git", exe, " ")
	for (i = 0; i < 4000; i++) {
		head = sprintf("\"time\":\"2026-09-%02dT%02d:%02d:%02d.%09dZ\",\"utc_offset\":%d,\"agent\":\"claude-code\",\"root_pid\":100,\"pid\":%d,\"uid\":1000,\"exe\":\"%s\",\"home\":\"/home/u\"",
			1 + i % 28, i % 24, i % 60, int(i / 60) % 60, i, (i % 3 - 1) * 3600, 200 + i % 9, exe[1 + i % 2])
		if (i % 10 < 7)
			printf "{\"kind\":\"file_opened\",%s,\"path\":\"%s\",\"mode\":\"%s\"}\n", head, path[1 + int(i / 10) % 4], i % 5 ? "read" : "write"
		else if (i % 10 == 7)
			printf "{\"kind\":\"exec_observed\",%s,\"argv\":[\"bash\",\"-c\",\"%s\"]}\n", head, int(i / 10) % 2 ? "rm -rf x" : "ls --password=hunter22"
		else
			printf "{\"kind\":\"socket_connect\",%s,\"dest_ip\":\"192.0.2.%d\",\"dest_port\":%d}\n", head, i % 250, i % 4 ? 443 : 22
	}
}' >"$SCRATCH/events"

record() { # record DIR: a daemon with the old rules decides all of them
	timeout 60 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$1" --config "$CONFIG" \
		--rules "$SCRATCH/old" --source=replay:"$SCRATCH/events"
}
count() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$SCRATCH/json" | tail -n 1; }
json() { # json STATUS DESC ARGS…
	local want=$1 desc=$2
	shift 2
	"$oknek" --json replay --state-dir "$STATE" --config "$CONFIG" "$@" >"$SCRATCH/json" 2>"$SCRATCH/err"
	is $? "$want" "$desc" || diag "$(cat "$SCRATCH/err")" "$(tail -n 1 "$SCRATCH/json")"
}
counts() { # counts DESC BLOCKED WARNED ALLOWED UNCHANGED UNTOLD
	is "$(count newly_blocked) $(count newly_warned) $(count newly_allowed) $(count unchanged) $(count cannot_tell)" \
		"$2 $3 $4 $5 $6" "$1"
}

ok "a daemon captures" record "$STATE"
is "$(cat "$STATE"/capture/*.jsonl | grep -vc '^#')" 4000 "all of it"
is "$(grep -c hunter22 "$STATE"/capture/*.jsonl)" 0 "without the secrets"

# ---- the same rules ---------------------------------------------------------------------------

masked=$(cat "$STATE"/capture/*.jsonl | grep -c '"masked"')
isnt "$masked" 0 "some arguments were masked"
json 0 "the same rules change nothing" --since 2026-01-01 --rules "$SCRATCH/old"
counts "as is counted" 0 0 0 $((4000 - masked)) "$masked"
is "$(count events)" 4000 "all were decided"
like "$(tail -n 1 "$SCRATCH/json")" '"basis":"captured"' "by what is captured"
like "$(head -n 1 "$SCRATCH/json")" 'rule X3 asks bash_command, which was masked' \
	"what is masked is not judged by"
TZ=Asia/Tokyo json 0 "also in another zone: the hour is the one of then" --since 2026-01-01 --rules "$SCRATCH/old"
json 0 "also from the files, given as such" --rules "$SCRATCH/old" "$STATE"/capture/*.jsonl
json 0 "and against themselves" --rules "$SCRATCH/old" --against "$SCRATCH/old" "$SCRATCH/events"
counts "where nothing is masked" 0 0 0 4000 0

# ---- other rules ------------------------------------------------------------------------------

cp "$SCRATCH"/old/X[34].yaml "$SCRATCH/new"
rule new X1 file_opened warn '{ any_of: [ path: { glob: "~/.aws/**" } ] }'
rule new X2 file_opened block '{ all_of: [ path: { glob: "/home/**/.env" }, wall_clock_hour: { gte: 12 } ] }'
rule new X5 file_opened warn '{ all_of: [ path: { eq: /etc/passwd }, open_mode: { eq: write } ] }'
rm "$SCRATCH/new/X4.yaml"
hour() { awk -v RS='\n' 'match($0, /T[0-9][0-9]:/) {
	h = substr($0, RSTART + 1, 2); match($0, /"utc_offset":-?[0-9]+/)
	if ((h + substr($0, RSTART + 13, RLENGTH - 13) / 3600 + 24) % 24 >= 12) n++ } END { print n + 0 }'; }
env_late=$(grep '/p/\.env' "$SCRATCH/events" | hour)
aws=$(grep '\.aws' "$SCRATCH/events" | grep -vc /git)
passwd=$(grep '/etc/passwd' "$SCRATCH/events" | grep -c '"write"')
ssh=$(grep -c '"dest_port":22}' "$SCRATCH/events")
isnt "$env_late" 0 "there are some of each"
json 1 "other rules change something" --since 2026-01-01 --rules "$SCRATCH/new"
counts "exactly what they must" "$env_late" "$passwd" $((aws + ssh)) \
	$((4000 - masked - env_late - passwd - aws - ssh)) "$masked"
is "$(count now_only_warned)" "$aws" "of which some are only warned of"
is "$(grep -c '"change":"newly_blocked","before":"warn","after":"block","rules_before":\["X2"\],"rules_after":\["X2"\]' \
	"$SCRATCH/json")" "$env_late" "each is told, with before and after"
like "$(grep -m1 newly_blocked "$SCRATCH/json")" '^\{"event":\{"kind":"file_opened",.*"decided":\{' \
	"with the event"
"$oknek" replay --state-dir "$STATE" --config "$CONFIG" --since 2026-01-01 --rules "$SCRATCH/new" >"$SCRATCH/text"
is $? 1 "in words, too"
like "$(cat "$SCRATCH/text")" "newly blocked +$env_late"$'\n' "how many"
like "$(cat "$SCRATCH/text")" 'X2 +/home/u/p/.env +/usr/bin/(cat|git)' "which rule, file and program"
like "$(cat "$SCRATCH/text")" "newly allowed +$((aws + ssh)) \($aws only warned of now\)" "what is let through"

"$oknek" --json replay --config "$CONFIG" --rules "$SCRATCH/new" --against "$SCRATCH/old" - \
	<"$SCRATCH/events" >"$SCRATCH/json"
is $? 1 "from standard input, against other rules"
counts "the same, and nothing is masked" "$env_late" "$passwd" $((aws + ssh)) \
	$((4000 - env_late - passwd - aws - ssh)) 0

printf 'rules: { X1: { action: block } }\n' >"$SCRATCH/site.yaml"
"$oknek" --json replay --config "$SCRATCH/site.yaml" --rules "$SCRATCH/new" \
	"$STATE"/capture/*.jsonl >"$SCRATCH/json"
git_aws=$(grep '\.aws' "$SCRATCH/events" | grep -c /git)
is "$(count newly_blocked) $(count newly_allowed)" "$((env_late + git_aws)) $ssh" \
	"overrides and exceptions are those of --config"

json 0 "since a time after all of them there is nothing" --since 2026-10-15T00:00:00+02:00 --rules "$SCRATCH/new"
is "$(count events)" 0 "nothing at all"
late=$(grep -c '"time":"2026-09-2[0-9]' "$SCRATCH/events")
json 1 "since a day in between" --since 2026-09-20T00:00:00Z --rules "$SCRATCH/new"
is "$(count events)" "$late" "only those after it"

# ---- evidence ---------------------------------------------------------------------------------

rm -rf "$STATE/capture"
sed -i 's/^capture:.*/capture: off/' "$CONFIG"
json 1 "without captured events, evidence" --since 2026-01-01 --rules "$SCRATCH/new"
like "$(tail -n 1 "$SCRATCH/json")" '"basis":"evidence"' "as is said"
like "$(tail -n 1 "$SCRATCH/json")" 'would newly be blocked .* cannot be shown' "and what that cannot show"
like "$(tail -n 1 "$SCRATCH/json")" 'no events of that time were captured' "which need not be for capture being off"
# It has the path for X1 and X2 and the port for X4; the hour is not captured by X2. /etc/passwd left
# no record.
is "$(count newly_warned)" 0 "of what left no record nothing is told"
is "$(count newly_allowed)" $((aws + ssh)) "what would be let through is shown"
ok "what a rule asks and nobody captured is named" \
	grep -q 'rule X2 asks wall_clock_hour, which was not captured' "$SCRATCH/json"
isnt "$(count cannot_tell)" 0 "and counted"
rule new X1 file_opened warn '{ all_of: [ path: { glob: "/home/*/.aws/**" }, open_mode: { eq: read } ] }'
json 1 "a rule that asks for more" --evidence --rules "$SCRATCH/new"
is "$(count newly_allowed)" "$((ssh))" "is not said to let through what it may stop"
ok "but to ask what nobody knows" grep -q 'rule X1 asks open_mode, which was not captured' "$SCRATCH/json"
unlike "$(cat "$SCRATCH/err")" verif "the evidence verified"
sqlite3 "$STATE/oknek.db" "update events set json = replace(json, '.aws', '.awx') where seq = 3" 2>/dev/null &&
	{ json 1 "evidence that was altered" --evidence --rules "$SCRATCH/new"
	like "$(cat "$SCRATCH/err")" 'does not verify' "is said to be"; }

# What a record has of a connection and of a script is known, be it null.
STATE=$SCRATCH/state2
mv "$SCRATCH/events" "$SCRATCH/all"
rm -f "$SCRATCH"/old/*.yaml "$SCRATCH"/new/*.yaml
rule old X1 socket_connect warn '{ any_of: [ dest_port: { gte: 1 } ] }' \
	'dest_ip, dest_port, dest_host, dest_path, egress, egress_gateway, protocol'
rule old X2 exec_observed warn '{ any_of: [ process_name: { eq: bash } ] }' bash_command
head='"time":"2026-09-01T10:00:00Z","agent":"claude-code","root_pid":100,"pid":200,"uid":1000,"exe":"/usr/bin/bash"'
cat >"$SCRATCH/events" <<-END
	{"kind":"socket_connect",$head,"dest_ip":"192.0.2.1","dest_port":443,"egress":"foreign","egress_gateway":"set","protocol":"tcp"}
	{"kind":"exec_observed",$head,"argv":["bash","-c","rm -rf x && ls"]}
END
ok "a daemon decides" record "$STATE"
rule new X1 socket_connect block '{ all_of: [ egress: { eq: foreign }, egress_gateway: { eq: set } ] }' dest_port
rule new X2 socket_connect block '{ any_of: [ dest_path: { prefix: / }, dest_host: { suffix: a } ] }' dest_port
rule new X3 exec_observed block '{ all_of: [ bash_command: { contains: "rm -rf" } ] }' argv
json 1 "rules that ask for it" --evidence --rules "$SCRATCH/new"
mv "$SCRATCH/all" "$SCRATCH/events"
is "$(count newly_blocked) $(count cannot_tell)" "2 0" "are told" || diag "$(cat "$SCRATCH/json")"
rm -f "$SCRATCH"/new/*.yaml
rule new X1 file_opened warn '{ all_of: [ path: { glob: "/home/*/.aws/**" } ] }'
rule new X2 socket_connect warn '{ any_of: [ dest_port: { gte: 1 } ] }' dest_port

# ---- what is refused --------------------------------------------------------------------------

refused() { # refused ERE DESC ARGS…
	local want=$1 desc=$2
	shift 2
	"$oknek" replay --state-dir "$STATE" "$@" >"$SCRATCH/out" 2>"$SCRATCH/err"
	is $? 2 "$desc: exit 2"
	like "$(cat "$SCRATCH/err")" "$want" "$desc: said"
}
refused 'one of --rules DIR and --pack' "no rules" "$SCRATCH/events"
refused 'EVENTS, --since' "no events" --rules "$SCRATCH/new"
refused 'EVENTS or --since' "both" --rules "$SCRATCH/new" --since 7d "$SCRATCH/events"
refused 'a time like' "no time" --rules "$SCRATCH/new" --since yesterday
refused 'nothere: No such file' "no folder" --rules "$SCRATCH/nothere" "$SCRATCH/events"
refused 'nothere: No such file' "no file" --rules "$SCRATCH/new" "$SCRATCH/nothere"
echo 'id: X1' >"$SCRATCH/new/bad.yaml"
refused 'bad.yaml:' "a bad rule" --rules "$SCRATCH/new" "$SCRATCH/events"
rm "$SCRATCH/new/bad.yaml"
{ head -n 3 "$SCRATCH/events"; echo '{"kind":"file_opened","pth":"/x"}'; head -n 3 "$SCRATCH/events"; } >"$SCRATCH/typo"
refused 'typo:4: pth: no such key' "a bad line" --rules "$SCRATCH/new" --against "$SCRATCH/old" "$SCRATCH/typo"
like "$(cat "$SCRATCH/out")" 'replayed +6 events' "the others are decided"
head -c 100 /dev/urandom >"$SCRATCH/junk.tar.gz"
refused junk "a pack that is none" --pack "$SCRATCH/junk.tar.gz" "$SCRATCH/events"

# ---- packs ------------------------------------------------------------------------------------

pack() { # pack NAME KEY: of a copy of the shipped rules
	"$oknek" pack build --key "$2" --pack-version 1.0.0 --output "$SCRATCH/$1.tar.gz" "$ROOT/rules/core"
}
if ok "a pack" pack ours tools/packaging/development.key; then
	printf 'mode: enforce\n' >"$SCRATCH/none.yaml"
	ok "against its own rules" "$oknek" replay --config "$SCRATCH/none.yaml" \
		--pack "$SCRATCH/ours.tar.gz" --against "$ROOT/rules/core" "$SCRATCH/events"
	ok "and the other way round" "$oknek" replay --config "$SCRATCH/none.yaml" \
		--rules "$ROOT/rules/core" --against-pack "$SCRATCH/ours.tar.gz" "$SCRATCH/events"
	ok "a key of our own" "$oknek" pack keygen "$SCRATCH/foreign.key"
	ok "a pack of that" pack foreign "$SCRATCH/foreign.key"
	refused 'signature|signed' "a foreign pack" --pack "$SCRATCH/foreign.tar.gz" "$SCRATCH/events"
fi
done_testing
