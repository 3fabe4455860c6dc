#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pack from https: by a child that may do nothing else, from a server that is who it says it is,
# within limits of size, time and redirections. What is refused leaves nothing.
# sanitize: address
. "$(dirname "$0")/lib.sh"
need_root
need_command openssl
need_bin oknek
cli=$(bin oknek)
cd "$SCRATCH" || exit 1
unset https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
err() { { "$@" >/dev/null; } 2>&1; }
update() { "$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes --cacert ca.pem "$@"; }
refused() { # refused DESC REGEX ARGS…
	local desc=$1 re=$2
	shift 2
	exits 2 "$desc: refused" timeout 30 "$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes "$@"
	like "$(cat "$SCRATCH/out")" "$re" "$desc: and says why"
}

# An authority of our own, another one, and a server for 127.0.0.1.
ca() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" \
		-days 2 -subj "/CN=$1" >/dev/null 2>&1
}
cert() { # cert NAME CA SAN
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" \
		-subj "/CN=$1" >/dev/null 2>&1 &&
		openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.pem" \
			-extfile <(echo "subjectAltName=$3") >/dev/null 2>&1
}
ok "certificates are made" eval 'ca ca && ca other && cert server ca IP:127.0.0.1,DNS:localhost && cert elsewhere ca DNS:elsewhere.invalid'
# serve CERT DIR: sets PORT. Files are whole HTTP answers.
serve() {
	local log=$SCRATCH/server.$1.log end=$((SECONDS + 10))
	(cd "$2" && exec openssl s_server -accept 127.0.0.1:0 -cert "../$1.pem" -key "../$1.key" -HTTP -quiet) \
		>"$log" 2>&1 </dev/null &
	local pid=$!
	while [ $SECONDS -lt $end ]; do
		PORT=$(sed -n 's/^ACCEPT .*:\([0-9]*\).*/\1/p' "$log")
		# With -quiet it does not say: the kernel does.
		[ -n "$PORT" ] || PORT=$(port_of "$pid")
		[ -z "$PORT" ] || return 0
		sleep 0.05
	done
	return 1
}
port_of() {
	local inode hex
	for inode in $(readlink /proc/"$1"/fd/* 2>/dev/null | sed -n 's/^socket:\[\(.*\)\]$/\1/p'); do
		hex=$(awk -v i="$inode" '$10 == i && $4 == "0A" { split($2, a, ":"); print a[2] }' /proc/net/tcp)
		[ -z "$hex" ] || { echo $((16#$hex)); return; }
	done
}
answer() { # answer FILE STATUS [HEADER…] <BODY
	local file=www/$1 status=$2
	shift 2
	{ printf 'HTTP/1.0 %s\r\n' "$status"; [ $# -eq 0 ] || printf '%s\r\n' "$@"; printf '\r\n'; cat; } >"$file"
}

mkdir www one "$STATE"
printf 'id: R1\nname: n\nversion: 1\nkind: file_opened\nmatch: { any_of: [ path: { glob: "/x" } ] }\naction: { default: block }\n' >one/a.yaml
"$cli" pack build --key "$ROOT/tools/packaging/development.key" --pack-version 1.0.0 --output one.tar.gz one >/dev/null
"$cli" pack keygen foreign >/dev/null
"$cli" pack build --key foreign --pack-version 1.0.0 --output foreign.tar.gz one >/dev/null
answer pack.tar.gz '200 OK' <one.tar.gz
answer foreign.tar.gz '200 OK' <foreign.tar.gz
answer endless '200 OK' < <(head -c 20000000 /dev/zero)
answer large '200 OK' 'Content-Length: 900000000' < <(head -c 1000000 /dev/zero)
answer empty '200 OK' </dev/null
answer page '200 OK' <<<'<html>log in first</html>'
answer gone '404 Not Found' </dev/null
# With the very pack as their body.
for code in 203 206 300 302 404 500; do
	answer pack-$code "$code Something" <one.tar.gz
done
cp one.tar.gz www/bare
gzip -c one.tar.gz | answer encoded '200 OK' 'Content-Encoding: gzip'
head -c 16777216 /dev/zero | answer exactly '200 OK' 'Content-Length: 16777216'
head -c 16777217 /dev/zero | answer more '200 OK' 'Content-Length: 16777217'
head -c 300 one.tar.gz | answer cut '200 OK' "Content-Length: $(stat -c %s one.tar.gz)"
answer cut-chunk '200 OK' 'Transfer-Encoding: chunked' < <(printf '%x\r\n' "$(stat -c %s one.tar.gz)"; cat one.tar.gz; printf '\r\n')
{ printf '10000\r\n'; head -c 65536 /dev/zero; printf '\r\n'; } >chunk
answer chunks '200 OK' 'Transfer-Encoding: chunked' < <(for _ in {1..400}; do cat chunk; done)
sed -i 's,^HTTP/1.0,HTTP/1.1,' www/cut-chunk www/chunks
mkfifo www/slow
ok "a server runs" serve server www
at=https://127.0.0.1:$PORT
answer redirect '302 Found' "Location: $at/pack.tar.gz" </dev/null
answer to-http '302 Found' "Location: http://127.0.0.1:$PORT/pack.tar.gz" </dev/null
answer to-file '302 Found' "Location: file:///etc/passwd" </dev/null
answer loop '302 Found' "Location: $at/loop" </dev/null
answer to-user '302 Found' "Location: https://me:secret@127.0.0.1:$PORT/pack.tar.gz" </dev/null

refused "nothing to fetch" 'name a pack \(FILE, DIR or https URL\)' --cacert ca.pem
refused "http" 'only https' "http://127.0.0.1:$PORT/pack.tar.gz"
refused "ftp" 'only https' "ftp://127.0.0.1/pack.tar.gz"
refused "file:" 'only https' "file://$SCRATCH/one.tar.gz"
refused "a server that the host's authorities do not know" 'not who it says it is' "$at/pack.tar.gz"
refused "another authority's" 'not who it says it is' --cacert other.pem "$at/pack.tar.gz"
refused "authorities that are none" 'no certificate in PEM' --cacert one/a.yaml "$at/pack.tar.gz"
refused "a redirection to http" 'redirected to something else than https' --cacert ca.pem "$at/to-http"
refused "a redirection to a file" 'redirected to something else than https' --cacert ca.pem "$at/to-file"
refused "redirections in a circle" 'more than 3 redirections' --cacert ca.pem "$at/loop"
refused "a body without end" 'larger than 16 MiB' --cacert ca.pem "$at/endless"
refused "a body that says it is too large" 'larger than 16 MiB' --cacert ca.pem "$at/large"
refused "an empty answer" 'the answer is empty' --cacert ca.pem "$at/empty"
refused "no such file" 'the server answered 404' --cacert ca.pem "$at/gone"
for code in 203 206 300 302 404 500; do
	refused "a pack in an answer $code" "the server answered $code" --cacert ca.pem "$at/pack-$code"
done
refused "a pack without any answer" 'HTTP/0.9' --cacert ca.pem "$at/bare"
unlike "$(cat "$SCRATCH/out")" redirected "and not for a redirection"
refused "a pack packed once more for the way" 'packed otherwise than once' --cacert ca.pem "$at/encoded"
refused "as much as may be" 'no .tar.gz: it is not packed by gzip' --cacert ca.pem "$at/exactly"
refused "a byte more" 'larger than 16 MiB' --cacert ca.pem "$at/more"
refused "less than was said" 'remaining' --cacert ca.pem "$at/cut"
refused "pieces that do not end" 'remaining' --cacert ca.pem "$at/cut-chunk"
refused "pieces and pieces" 'larger than 16 MiB' --cacert ca.pem "$at/chunks"
refused "a name that does not exist" 'resolve' --cacert ca.pem https://nowhere.invalid/pack.tar.gz
refused "redirected to a user name" 'user name' --cacert ca.pem "$at/to-user"
refused "a page" 'no .tar.gz' --cacert ca.pem "$at/page"
refused "another's pack" 'another key' --cacert ca.pem "$at/foreign.tar.gz"
refused "a user name" 'user name' --cacert ca.pem "https://me:secret@127.0.0.1:$PORT/pack.tar.gz"
refused "nobody there" 'connect' --cacert ca.pem https://127.0.0.1:1/pack.tar.gz
refused "a time that is none" '\-\-timeout takes a duration' --timeout 0 "$at/pack.tar.gz"
ok "nothing was activated" test ! -e "$STATE/rules/active"

# Who fetches. A sanitizer's run is not confined by seccomp.
"$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes --cacert ca.pem --timeout 4 "$at/slow" >slow.out 2>&1 &
pid=$!
child() { kid=$(cat /proc/$pid/task/$pid/children) && [ -n "${kid% }" ] && kid=${kid% } &&
	grep -q '^NoNewPrivs:.1' "/proc/$kid/status" && [ -L "/proc/$kid/fd/4" ]; }
wait_for 3 child
status=$(cat "/proc/$kid/status")
unlike "$status" $'\nUid:\t(0|[0-9]+\t0)' "the child is not root"
like "$status" $'\nGroups:\t ?\n' "and in no group"
like "$status" $'\nCapEff:\t0000000000000000\n' "has no capability"
like "$status" $'\nCapPrm:\t0000000000000000\n' "and can have none"
like "$status" $'\nNoNewPrivs:\t1\n' "nor get any"
case $BUILD in
*build-*) skip "a list of calls" "a sanitizer's" ;;
*) like "$status" $'\nSeccomp:\t2\n' "and a list of what it may ask for" ;;
esac
is "$(readlink /proc/"$kid"/fd/* | grep -c "$SCRATCH/state")" 0 "it holds nothing of the state directory"
like "$(tr '\0' '\n' <"/proc/$kid/limits")" 'Max file size +0 ' "it can write no file"
rc=0
wait "$pid" || rc=$?
is "$rc" 2 "a server that does not answer is waited for so long"
like "$(cat slow.out)" 'it took too long' "and it is said"
is "$(ls /proc/"$kid" 2>/dev/null)" "" "the child is gone"
# Whoever ends us ends the child.
ok "another server" serve server www
"$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes --cacert ca.pem "https://127.0.0.1:$PORT/slow" >slow.out 2>&1 &
pid=$!
wait_for 3 child
kill -KILL "$pid"
wait "$pid" 2>/dev/null || :
ok "a child whose parent was killed ends" wait_for 5 eval '[ ! -e /proc/$kid ]'
is "$(ls -A "$STATE")" "" "nothing is left in the state directory"
# The one that waits for the writer of its page serves nobody else.
ok "another server" serve server www
at=https://127.0.0.1:$PORT
answer redirect '302 Found' "Location: $at/pack.tar.gz" </dev/null
ok "a server with a name that is not its own" serve elsewhere www
refused "who is another" 'not who it says it is' --cacert ca.pem "https://127.0.0.1:$PORT/pack.tar.gz"

ok "a pack is fetched, by a redirection" update "$at/redirect"
ok "and is active" "$cli" pack verify "$STATE/rules/active"
ok "again, by name" update "${at/127.0.0.1/localhost}/pack.tar.gz"
ok "the same again, in capitals" update "HTTPS://${at#https://}/pack.tar.gz"
before=$(cat "$STATE"/rules/active/*.* | sha256sum)
refused "another's pack, then" 'another key' --cacert ca.pem "$at/foreign.tar.gz"
is "$(cat "$STATE"/rules/active/*.* | sha256sum)" "$before" "leaves the active one as it was"
export https_proxy=http://127.0.0.1:1
refused "a proxy of the environment that is not there" 'connect|proxy' --cacert ca.pem "$at/pack.tar.gz"
unset https_proxy
done_testing
