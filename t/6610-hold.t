#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A rule that says on_block: hold keeps the opener waiting until an operator answers, or its deadline.
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq python3
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs || { fail "the scene"; done_testing; }
hold aws.yaml
write_config "hold: {deadline: 20s}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
like "$(oknek --json rules | jq -r '.mechanism')" '^fanotify$' "the rule is held by fanotify"

# --- allowed, once -----------------------------------------------------------------------------
mkdir "$SCRATCH/fake" && printf '#!/bin/sh\necho "$@" >>"%s/told"\n' "$SCRATCH" >"$SCRATCH/fake/notify-send"
chmod 755 "$SCRATCH/fake/notify-send"
# By its path: what PATH leads to is not started.
desktop=false
[ ! -e /usr/bin/notify-send ] || { mount --bind "$SCRATCH/fake/notify-send" /usr/bin/notify-send && desktop=true; }
"$(bin oknek)" --run-dir "$RUN" pending --watch --notify >"$SCRATCH/watched" 2>&1 &
watcher=$!
opens "$(bin plain_open)" "$SECRET"
ok "an open of the secret is held" wait_for 15 held 1
p=$(pending)
is "$(jq -r '[.rule,.on_timeout,.kind,.path,.agent,.process.comm]|join(" ")' <<<"$p")" \
	"X700 deny file_opened $SECRET claude-code plain_open" "pending says who waits for what"
is "$(jq '.deadline - .since' <<<"$p")" 20 "since when, until when"
like "$(oknek pending)" "^TOKEN.*
t$(jq .token <<<"$p") .*deny +X700 +.*\.aws/credentials" "for people, too"
ok "it still waits" held 1
t=$(token)
ok "who watches is told" wait_for 30 grep -q "plain_open $SECRET .*by X700.*oknek allow t$t" "$SCRATCH/watched"
if $desktop; then
	ok "on the desktop, too" wait_for 15 grep -q "held plain_open $SECRET" "$SCRATCH/told"
else
	skip "on the desktop, too" "needs notify-send"
fi
is "$(grep -c . "$SCRATCH/watched")" 1 "once"
kill $watcher
like "$(oknek allow "t$t" --reason "asked on the phone")" '1 answered' "allow by its token"
came 1 0 "it opens"
ok "nothing waits any more" held 0
records_reach 1 O2
rec=$(events --rule O2 --limit 1)
is "$(jq -r '[.capture.command,.capture.caller.uid,.capture.detail.outcome,.capture.detail.reason,.capture.detail.token]|join(" ")' \
	<<<"$rec")" "allow 0 allowed asked on the phone $t" "the act is evidence"
like "$(jq -r .capture.caller.exe <<<"$rec")" '/oknek$' "with who did it"
records_reach 1 X700
rec=$(events --rule X700 --limit 1)
is "$(jq -r '[.verdict,.outcome,.decided_by,.mechanism,.errno]|map(.//"-")|join(" ")' <<<"$rec")" \
	"allow allowed operator fanotify -" "and what became of it is"
out=$(oknek allow "t$t" 2>&1)
is "$?" 2 "a second answer is refused"
like "$out" 'answered already: allowed by uid 0' "and says who was first"

# --- blocked, from then on --------------------------------------------------------------------
as_user mkfifo "$WORK/go"
# shellcheck disable=SC2016 # for that shell
twice='"$1" "$2"; read -r x <"$3"; "$1" "$2"; echo "then $?"'
opens bash -c "$twice" bash "$(bin plain_open)" "$SECRET" "$WORK/go"
wait_for 15 held 1
ok "block by pid" oknek block "$(pending | jq -r .process.pid)"
ok "it does not wait any more" wait_for 15 held 0
timeout 30 sh -c "echo >'$WORK/go'"
wait_for 30 ended 2
like "$(cat "$SCRATCH/got.2")" '^then 1$' "it is refused, and again without asking"
records_reach 3 X700
is "$(events --rule X700 --limit 2 | jq -r '[.verdict,.outcome,.decided_by,.errno]|join(" ")')" \
	"block denied operator EPERM
block denied operator EPERM" "both by the operator"
opens "$(bin plain_open)" "$SECRET"
ok "another tree is asked about" wait_for 15 held 1
p=$(pending)
kill -KILL "$(jq .process.pid <<<"$p")"
ok "who dies while it waits is pending no more" wait_for 15 held 0
wait_for 30 ended 3
records_reach 4 X700
is "$(events --rule X700 --limit 1 | jq -r '[.outcome,.decided_by]|join(" ")')" "gone rule" "and is told of so"
is "$(status_get enforcement.pending)" 0 "its place is free"

# --- by the number that a program reads -------------------------------------------------------
opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
t=$(pending | jq .token)
isnt "$t" "$(pending | jq .process.pid)" "a token is no process"
like "$(oknek allow "$t")" "1 answered.*
.*process $t has nothing held: it is taken for the token t$t" "a number of no process that is held is a token"
came 4 0 "it opens"
out=$(oknek allow "$t" 2>&1)
is "$?" 2 "a second time is refused"
like "$out" 'answered already: allowed by uid 0' "as that token's"
opens "$(bin plain_open)" "$SECRET"
wait_for 15 held 1
p=$(pending)
is "$(oknek --json block "$(jq .token <<<"$p")" | jq -c '[.answered, .by]')" '[1,"token"]' "so with block"
came 5 1 "it is refused"
wait_for 15 held 0
out=$(oknek allow "$(jq .process.pid <<<"$p")" 2>&1)
is "$?" 2 "the number of a process that was answered"
like "$out" 'answered already: blocked.*the token of that number is t' "is that process's first"

# --- who tries the rules -----------------------------------------------------------------------
is "$(proof)" 1 "who tries the rules is denied"
records_reach 7 X700
is "$(events --rule X700 --limit 1 | jq -r '[.verdict,.outcome,.decided_by,.agent.id]|join(" ")')" \
	"block denied rule oknek-prove" "by the rule, and no operator is asked"

ok "the daemon stops cleanly" stop_daemon
done_testing
