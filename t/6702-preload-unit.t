#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek watch --unit writes a drop-in for a service and nothing else; unwatch --unit removes that alone.
. "$(dirname "$0")/lib.sh"
need_bin oknek oknek_preload.so
need_command jq

root=$SCRATCH/root
units=$root/etc/systemd/system lib=$root/usr/lib/systemd/system
mkdir -p "$units" "$lib" "$root/etc/systemd/user"
unit() { printf '[Service]\nExecStart=/bin/true\n%s\n' "${2-}" >"$1"; }
watch() { oknek watch --unit "$@" --root "$root"; }
unwatch() { oknek unwatch --unit "$@" --root "$root"; }
files() { (cd "$root" && find . -type f -o -type l) | sort; }
line() { sed -n "s/^Environment=LD_PRELOAD=//p" "$1/50-oknek.conf"; }

unit "$units/ollama.service"
unit "$lib/other.service" 'Environment=A=b "LD_PRELOAD=/usr/lib/libjemalloc.so /usr/lib/second.so" C=d'
unit "$lib/plain.service" 'Environment=A=b LD_PRELOAD=/usr/lib/libjemalloc.so C=d'
unit "$lib/worker@.service"
shim=$(realpath "$(bin oknek_preload.so)")
before=$(files)

ok "a unit" watch ollama
dropin=$units/ollama.service.d/50-oknek.conf
like "$(cat "$SCRATCH/out")" 'systemctl restart ollama.service|daemon-reload' "says what is left to do"
like "$(cat "$SCRATCH/out")" 'ollama.service: it is not recorded: ' "and, without a daemon, that nobody heard of it"
is "$(stat -c %a "$dropin")" 644 "everybody may read it"
is "$(line "$units/ollama.service.d")" "$shim" "the shim is preloaded"
ok "it asks to be watched" grep -qx 'Environment=OKNEK_PRELOAD_WATCH=ollama OKNEK_PRELOAD_DEFAULT=allow' "$dropin"
ok "and is watched in any case" grep -q '^ExecStartPost=-+.*/oknek .*watch --unless-watched --agent ollama \$MAINPID$' "$dropin"
ok "after the daemon" grep -qx 'After=oknekd.service' "$dropin"
is "$(files | grep -vxF "$before")" ./etc/systemd/system/ollama.service.d/50-oknek.conf "nothing else is written"
ok "again" watch ollama.service --agent my-agent --preload-default deny
ok "with another name and default" grep -qx 'Environment=OKNEK_PRELOAD_WATCH=my-agent OKNEK_PRELOAD_DEFAULT=deny' "$dropin"
is "$(line "$units/ollama.service.d")" "$shim" "what it preloads itself is not taken for the unit's"
if command -v systemd-analyze >/dev/null; then
	unlike "$(SYSTEMD_LOG_LEVEL=warning systemd-analyze --root="$root" verify ollama.service 2>&1 | grep 50-oknek)" . \
		"systemd finds nothing wrong with it"
fi

ok "a unit that preloads something" watch plain
is "$(line "$units/plain.service.d")" "$shim:/usr/lib/libjemalloc.so" "keeps it"
mkdir -p "$units/ollama.service.d"
printf '[Service]\nEnvironment="LD_PRELOAD=/opt/x.so"\n' >"$units/ollama.service.d/10-x.conf"
ok "so does one whose drop-in does" watch ollama
is "$(line "$units/ollama.service.d")" "$shim:/opt/x.so" "behind the shim"
ok "one that preloads two" watch other
is "$(line "$units/other.service.d")" "$shim:/usr/lib/libjemalloc.so:/usr/lib/second.so" "keeps both"
printf '[Service]\nEnvironment="LD_PRELOAD=/opt/%%i.so"\n' >"$units/ollama.service.d/10-x.conf"
exits 2 "what a unit file takes for something else" watch ollama
like "$(cat "$SCRATCH/out")" 'LD_PRELOAD' "is refused, with the reason"
rm "$units/ollama.service.d/10-x.conf" && printf '[Service]\n' >"$units/ollama.service.d/10-x.conf"
printf '[Service]\nEnvironment="LD_PRELOAD=/opt/x.so"\n' >"$units/ollama.service.d/10-x.conf"
printf '[Service]\nEnvironment=\n' >"$units/ollama.service.d/20-none.conf"
ok "one that takes it back" watch ollama
is "$(line "$units/ollama.service.d")" "$shim" "has the shim alone"
printf '[Service]\nEnvironment=A=b \\\n# said\n  LD_PRELOAD=/opt/y.so \\\n C=d\n' >"$units/ollama.service.d/30-long.conf"
ok "one that says it over several lines" watch ollama
is "$(line "$units/ollama.service.d")" "$shim:/opt/y.so" "keeps it"
printf '[Service]\nEnvironment =\nEnvironmentFile=-/etc/default/my\nEnvironmentFile=/etc/not-there\n' >"$units/ollama.service.d/30-long.conf"
mkdir -p "$root/etc/default" && echo 'A=b' >"$root/etc/default/my"
ok "one that has a file for it" watch ollama
echo 'LD_PRELOAD=/opt/z.so' >>"$root/etc/default/my"
exits 2 "which takes the place of ours" watch ollama
like "$(cat "$SCRATCH/out")" 'EnvironmentFile=/etc/default/my sets LD_PRELOAD' "is refused, with the reason"
printf '[Service]\nEnvironment="LD_PRELOAD=/opt/\r.so"\n' >"$units/ollama.service.d/30-long.conf"
exits 2 "so is what ends a line" watch ollama
rm "$units/ollama.service.d/30-long.conf"

