/* SPDX-License-Identifier: Apache-2.0 */
/* Between store/mask*.c alone. */
#ifndef OKNEK_STORE_MASK_PRIV_H
#define OKNEK_STORE_MASK_PRIV_H

#include "store/mask.h"

#define MASKED "[masked]"

/* What a word says of the one that follows it. */
enum mask_next {
	NEXT_ANY,
	NEXT_SECRET,
	NEXT_HEADER,	 /* to the end of a command; may begin with a word that says how */
	NEXT_USER,	 /* user:password, if it has a colon */
	NEXT_CREDENTIAL, /* after Bearer: a secret when it is long enough */
	NEXT_NAMED,	 /* a secret if an = comes first */
	NEXT_PERHAPS,	 /* behind a bare name: a secret unless it is an option or a path */
};

struct mask {
	struct text *t;
	bool masked;
	bool prose;  /* a bare name like `token` says nothing of the next word */
	char letter; /* option of this program that has a secret, as in sshpass -p; 0 none */
	bool shell;  /* the program is one */
	bool first;  /* no word of this command was seen yet */
	enum mask_next next;
};

static inline bool mask_is_space(unsigned char c)
{
	return c <= ' ';
}

/* Bytes of a private key that begins at s, up to its end line; 0 none. *ret_keep: of its first line. */
size_t mask_private_key(const char *s, size_t len, size_t *ret_keep);
/* One word or argument, raw; sets what m says of the next. */
void mask_word(struct mask *m, const char *s, size_t len);
/* Bearer, Basic … */
bool mask_is_scheme(const char *s, size_t len);
void mask_put(struct mask *m, const char *s, size_t len); /* NUL as a space */
void mask_put_masked(struct mask *m);

#endif
