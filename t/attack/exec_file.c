/* SPDX-License-Identifier: Apache-2.0 */
/* execve of the secret itself. It is a script whose interpreter prints it. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	char *const args[] = { (char *)attack_secret(argc, argv), NULL };

	return attack_program(args);
}
