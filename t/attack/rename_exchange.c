/* SPDX-License-Identifier: Apache-2.0 */
/* The secret and an ordinary file of ours change places in one step. */
#include "t/attack/attack.h"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_scratch(argc, argv), "decoy");
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), ret;

	if (fd < 0)
		return attack_cannot("%s", name);
	close(fd);
	if (syscall(SYS_renameat2, AT_FDCWD, secret, AT_FDCWD, name, RENAME_EXCHANGE) < 0) {
		ret = attack_cannot("exchange");
		unlink(name);
		return ret;
	}
	ret = attack_open(name);
	if (syscall(SYS_renameat2, AT_FDCWD, secret, AT_FDCWD, name, RENAME_EXCHANGE) < 0)
		return attack_cannot("exchange back");
	unlink(name);
	return ret;
}
