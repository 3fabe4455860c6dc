# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests of holds share. Sourced after t/attack/scene.sh.

# The rule of that file asks an operator.
hold() { sed -i "s/^  default: .*/&\n  on_block: hold/" "$OWN_RULES/$1"; }
# opens: starts one in a tree of its own, for $patience seconds at most; its exit status comes to
# $SCRATCH/rc.N, what it said to got.N.
n=0
opens() {
	n=$((n + 1))
	local k=$n
	{ rc=0; timeout "${patience:-60}" "${IN_TREE[@]}" "$@" >"$SCRATCH/got.$k" 2>&1 || rc=$?
	  echo $rc >"$SCRATCH/rc.$k"; } &
}
pending() { oknek --json pending | jq -c 'select(.held)'; }
held() { [ "$(pending | grep -c .)" = "$1" ]; }
token() { pending | tail -n 1 | jq -r .token; }
ended() { [ -s "$SCRATCH/rc.$1" ]; }
# came N WANT LABEL [WORD]: the N-th has got the secret, or what it wrote (0), or was refused
came() {
	wait_for 30 ended "$1" || { fail "$3" "it still waits"; return; }
	is "$(cat "$SCRATCH/rc.$1")" "$2" "$3"
	[ "$2" != 0 ] || like "$(cat "$SCRATCH/got.$1")" "${4:-$TOKEN}" "$3: with what is in it"
}
# proof: the secret is opened in a tree that tries the rules, as `oknek doctor --prove` has one. Says the
# errno, 0: it was let.
proof() {
	as_user mkdir -p "$TEST_HOME/.oknek-prove-test"
	python3 - "$RUN/oknek.sock" "$TEST_HOME/.oknek-prove-test" "$SECRET" "$TEST_UID" <<-'END'
	import json, os, socket, sys
	sock, home, path, uid = sys.argv[1:]
	r, w = os.pipe()
	pid = os.fork()
	if pid == 0:
	    os.close(w)
	    os.setgroups([])
	    os.setgid(int(uid))
	    os.setuid(int(uid))
	    if not os.read(r, 1):
	        os._exit(254)
	    try:
	        os.open(path, os.O_RDONLY)
	    except OSError as e:
	        os._exit(e.errno)
	    os._exit(0)
	with socket.socket(socket.AF_UNIX) as s:
	    s.connect(sock)
	    s.sendall(json.dumps({"cmd": "prove", "pid": pid, "home": home, "cwd": home}).encode() + b"\n")
	    reply = json.loads(s.makefile().readline())
	if reply["ok"]:
	    os.write(w, b"x")
	else:
	    print(reply)
	os.close(w)
	print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
	as_user rmdir "$TEST_HOME/.oknek-prove-test"
}
