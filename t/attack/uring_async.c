/* SPDX-License-Identifier: Apache-2.0 */
/* An io_uring worker thread opens. */
#include "t/attack/uring.h"

int main(int argc, char **argv)
{
	return uring_attack(attack_secret(argc, argv), 0, IOSQE_ASYNC);
}
