#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The unit does not put the daemon into a mount namespace, and systemd understands it.
. "$(dirname "$0")/lib.sh"
unit=tools/packaging/oknekd.service

# systemd.exec(5): each of these gives the service a mount namespace of its own, whose marks and
# /proc are not everybody's.
is "$(grep -E '^(Private(Mounts|Tmp|Devices|Users|IPC)|Protect(System|Home|Proc|KernelTunables|KernelModules|KernelLogs|ControlGroups|Hostname)|ProcSubset|(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec)Paths|(Bind|BindReadOnly)Paths|TemporaryFileSystem|RootDirectory|RootImage|MountFlags|DynamicUser|LogNamespace)=' $unit)" \
	"" "no setting makes a mount namespace"
# systemd refuses openat2() with it: it cannot see the mode in there. Nothing could be looked up.
is "$(grep '^RestrictSUIDSGID=' $unit)" "" "no setting refuses openat2()"
for line in Type=notify Restart=always StartLimitIntervalSec=0 WatchdogSec=30s KillMode=process \
	OOMScoreAdjust=-900 OOMPolicy=continue MemoryMax=infinity TasksMax=infinity LimitCORE=0 \
	RuntimeDirectoryPreserve=yes NoNewPrivileges=yes StateDirectory=oknek; do
	ok "$line" grep -qx "$line" $unit
done
is "$(grep -E '^(CPU[A-Z][A-Za-z]*|AllowedCPUs|Nice|Memory(High|Limit|SwapMax)|Limit(AS|CPU|DATA|RSS|NPROC)|IO[A-Z][A-Za-z]*)=' $unit)" \
	"" "no setting takes processor time or memory from it"
for exit in 64 77 78; do
	ok "exit $exit is not tried again" grep -Eq "^RestartPreventExitStatus=.*\b$exit\b" $unit
done
if command -v systemd-analyze >/dev/null; then
	mkdir -p "$SCRATCH/unit"
	sed 's|@SBINDIR@/oknekd|/bin/true|; /^Documentation=/d' $unit >"$SCRATCH/unit/oknekd.service"
	sed '/^Documentation=/d' tools/packaging/oknekd-sleep.service >"$SCRATCH/unit/oknekd-sleep.service"
	sed 's|@BINDIR@/oknek |/bin/true |; /^Documentation=/d' tools/packaging/oknek-prove.service \
		>"$SCRATCH/unit/oknek-prove.service"
	sed '/^Documentation=/d' tools/packaging/oknek-prove.timer >"$SCRATCH/unit/oknek-prove.timer"
	systemd-analyze verify "$SCRATCH/unit/oknekd.service" "$SCRATCH/unit/oknekd-sleep.service" \
		"$SCRATCH/unit/oknek-prove.service" "$SCRATCH/unit/oknek-prove.timer" \
		>"$SCRATCH/said" 2>&1
	is "$(grep -E 'oknek[-a-z]*\.(service|timer)' "$SCRATCH/said")" "" "systemd has nothing to say"
else
	skip "systemd has nothing to say" "no systemd-analyze"
fi
done_testing
