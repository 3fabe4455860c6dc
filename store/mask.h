/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that stand in command lines and environments must not be copied into evidence. */
#ifndef OKNEK_STORE_MASK_H
#define OKNEK_STORE_MASK_H

#include "store/text.h"

/*
 * All append s with what looks like a secret replaced by `[masked]`: known token forms (their prefix
 * stays), values of names like PASSWORD= --token --api-key: , headers like Authorization, user:password
 * in URLs and behind -u, private keys in PEM. Rather they mask too much than too little: what follows
 * a secret's name goes to the end of its argument. Bytes may be any.
 */

/* A script: a secret ends where the word, with its quotes, does. NUL is a space. */
void mask_secrets(struct text *t, const char *s, size_t len);
/* Any text: the same, but the word `token` alone does not make what follows it a secret. */
void mask_prose(struct text *t, const char *s, size_t len);

/* Arguments, a NUL after each (the last may be without); between them sep is put. A secret is a whole
 * argument, or the rest of one; a script for a shell's -c is as above. Returns whether any was masked. */
bool mask_arguments(struct text *t, const char *argv, size_t len, char sep);

#endif
