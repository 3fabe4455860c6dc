/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that stand in command lines and environments must not be copied into evidence. */
#ifndef OKNEK_STORE_MASK_H
#define OKNEK_STORE_MASK_H

#include "store/text.h"

/*
 * Appends s with what looks like a secret replaced by `[masked]`: known token forms (their prefix
 * stays), values of names like PASSWORD= --token --api-key: , Bearer and Basic credentials,
 * passwords in URLs, private keys in PEM. Bytes may be any, NUL is taken as a space between
 * arguments. Rather masks too much than too little.
 */
void mask_secrets(struct text *t, const char *s, size_t len);

#endif
