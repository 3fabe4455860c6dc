/* SPDX-License-Identifier: Apache-2.0 */
/* A second name made from an O_PATH descriptor, without naming the secret in the link call. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_scratch(argc, argv), "linked");
	char self[64];
	int fd = open(secret, O_PATH | O_CLOEXEC), ret;

	if (fd < 0)
		return attack_cannot("O_PATH");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	unlink(name);
	if (linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0)
		return attack_cannot("linkat");
	ret = attack_open(name);
	unlink(name);
	return ret;
}
