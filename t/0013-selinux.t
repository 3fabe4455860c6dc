#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SELinux policy module compiles, has a type for each place that make install knows, and is installed and
# removed with the rest. That a policy takes it, and what it then permits, is t/8060's.
. "$(dirname "$0")/lib.sh"
need_build oknek oknekd
need_command checkmodule semodule_package semodule semodule_unpackage
devel=/usr/share/selinux/devel/Makefile
[ -e $devel ] || skip_all "needs $devel: make deps"
dest=$SCRATCH/dest

# What is built here lies apart; the programs are taken as they are.
out=$SCRATCH/out.d
mkdir -p "$out"
for f in oknek oknekd oknek_preload.so pack; do ln -s "$BUILD/$f" "$out/$f"; done
run_make() { make --no-print-directory -o all B="$out" PREFIX=/usr DESTDIR="$dest" "$@"; }
labels() { # of a module, without what their file has of comments
	semodule_unpackage "$1" "$SCRATCH/mod" "$SCRATCH/fc" && grep '^/' "$SCRATCH/fc"
}

ok "make selinux" run_make selinux
is "$(labels "$out/selinux/oknek.pp")" "/usr/sbin/oknekd	--	system_u:object_r:oknekd_exec_t:s0
/etc/oknek(/.*)?	system_u:object_r:oknekd_conf_t:s0
/var/lib/oknek(/.*)?	system_u:object_r:oknekd_var_lib_t:s0
/run/oknek(/.*)?	system_u:object_r:oknekd_runtime_t:s0" "each place has its type"
ok "for other places" run_make selinux B="$SCRATCH/other" PREFIX=/opt/oknek-0.1 BINDIR=/nowhere STATEDIR=/srv/ok.nek \
	RUNDIR=/run/other SYSCONFDIR=/usr/etc
is "$(labels "$SCRATCH/other/selinux/oknek.pp" | cut -f1)" '/opt/oknek-0\.1/sbin/oknekd
/usr/etc/oknek(/.*)?
/srv/ok\.nek(/.*)?
/run/other(/.*)?' "too, literally"
sed -n 's/^StateDirectory=/\/var\/lib\//p; s/^RuntimeDirectory=/\/run\//p' tools/packaging/oknekd.service |
	while read -r d; do grep -q "^$d(" "$out/selinux/oknek.fc" || echo "$d"; done >"$SCRATCH/missing"
is "$(cat "$SCRATCH/missing")" "" "also those that the service manager makes"
# Of one that is missing here the daemon has to do without, and each try is noted as denied.
is "$(sed '/^#/d' "$out/selinux/oknek.te" | tr '\n' ' ' | grep -o 'self:capability2\? [^;]*' | sed 's/^[^ ]*//' |
	tr -s '{} \t' '\n' | grep . | sort)" \
	"$(sed -n '/^CapabilityBoundingSet=/,/[^\\]$/p' tools/packaging/oknekd.service | grep -o 'CAP_[A-Z_]*' |
		sed 's/^CAP_//' | tr A-Z a-z | sort)" "its capabilities are those of the unit"

# ---- which goes where ------------------------------------------------------------------------------
pp=$dest/usr/share/selinux/packages/oknek.pp
ok "make install DESTDIR=" run_make install
ok "puts the module there" cmp "$pp" "$out/selinux/oknek.pp"
is "$(find "$dest" -path '*selinux*' -type f)" "$pp" "and loads it nowhere"
ok "make uninstall" run_make uninstall
is "$(find "$dest" -name 'oknek*')" "" "removes it"
ok "make install SELINUX=no" run_make install SELINUX=no
ok "leaves it out" test ! -e "$pp"
ok "so does auto, without the policy's headers" run_make install SELINUX_DEVEL=/nowhere
ok "none is there" test ! -e "$pp"
rm -rf "$out/selinux"
nok "SELINUX=yes needs them" run_make install SELINUX=yes SELINUX_DEVEL=/nowhere
like "$(cat "$SCRATCH/out")" 'no /nowhere \(Debian: selinux-policy-dev\)' "and says so"
printf 'oknek.pp:\n\techo no such interface; false\n' >"$SCRATCH/Makefile"
nok "and headers that it can be built with" run_make install SELINUX=yes SELINUX_DEVEL="$SCRATCH/Makefile"
like "$(cat "$SCRATCH/out")" 'no such interface' "which say why"
ok "auto: where it cannot, the rest is installed" run_make install SELINUX_DEVEL="$SCRATCH/Makefile"
like "$(cat "$SCRATCH/out")" 'installed without the SELinux policy module' "and that is said"
nok "another word is refused" run_make install SELINUX=maybe
like "$(cat "$SCRATCH/out")" 'SELINUX=maybe: auto, yes, or no' "with those that there are"

# Where the host has no SELinux, auto does not touch it: no module is looked for, none built. For the host
# itself nothing is installed here; only the script is asked.
mkdir "$SCRATCH/fake"
printf '#!/bin/sh\nexit %s\n' 1 >"$SCRATCH/fake/selinuxenabled"
printf '#!/bin/sh\necho "$0 $*" >>%s/called\n' "$SCRATCH" >"$SCRATCH/fake/semodule"
cp "$SCRATCH/fake/semodule" "$SCRATCH/fake/restorecon"
chmod +x "$SCRATCH"/fake/*
host() { PATH=$SCRATCH/fake:$PATH sh tools/selinux.sh "$@"; }
is "$(host wanted auto '')" "" "auto: not on a host without SELinux"
ok "where loading does nothing" host load auto '' /nowhere.pp /nowhere
ok "nobody was called" test ! -e "$SCRATCH/called"
printf '#!/bin/sh\nexit 0\n' >"$SCRATCH/fake/selinuxenabled"
is "$(host wanted auto '')" yes "auto: on one with SELinux"
ok "it is loaded" host load auto '' /somewhere.pp / /nowhere
is "$(cat "$SCRATCH/called")" "$SCRATCH/fake/semodule -i /somewhere.pp
$SCRATCH/fake/restorecon -RF /" "and what is there gets its labels"
is "$(SELINUX_DEVEL=/nowhere host wanted auto '' 2>"$SCRATCH/said")" "" "auto: nothing without the headers"
like "$(cat "$SCRATCH/said")" 'keep oknekd from denying anything' "and says what comes of it"
is "$(host wanted no '')" "" "no: not there either"
rm "$SCRATCH/called"
ok "no: nothing is loaded" host load no '' /somewhere.pp /
ok "no: nobody was called" test ! -e "$SCRATCH/called"
done_testing
