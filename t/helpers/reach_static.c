/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -static */
/* The same in a program that needs no library. */
#include "t/helpers/reach.c"
