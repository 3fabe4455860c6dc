/* SPDX-License-Identifier: Apache-2.0 */
/* Own user and mount namespace, then a plain open. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int ret = attack_userns(CLONE_NEWNS);

	return ret ? ret : attack_open(secret);
}
