#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is recorded of a denial, and that nobody can change it unnoticed. File names are any bytes:
# they are recorded so that the bytes can be had back and no terminal is fooled.
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open atk_json atk_tamper

scene tmpfs || { fail "the scene"; done_testing; }
write_rule vault.yaml 'vault/**' block X702
as_user mkdir "$TEST_HOME/vault"
names=($'new\nline' $'esc\e[31mred\e]0;title\a' $'inv\xff\xfelid' $'\xe2\x80\xaereversed'
	$'tab\tand\rreturn' '*?[a]{b}' '-rf' ' ' $'\x7f' $'\xc2\x9b31m' "quote\"'\\" "$(printf 'n%.0s' {1..255})")
for n in "${names[@]}"; do
	printf '%s\n' "$TOKEN" >"$TEST_HOME/vault/$n"
done
chown -R "$TEST_UID:$TEST_UID" "$TEST_HOME/vault"
ok "it starts" start_daemon --rules "$OWN_RULES"

denied "a member is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "it is recorded" records_reach 1 X700
event=$(events --rule X700 --limit 1)
json=$(bin atk_json)
want='agent agent.id agent.root_pid agent.session capture decided_by errno fired host kind mechanism'
want+=' mode outcome prev process process.auid process.cgroup process.comm process.exe'
want+=' process.lineage process.ns process.pid process.ppid process.uid rule rule.id rule.name'
want+=' rule.pack rule.part rule.version seq sig source time v verdict '
is "$(echo "$event" | "$json" keys)" "$want" "a record has exactly the keys that are promised"
ok "in canonical form" "$json" canonical <<<"$event"
while read -r key value; do
	is "$(echo "$event" | "$json" get "$key")" "$value" "$key is $value"
done <<-END
	verdict block
	errno EPERM
	outcome denied
	mode enforce
	mechanism fanotify
	decided_by rule
	kind file_opened
	rule.id X700
	rule.version 1
	agent.id claude-code
	process.comm plain_open
	process.uid $TEST_UID
	process.exe $(bin plain_open)
	capture.path $SECRET
	fired ["X700"]
END
like "$(echo "$event" | "$json" get source)" '^(ebpf,)?fanotify$' "source names who saw it"
isnt "$(echo "$event" | "$json" get process.pid)" 0 "it has the pid"
like "$(echo "$event" | "$json" get process.lineage)" plain_open "and where that came from"

before=$(records X702)
for n in "${names[@]}"; do
	shown=$(printf %q "${n:0:40}")
	denied "name $shown: denied" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/vault/$n"
done
ok "all are recorded" records_reach $((before + ${#names[@]})) X702
events --rule X702 --limit 0 >"$SCRATCH/records"
for n in "${names[@]}"; do
	shown=$(printf %q "${n:0:40}")
	b64=$(printf %s "$TEST_HOME/vault/$n" | base64 -w0)
	if printf %s "$n" | grep -q '^[ -!#-\[^-~]*$'; then
		ok "name $shown: recorded as it is" grep -qF "/vault/$n\"" "$SCRATCH/records"
	else
		ok "name $shown: its bytes are recorded" grep -qF -e "$b64" -e '\\' "$SCRATCH/records"
	fi
done
for n in 0 1 2 4; do
	b64=$(printf %s "$TEST_HOME/vault/${names[n]}" | base64 -w0)
	ok "name $(printf %q "${names[n]}"): its bytes can be had back" \
		grep -qF "\"path_b64\":\"$b64\"" "$SCRATCH/records"
done
oknek events --limit 0 >"$SCRATCH/shown"
is "$(tr -d '\n' <"$SCRATCH/shown" | tr -d '\040-\176\200-\377' | wc -c)" 0 \
	"what is shown has no control byte"
nok "and no C1 control, no reversal" grep -qaP '\xc2\x9b|\xe2\x80\xae|\xff' "$SCRATCH/shown"
oknek why >"$SCRATCH/shown" 2>&1
is "$(tr -d '\n' <"$SCRATCH/shown" | tr -d '\040-\176\200-\377' | wc -c)" 0 "nor has the reason"

ok "verify" oknek verify --state-dir "$STATE"
oknek export >"$SCRATCH/export"
seq=$(tail -n 1 "$SCRATCH/export" | "$json" get seq)
is "$(grep -c . "$SCRATCH/export")" "$seq" "export has every record"
nok "the user cannot read the database" as_user cat "$STATE/oknek.db"
ok "the daemon stops cleanly" stop_daemon
ok "verify when it is gone" oknek verify --state-dir "$STATE"

# tampered DESC SQL [ERE]: on a copy, verify finds it and says where.
tampered() {
	rm -rf "$SCRATCH/copy"
	cp -a "$STATE" "$SCRATCH/copy"
	"$(bin atk_tamper)" "$SCRATCH/copy/oknek.db" "$2" >/dev/null ||
		{ fail "$1" "the change could not be made"; return; }
	exits 1 "$1: verify notices" oknek verify --state-dir "$SCRATCH/copy"
	like "$(cat "$SCRATCH/out")" "${3:-[0-9]}" "$1: and says where"
}
tampered "one word altered" \
	"update events set json = replace(json, 'denied', 'allowed') where seq = 3" '\b3\b'
tampered "signature altered" \
	"update events set sig = (select sig from events where seq = 2) where seq = 4" '\b4\b'
tampered "record removed" "delete from events where seq = 5" '\b[56]\b'
tampered "the last one removed" "delete from events where seq = (select max(seq) from events)"
tampered "the last five removed" "delete from events where seq > (select max(seq) - 5 from events)"
tampered "all removed" "delete from events"
tampered "the first removed" "delete from events where seq = 1" '\b[12]\b'
tampered "two in each other's place" \
	"update events set seq = -1 where seq = 2; update events set seq = 2 where seq = 3;
	 update events set seq = 3 where seq = -1" '\b[23]\b'
rm -rf "$SCRATCH/copy"
cp -a "$STATE" "$SCRATCH/copy"
head -c 32 /dev/urandom >"$SCRATCH/copy/host.pub"
nok "another key: verify does not hold" oknek verify --state-dir "$SCRATCH/copy"
line=$(tail -n 1 "$SCRATCH/export")
exits 1 "a head that was never there" oknek verify --state-dir "$STATE" \
	--head "$(echo "$line" | "$json" get seq):$(printf 'ab%.0s' {1..32})"
done_testing
