/* SPDX-License-Identifier: Apache-2.0 */
/* The secret's directory becomes the root; a user namespace gives the right to do that. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int ret = geteuid() == 0 ? 0 : attack_userns(0);

	if (ret)
		return ret;
	if (chroot(attack_dirname(secret)) < 0 || chdir("/") < 0)
		return attack_cannot("chroot");
	return attack_open(attack_path("", attack_basename(secret)));
}
