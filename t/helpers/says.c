/* SPDX-License-Identifier: Apache-2.0 */
/* A program of its own, which says that it ran. */
/* LDLIBS: -static */
#include <stdio.h>

int main(void)
{
	return puts("I ran") < 0;
}
