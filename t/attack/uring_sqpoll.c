/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's polling thread of our ring opens. */
#include "t/attack/uring.h"

int main(int argc, char **argv)
{
	return uring_attack(attack_secret(argc, argv), IORING_SETUP_SQPOLL, 0);
}
