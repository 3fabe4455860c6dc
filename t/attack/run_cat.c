/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent does first. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	char *const args[] = { "/bin/cat", (char *)attack_secret(argc, argv), NULL };

	return attack_program(args);
}
