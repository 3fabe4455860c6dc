#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a guest: several scripts, SCRIPTS names them, each in a machine that looks as after the boot; one
# boot for all of them. NAME:WORD has HOW=WORD in its environment.
rc=0
for script in $SCRIPTS; do
	echo "# ==== $script"
	HOW=${script#*:} sh "/payload/${script%:*}.sh" || { rc=1 && echo "not ok - $script: all of it"; }
	umount -l /root /home/dev /home/over /tmp/over /tmp/lower 2>/dev/null
	find /tmp /var/lib/oknek /run -mindepth 1 -xdev -delete 2>/dev/null
	sed -i '/^dev:/d; /^over:/d' /etc/passwd /etc/group
done
echo "end - $rc"
exit $rc
