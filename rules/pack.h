/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signed pack of rules, in memory: files by name, as an archive or a folder holds them.
 *
 *   manifest.yaml        name, version, created, expires, previous, rules: [{ file, sha256 }]
 *   rules/NAME.yaml      as many as the manifest lists, and no others
 *   signature.ed25519    64 bytes over sha256(manifest.yaml || rules in the manifest's order)
 *
 * Nothing of a pack is believed before its signature holds, not even its name.
 */
#ifndef OKNEK_RULES_PACK_H
#define OKNEK_RULES_PACK_H

#include <stddef.h>
#include <stdint.h>

#define PACK_FILES_MAX 4096
#define PACK_BYTES_MAX (16u << 20) /* of all files, unpacked */
#define PACK_NAME_MAX 128          /* bytes of a file's name, with rules/ */
#define PACK_HASH_HEX 64
#define PACK_MANIFEST "manifest.yaml"
#define PACK_SIGNATURE "signature.ed25519"

struct pack_error {
	char text[512]; /* one line: what is wrong, and where */
};

struct pack_version {
	uint32_t major, minor, patch;
};

struct pack_rule_file {
	char *name; /* rules/R3_credential_read.yaml */
	uint8_t sha256[32];
};

struct pack_manifest {
	char *name; /* oknek-rules */
	struct pack_version version;
	int64_t created_unix_s, expires_unix_s;
	char previous[PACK_HASH_HEX + 1]; /* digest of the pack before; "" for a first one */
	struct pack_rule_file *files;
	size_t n_files;
};

/* Writes the text, control bytes as '?', and returns code. */
int pack_say(struct pack_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

struct pack;

struct pack *pack_new(void); /* NULL: no memory */
void pack_free(struct pack *p);

/* Adds a copy of one file. -EINVAL for a name that is none of the three kinds above (also one with
 * `..`, a second `/`, control bytes), -EEXIST when it is there already, -E2BIG beyond the bounds,
 * -ENOMEM; err says it. */
int pack_add(struct pack *p, const char *name, const void *data, size_t len_bytes,
	     struct pack_error *err);
/* The bytes of a file; NULL if it is not there. */
const void *pack_file(const struct pack *p, const char *name, size_t *len_bytes);

/* A folder that is laid out as above; what else lies in it, links and anything but regular files
 * are refused. -errno. */
int pack_read_dir(const char *dir, struct pack **ret, struct pack_error *err);

/*
 * Signature by this key, then manifest, then each file's hash; nothing extra, nothing missing.
 * -EKEYREJECTED: the signature does not hold; err says what was altered, where the manifest shows
 * it. -EBADMSG: it holds, and the pack contradicts itself.
 * Afterwards pack_manifest() and pack_digest() may be asked. Does not look at the clock.
 */
int pack_verify(struct pack *p, const uint8_t public_key[32], struct pack_error *err);
const struct pack_manifest *pack_manifest(const struct pack *p); /* NULL: not verified */
const char *pack_digest(const struct pack *p); /* hex of what was signed; "" not verified */

/*
 * May `next` take the place of `now` (NULL: there is none)? Both verified. Refused: expired or
 * created after now (-EKEYEXPIRED), another name (-EINVAL), an older version or the same with other
 * content (-EALREADY), a previous hash that is not that pack's (-ESTALE; a shipped one may be
 * replaced whichever pack came before). 1: it is the very pack.
 */
enum pack_base { PACK_ACTIVE, PACK_SHIPPED };
int pack_may_follow(const struct pack *next, const struct pack *now, enum pack_base base,
		    int64_t now_unix_s, struct pack_error *err);

/* Makes manifest and signature for the rule files that p holds (in byte order of names); m gives
 * name, version, created, expires and previous. secret_key: libsodium's 64 bytes. */
int pack_sign(struct pack *p, const struct pack_manifest *m, const uint8_t secret_key[64],
	      struct pack_error *err);

/* Writes all files below dir, which must exist and be empty; synced. -errno. */
int pack_write_dir(const struct pack *p, const char *dir, struct pack_error *err);

/* Calls fn for each file, manifest first, in the order of the manifest, signature last. */
int pack_each(const struct pack *p,
	      int (*fn)(void *arg, const char *name, const void *data, size_t len_bytes), void *arg);

/* Its rule files, in the order of the manifest, for ruleset_load(); verified. *ret is freed with
 * free(), what it points at belongs to the pack. -ENOMEM. */
struct rules_file;
int pack_rule_files(const struct pack *p, struct rules_file **ret, size_t *n);

/* The key that this program was built to trust. -EINVAL: the build gave it none. */
int pack_builtin_key(uint8_t ret[32]);

/* A short name of a public key, for people: its first 16 hex digits. */
#define PACK_KEY_ID_SIZE 17
void pack_key_id(const uint8_t key[32], char ret[PACK_KEY_ID_SIZE]);

/* Ids that begin with X are a site's own: -EINVAL when a rule of a pack (not "local") has one. */
struct ruleset;
int pack_check_rules(const struct ruleset *rs, struct pack_error *err);

/* "1.2.3" or "v1.2.3". -EINVAL. */
int pack_version_parse(const char *text, struct pack_version *ret);
int pack_version_compare(const struct pack_version *a, const struct pack_version *b);

#endif
