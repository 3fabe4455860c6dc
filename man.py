import re,subprocess
def sub(p,*prs):
    s=open(p).read()
    for a,b in prs:
        assert a in s,(p,a)
        s=s.replace(a,b,1)
    open(p,'w').write(s)
def routes(f,macro):
    s=open(f).read()
    r=[(n,'DENIED' if c=='true' else 'OPEN') for n,c in re.findall(r'^\tROUTE\("([^"]*)", (true|false),',s,re.M)]
    r+= [(n,'DENIED') for n in re.findall(r'^\tROUTE\("([^"]*)", [a-z]',s,re.M) if not r or n not in [x for x,_ in r]]
    r+= [(n,'DENIED') for n in re.findall(r'\.name = "([^"]*)"',s)]
    return r
opens=routes('tools/cli_prove_open.c',1); conns=routes('tools/cli_prove_connect.c',1); execs=routes('tools/cli_prove_exec.c',1)
hand=re.findall(r'^\t\{ "([^"]*)",',open('tools/cli_prove_handoff.c').read(),re.M)
def table(r):
    return ''.join('.It %s Ta %s\n'%(n,w) for n,w in r)
notes={'ld.so':'OPEN','memfd':'OPEN','copy':'OPEN','script':'OPEN'}
page='''.Ss Proving
.Ql oknek doctor --prove
shows what the rules hold on this host, by trying it.
It makes a directory
.Pa .oknek-prove-XXXXXX
in the home of the user
.Pq or in Ar dir
with files that the rules name, as if that were a home; starts a process there that the daemon watches from
birth, as an agent
.Dq oknek-prove ;
and has that try every rule by every route of the tables below: files of the rules that are below
.Ql ~
or begin with
.Li ** ;
destinations of R5 and its like, at addresses that are nobody's (RFC 5737, RFC 3849) or the metadata
service's; and a shell with a chain of commands, each of which is
.Ql \\&: .
What a rule protects for real is not opened, and nothing waits for an answer from the network.
A process that nobody watches tries each route once before: what fails for it cannot be tried here.
Hand-offs to processes that are not watched are only reached for: a connection that says nothing,
.Ql crontab -l ,
.Ql atq .
.Pp
Each line of what it prints is one rule by one route:
.Bl -tag -width "not tried"
.It Cm DENIED
.Er EPERM ,
or killed before the first instruction; by the mechanism of the record, with the milliseconds that the
attempt took.
.It Cm DETECTED
It happened, and is recorded.
.It Cm OPEN
It happened, and no record tells of it.
.It Cm not tried
It fails here for anybody, or there is nothing harmless to try the rule on: why.
.El
.Pp
A rule claims to block what its action blocks, if it is bound to a mechanism of the kernel's, by the routes
that are
.Cm DENIED
in the tables; R5 claims foreign destinations and sockets of services where the egress jail is closed.
What is
.Cm OPEN
or
.Cm DETECTED
though a rule claims it is said at the end, and the command exits with 1; with 2 if it could not be done.
Each attempt has four seconds, and the whole less than a minute.
.Pp
In observe mode, and during a pause, decoys alone are enforced: that directory, a copy of
.Pa /bin/sh
in it, and the connections of that tree.
Everybody else is let, and recorded, as before; a rule that BPF-LSM would hold is shown as held by fanotify then.
.Pp
Operators and admins may do this, one at a time, members of watched trees never; as another user
.Pq Fl -user
only root.
What is decided about the tree is recorded as for any other, who asked (O2), and the whole table (O3
.Cm prove ) ,
which is signed as all records are:
.Ql oknek events --rule O3 ,
.Ql oknek export --rule O3 .
The records of one run have the same
.Cm session .
Decoys and processes are gone when it ends, also when it is killed.
.Pp
With
.Fl -json
one object:
.Cm mode , user , session ;
.Cm counts
with
.Cm denied , detected , open , not_tried , failed ;
.Cm cells
with
.Cm rule , route , result
.Pq Cm DENIED , DETECTED , OPEN , NOT_TRIED ,
.Cm mechanism , ms , claimed , failed , recorded
.Pq the verdict of the record, or null
and
.Cm why ;
.Cm not_tried
with
.Cm rule
and
.Cm why .
.Pp
.Pa oknek-prove.timer
does it each day:
.Ql systemctl enable --now oknek-prove.timer .
.Pp
.\\" routes
Files:
.Bl -column "bind mount of its directory" "DENIED" -compact
'''+table(opens)+'''.El
Connections:
.Bl -column "bind mount of its directory" "DENIED" -compact
'''+table(conns)+'''.El
Programs, of which what is open by a copy of a shell or by the loader is detected by
.Cm ebpf :
.Bl -column "bind mount of its directory" "DENIED" -compact
'''+table(execs)+'''.El
Hand-offs, where there are such:
.Bl -column "bind mount of its directory" "DENIED" -compact
'''+table([(n,'OPEN') for n in hand])+'''.El
.\\" end of routes
'''
page=page.replace("editor's","editor's")
sub('man/oknek.8',('''On a host in FIPS mode records''','''On a host in FIPS mode records'''),('''.Sh REPLAY
''',page+'''.Sh REPLAY
'''),
('''.It Cm doctor Oo Fl -all Oc Oo Fl -config Ar file Oc Oo Fl -state-dir Ar dir Oc Op Fl -rules Ar dir
What the daemon holds, what this host lacks, and what that means for which rule;
see
.Sx DOCTOR .
''','''.It Cm doctor Oo Fl -all Oc Oo Fl -config Ar file Oc Oo Fl -state-dir Ar dir Oc Op Fl -rules Ar dir
What the daemon holds, what this host lacks, and what that means for which rule;
see
.Sx DOCTOR .
.It Cm doctor Fl -prove Oo Fl -brief Oc Oo Fl -user Ar name Oc Op Fl -in Ar dir
Try every rule by every route, on decoys, and print what was denied, detected and open;
.Fl -brief
prints a line per rule.
As the user
.Ar name ,
or who calls, with decoys in that user's home, or
.Ar dir ;
see
.Sx Proving .
'''),
('''may also
.Cm allow
and
.Cm block ,
''','''may also
.Cm allow ,
.Cm block
and
.Cm doctor Fl -prove ,
'''),('''exit with 1 if they found something; a
.Cm note
of
.Cm doctor
is nothing.
''','''exit with 1 if they found something; a
.Cm note
of
.Cm doctor
is nothing.
.Cm doctor Fl -prove
exits with 1 if something is let through that a rule claims to block.
'''))
sub('CHANGES.md',('''- **Least privilege**: lists''','''- **Proof**: `oknek doctor --prove` tries every rule by every route, on decoys, in a tree of its own, and
  prints what was DENIED, DETECTED or OPEN, by which mechanism and in what time; it exits with 1 where a
  rule claims more than it holds. In observe mode decoys alone are enforced. The table is signed evidence
  (O3); `oknek-prove.timer` repeats it each day.
- **Least privilege**: lists'''))
sub('GNUmakefile',('''	$(UNITDIR)/oknekd-sleep.service \\
	$(SYS''','''	$(UNITDIR)/oknekd-sleep.service $(UNITDIR)/oknek-prove.service $(UNITDIR)/oknek-prove.timer \\
	$(SYS'''),('''	$(Q)$(INSTALL) -m 644 tools/packaging/oknekd-sleep.service $(DESTDIR)$(UNITDIR)
''','''	$(Q)sed 's|@BINDIR@|$(BINDIR)|g' tools/packaging/oknek-prove.service \\
		>$(DESTDIR)$(UNITDIR)/oknek-prove.service
	$(Q)chmod 644 $(DESTDIR)$(UNITDIR)/oknek-prove.service
	$(Q)$(INSTALL) -m 644 tools/packaging/oknekd-sleep.service tools/packaging/oknek-prove.timer \\
		$(DESTDIR)$(UNITDIR)
'''))
open('tools/packaging/oknek-prove.service','w').write('''# SPDX-License-Identifier: Apache-2.0
# Not sandboxed: what the unit could not do would be taken for what nobody can do here.
[Unit]
Description=Try what the rules of oknek hold, on decoys
Documentation=man:oknek(8)
After=oknekd.service
Requisite=oknekd.service

[Service]
Type=oneshot
# As whom agents run: --user NAME
ExecStart=@BINDIR@/oknek doctor --prove --brief
TimeoutStartSec=3min
''')
open('tools/packaging/oknek-prove.timer','w').write('''# SPDX-License-Identifier: Apache-2.0
[Unit]
Description=Try each day what the rules of oknek hold
Documentation=man:oknek(8)

[Timer]
OnCalendar=daily
RandomizedDelaySec=1h
Persistent=yes

[Install]
WantedBy=timers.target
''')
sub('t/0005-install.t',('''/usr/lib/systemd/system/oknekd-sleep.service \\
''','''/usr/lib/systemd/system/oknekd-sleep.service \\
	/usr/lib/systemd/system/oknek-prove.service /usr/lib/systemd/system/oknek-prove.timer \\
'''),('''is "$(find "$dest" -type f -perm /022)"''','''is "$(sed -n 's/^ExecStart=//p' "$dest/usr/lib/systemd/system/oknek-prove.service")" \\
	"/usr/bin/oknek doctor --prove --brief" "as does that which tries the rules"
is "$(find "$dest" -type f -perm /022)"'''))
sub('t/0008-unit.t',('''	systemd-analyze verify "$SCRATCH/unit/oknekd.service" "$SCRATCH/unit/oknekd-sleep.service" \\
''','''	sed 's|@BINDIR@/oknek |/bin/true |; /^Documentation=/d' tools/packaging/oknek-prove.service \\
		>"$SCRATCH/unit/oknek-prove.service"
	sed '/^Documentation=/d' tools/packaging/oknek-prove.timer >"$SCRATCH/unit/oknek-prove.timer"
	systemd-analyze verify "$SCRATCH/unit/oknekd.service" "$SCRATCH/unit/oknekd-sleep.service" \\
		"$SCRATCH/unit/oknek-prove.service" "$SCRATCH/unit/oknek-prove.timer" \\
'''),('''grep 'oknekd.*service' "$SCRATCH/said"''','''grep -E 'oknek[-a-z]*\\.(service|timer)' "$SCRATCH/said"'''))
sub('t/4050-prove.t',('''# ---- evidence ----''','''# The manual's table is this one.
sed -n '/^\\.\\\\" routes$/,/^\\.\\\\" end of routes$/p' man/oknek.8 | sed -n 's/^\\.It \\(.*\\) Ta \\(.*\\)/\\1 \\2/p' |
	sort -u >"$SCRATCH/manual"
jq -r '.cells[] | select(.rule == "R1" or .rule == "R5" or .rule == "R3/aws" or .rule == "hand-off") |
	.route |= sub("^(foreign|metadata|service), "; "") | .route' "$SCRATCH/json" | sort -u >"$SCRATCH/routes"
is "$(sed 's/ [A-Z]*$//' "$SCRATCH/manual" | sort -u)" "$(cat "$SCRATCH/routes")" "the manual has these routes"
is "$(jq -r '.cells[] | select(.rule == "R3/aws" and .result != "NOT_TRIED") | "\\(.route) \\(.result)"' \\
	"$SCRATCH/json" | sort | comm -23 - "$SCRATCH/manual")" "" "and says what becomes of them"

# ---- evidence ----'''))