# ---- links, and others' files ---------------------------------------------------------------------------

mkdir -p "$SCRATCH/outside/ollama.service.d" "$SCRATCH/evil/etc/systemd" "$SCRATCH/evil/usr/lib/systemd/system"
unit "$SCRATCH/evil/usr/lib/systemd/system/ollama.service"
ln -s "$SCRATCH/outside" "$SCRATCH/evil/etc/systemd/system"
exits 2 "a link that leads out of --root" oknek watch --unit ollama --root "$SCRATCH/evil"
rm "$SCRATCH/evil/etc/systemd/system" && mkdir "$SCRATCH/evil/etc/systemd/system"
ln -s "$SCRATCH/outside/ollama.service.d" "$SCRATCH/evil/etc/systemd/system/ollama.service.d"
exits 2 "one in the place of our directory" oknek watch --unit ollama --root "$SCRATCH/evil"
is "$(find "$SCRATCH/outside" -type f)" "" "nothing is written there"
rm "$SCRATCH/evil/etc/systemd/system/ollama.service.d"
ln -s /usr/lib/systemd/system/ollama.service "$SCRATCH/evil/etc/systemd/system/other.service"
ok "a link within is followed as it is meant" oknek watch --unit other --root "$SCRATCH/evil"
printf '[Service]\nNice=1\n' >"$SCRATCH/evil/etc/systemd/system/other.service.d/50-oknek.conf"
exits 2 "a drop-in that somebody else wrote" oknek watch --unit other --root "$SCRATCH/evil"
is "$(sed -n 2p "$SCRATCH/evil/etc/systemd/system/other.service.d/50-oknek.conf")" Nice=1 "is left alone"
is "$(find "$SCRATCH/evil" -name '.oknek*')" "" "and nothing else is left"

ok "a template" watch worker@
ok "an instance" watch worker@7 --agent seven
ok "of which each has its own" test -s "$units/worker@.service.d/50-oknek.conf" -a -s "$units/worker@7.service.d/50-oknek.conf"
is "$(oknek --json watch --unit ollama --root "$root" | jq -c '[.unit, .agent, .reloaded, .recorded]')" \
	'["ollama.service","ollama",false,false]' "--json"

for bad in '' . .. ../x a/b 'a b' -x 'a;b' $'a\nb' x.timer x.socket oknekd oknekd.service "$(printf '%0300d' 1)"; do
	exits 2 "refused: \"$(printf %.20s "$bad" | tr "\n" "?")\"" oknek watch --root "$root" --unit="$bad"
done
exits 2 "one that there is not" watch nosuch
like "$(cat "$SCRATCH/out")" 'there is no unit nosuch.service' "which is said"
exits 2 "an agent's name" watch ollama --agent 'a b'
exits 2 "a default" watch ollama --preload-default maybe
exits 2 "a unit and a process" oknek watch --unit ollama --root "$root" 1
exits 2 "--root without --unit" oknek watch --root "$root" 1
is "$(find "$root" -name '.oknek*')" "" "nothing half-written is left"

mkdir -p "$root/etc/systemd/user" && unit "$root/etc/systemd/user/mine.service"
ok "a user's unit" watch mine --user
unlike "$(cat "$root/etc/systemd/user/mine.service.d/50-oknek.conf")" 'oknekd.service|=-\+' "does not ask for what its manager has not"
ok "is removed" unwatch mine --user

# ---- removal ----------------------------------------------------------------------------------------

ok "unwatch" unwatch ollama
like "$(cat "$SCRATCH/out")" 'it is not recorded: ' "of which nobody hears either"
is "$(cd "$units/ollama.service.d" && echo *)" "10-x.conf 20-none.conf" "leaves others' drop-ins"
exits 2 "twice" unwatch ollama
rm "$lib/plain.service"
ok "also of a unit that is gone" unwatch plain
[ ! -e "$units/plain.service.d" ]; is $? 0 "with its directory"
printf '[Service]\nNice=1\n' >"$units/worker@.service.d/50-oknek.conf"
exits 2 "a file that somebody else wrote" unwatch worker@
ok "is left alone" grep -q Nice=1 "$units/worker@.service.d/50-oknek.conf"
ok "an instance's" unwatch worker@7
done_testing
