/* SPDX-License-Identifier: Apache-2.0 */
/* Opened for writing and reading, nothing is written. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	return attack_read(open(attack_secret(argc, argv), O_RDWR | O_APPEND | O_CLOEXEC));
}
