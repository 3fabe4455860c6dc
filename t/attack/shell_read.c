/* SPDX-License-Identifier: Apache-2.0 */
/* A shell's own `read`: no helper program is run. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	char *const args[] = {
		"/bin/bash", "-c",
		"while IFS= read -r line; do printf '%s\\n' \"$line\"; done < \"$1\"",
		"bash", (char *)attack_secret(argc, argv), NULL
	};

	return attack_program(args);
}
