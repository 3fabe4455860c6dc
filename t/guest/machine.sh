# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For scripts in the systemd guest, sourced as /payload/machine.sh after tap.sh: a user with a
# secret, the installed daemon as a service, and who opens what. The guest is all ours: nothing is
# limited to a directory here, as on a machine where oknek is installed.

SECRET=/home/dev/.aws/credentials
TOKEN='SECRET-4f9d1c'

a_user() {
	echo 'dev:x:1000:1000::/home/dev:/bin/bash' >>/etc/passwd
	echo 'dev:x:1000:' >>/etc/group
	mkdir -p /home/dev/.aws /home/dev/work
	echo "aws_secret_access_key = $TOKEN" >$SECRET
	echo ordinary >/home/dev/notes.txt
	chown -R 1000:1000 /home/dev
	chmod 700 /home/dev
	printf 'mode: enforce\nagents: {recognise: false}\n' >/etc/oknek/oknek.yaml.d/guest.yaml
	systemd-sysusers >/tmp/sysusers 2>&1
}
as_dev() {
	setpriv --reuid 1000 --regid 1000 --clear-groups -- env HOME=/home/dev USER=dev LOGNAME=dev "$@"
}
member() { as_dev oknek run --agent claude-code -- "$@"; }

# What a reader of the secret got: read, denied, or its complaint.
got() {
	if "$@" timeout 30 cat $SECRET >/tmp/got 2>&1; then
		grep -q $TOKEN /tmp/got && echo read || echo nothing
	elif grep -q "$TOKEN" /tmp/got; then
		echo read
	elif grep -q 'Operation not permitted' /tmp/got; then
		echo denied
	else
		echo "failed: $(head -n 1 /tmp/got)"
	fi
}
enforcing() { [ "$(got member)" = denied ]; }
holds() { # DESC: a member is denied, a stranger is not
	is "$(got member)" denied "$1: a member is denied"
	is "$(got as_dev)" read "$1: a stranger reads"
}

show() { systemctl show -P "$2" "$1"; }
main_pid() { show oknekd MainPID; }
restarted_since() { [ "$(show oknekd NRestarts)" -gt "$1" ]; }
active() { [ "$(systemctl is-active "$1")" = active ]; }
no_daemon() { ! pgrep -x oknekd; }

# Processes that wait for an answer.
held() {
	for p in /proc/[0-9]*/task/[0-9]*; do
		case $(cat "$p/wchan" 2>/dev/null) in
		fanotify_get_response | fanotify_handle_event) echo "${p##*/} $(cat "$p/comm")" ;;
		esac
	done
}
nobody_held() { [ -z "$(held)" ]; }

# number KEY FILE: of KEY=NUMBER in what hammer printed.
number() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" "$2" | tail -n 1; }
kernel_quiet() {
	! dmesg | grep -E 'BUG:|WARNING:|Oops|blocked for more than'
}
