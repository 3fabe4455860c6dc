/* SPDX-License-Identifier: Apache-2.0 */
/* The path begins at /proc/self/root. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	return attack_open(attack_path("/proc/self/root", attack_secret(argc, argv) + 1));
}
