/* SPDX-License-Identifier: Apache-2.0 */
/* A shell is given the secret as its script and echoes the lines as it reads them. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	char *const args[] = { "/bin/sh", "-v", (char *)attack_secret(argc, argv), NULL };

	return attack_program(args);
}
