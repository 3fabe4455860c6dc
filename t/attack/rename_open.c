/* SPDX-License-Identifier: Apache-2.0 */
/* The secret moves to another directory under another name, and is opened there. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_scratch(argc, argv), "zzz");
	int ret;

	if (rename(secret, name) < 0)
		return attack_cannot("rename");
	ret = attack_open(name);
	if (rename(name, secret) < 0)
		return attack_cannot("rename back");
	return ret;
}
