/* SPDX-License-Identifier: Apache-2.0 */
/* A static binary: nothing that is preloaded or interposed gets a say. */
/* LDLIBS: -static */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	return attack_open(attack_secret(argc, argv));
}
