/* SPDX-License-Identifier: Apache-2.0 */
/* The secret itself is bind mounted elsewhere, in namespaces of our own. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_scratch(argc, argv), "bound");
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), ret;

	if (fd < 0)
		return attack_cannot("%s", name);
	close(fd);
	ret = attack_userns(CLONE_NEWNS);
	if (ret == 0) {
		if (mount(secret, name, NULL, MS_BIND, NULL) < 0)
			ret = attack_cannot("bind mount");
		else
			ret = attack_open(name);
		umount2(name, MNT_DETACH);
	}
	unlink(name);
	return ret;
}
