/* SPDX-License-Identifier: Apache-2.0 */
/* The plain case: open, read, print. Linked statically too, by the test. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	return attack_open(attack_secret(argc, argv));
}
