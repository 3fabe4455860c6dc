/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring opens in our own context: no openat system call is made. */
#include "t/attack/uring.h"

int main(int argc, char **argv)
{
	return uring_attack(attack_secret(argc, argv), 0, 0);
}
