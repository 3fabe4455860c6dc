/* SPDX-License-Identifier: Apache-2.0 */
/* What a pack says of itself, and whether it is true. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/yaml.h"
#include "rules/pack_priv.h"
#include "rules/rules.h"

#define VERSION_PART_MAX 999999
#define PACK_KEY_HEX 64

static void doc_free(struct yaml_doc **d)
{
	yaml_doc_free(*d);
}

int pack_version_parse(const char *text, struct pack_version *ret)
{
	uint32_t part[3];
	const char *s = text + (text[0] == 'v');

	for (int i = 0; i < 3; i++) {
		char *end;
		unsigned long v;

		if (*s < '0' || *s > '9' || (*s == '0' && s[1] >= '0' && s[1] <= '9'))
			return -EINVAL;
		v = strtoul(s, &end, 10);
		if (v > VERSION_PART_MAX || *end != (i < 2 ? '.' : '\0'))
			return -EINVAL;
		part[i] = (uint32_t)v;
		s = end + 1;
	}
	*ret = (struct pack_version){ part[0], part[1], part[2] };
	return 0;
}

int pack_version_compare(const struct pack_version *a, const struct pack_version *b)
{
	if (a->major != b->major)
		return a->major < b->major ? -1 : 1;
	if (a->minor != b->minor)
		return a->minor < b->minor ? -1 : 1;
	return a->patch == b->patch ? 0 : a->patch < b->patch ? -1 : 1;
}

int pack_builtin_key(uint8_t ret[32])
{
	size_t len;

	if (strlen(OKNEK_PACK_PUBKEY) != PACK_KEY_HEX ||
	    sodium_hex2bin(ret, 32, OKNEK_PACK_PUBKEY, PACK_KEY_HEX, NULL, &len, NULL) || len != 32)
		return -EINVAL;
	return 0;
}

void pack_key_id(const uint8_t key[32], char ret[PACK_KEY_ID_SIZE])
{
	sodium_bin2hex(ret, PACK_KEY_ID_SIZE, key, (PACK_KEY_ID_SIZE - 1) / 2);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct reading {
	struct pack_manifest *m;
	char *err; /* 512 bytes */
};

static int wants(struct reading *r, const struct yaml_node *n, const char *what, const char *form)
{
	return yaml_fail(r->err, PACK_MANIFEST, n->line, "%s must be %s", what, form);
}

static int parse_hash(const struct yaml_node *n, uint8_t ret[32])
{
	size_t len;

	if (n->type != YAML_SCALAR || strlen(n->scalar) != PACK_HASH_HEX ||
	    sodium_hex2bin(ret, 32, n->scalar, PACK_HASH_HEX, NULL, &len, NULL) || len != 32)
		return -EINVAL;
	return 0;
}

static int parse_time(struct reading *r, const struct yaml_node *n, const char *what, int64_t *ret)
{
	int64_t ns;

	if (n->type != YAML_SCALAR || rfc3339_parse(n->scalar, &ns) < 0) {
		char other[RFC3339_SIZE + 8] = "2000";

		/* It is one in another year: nanoseconds of 64 bits end in 2262. */
		if (n->type == YAML_SCALAR && strspn(n->scalar, "0123456789") == 4) {
			snprintf(other + 4, sizeof(other) - 4, "%s", n->scalar + 4);
			if (!rfc3339_parse(other, &ns))
				return wants(r, n, what, "a time from 1970 to 2261");
		}
		return wants(r, n, what, "a time like 2026-01-31T00:00:00Z");
	}
	*ret = ns / 1000000000;
	return 0;
}

static int parse_file(struct reading *r, const struct yaml_node *n, struct pack_rule_file *f)
{
	static const char *const allowed[] = { "file", "sha256", NULL };
	const struct yaml_node *v;
	int rc = yaml_check_keys(n, PACK_MANIFEST, "a rule file", allowed, r->err);

	if (rc)
		return rc;
	v = yaml_get(n, "sha256");
	if (!v || parse_hash(v, f->sha256))
		return wants(r, v ? v : n, "sha256", "64 hex digits");
	v = yaml_get(n, "file");
	if (!v || v->type != YAML_SCALAR)
		return wants(r, v ? v : n, "file", "a name like rules/X.yaml");
	for (size_t i = 0; i < r->m->n_files; i++)
		if (!strcmp(r->m->files[i].name, v->scalar))
			return yaml_fail(r->err, PACK_MANIFEST, v->line, "%.100s is listed twice",
					 v->scalar);
	f->name = strdup(v->scalar);
	return f->name ? 0 : -ENOMEM;
}

static int parse_files(struct reading *r, const struct yaml_node *n)
{
	int rc = 0;

	if (n->type != YAML_LIST || n->n > PACK_FILES_MAX)
		return wants(r, n, "rules", "a list of maps of file and sha256");
	r->m->files = calloc(n->n + 1, sizeof(*r->m->files));
	if (!r->m->files)
		return -ENOMEM;
	for (size_t i = 0; i < n->n && !rc; i++) {
		rc = parse_file(r, n->items[i], &r->m->files[i]);
		r->m->n_files += !rc;
	}
	return rc;
}

static int parse_root(struct reading *r, const struct yaml_node *root)
{
	static const char *const allowed[] = { "name", "version", "created", "expires", "previous",
					       "rules", NULL };
	uint8_t hash[32];
	const struct yaml_node *n;
	int rc = yaml_check_keys(root, PACK_MANIFEST, "the manifest", allowed, r->err);

	if (rc)
		return rc;
	for (size_t i = 0; allowed[i]; i++)
		if (!yaml_get(root, allowed[i]) && strcmp(allowed[i], "previous"))
			return yaml_fail(r->err, PACK_MANIFEST, root->line,
					 "the manifest has no %s", allowed[i]);
	n = yaml_get(root, "name");
	if (n->type != YAML_SCALAR || !*n->scalar || strlen(n->scalar) > 64 ||
	    n->scalar[strspn(n->scalar, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return wants(r, n, "name", "a word of lower-case letters, digits and -");
	r->m->name = strdup(n->scalar);
	if (!r->m->name)
		return -ENOMEM;
	n = yaml_get(root, "version");
	if (n->type != YAML_SCALAR || pack_version_parse(n->scalar, &r->m->version))
		return wants(r, n, "version", "three numbers like 1.2.3");
	rc = parse_time(r, yaml_get(root, "created"), "created", &r->m->created_unix_s);
	if (!rc)
		rc = parse_time(r, yaml_get(root, "expires"), "expires", &r->m->expires_unix_s);
	if (rc)
		return rc;
	n = yaml_get(root, "previous");
	if (n && parse_hash(n, hash))
		return wants(r, n, "previous", "the 64 hex digits of the pack before");
	if (n)
		sodium_bin2hex(r->m->previous, sizeof(r->m->previous), hash, sizeof(hash));
	return parse_files(r, yaml_get(root, "rules"));
}

static int manifest_parse(const struct pack_entry *e, struct pack_manifest *ret, char err[512])
{
	_cleanup_(doc_free) struct yaml_doc *doc = NULL;
	struct reading r = { ret, err };
	int rc = yaml_load_buffer(PACK_MANIFEST, e->data, e->len, &doc, err);

	if (rc)
		return rc;
	if (yaml_doc_count(doc) != 1)
		return yaml_fail(err, PACK_MANIFEST, 0, "one document is expected");
	rc = parse_root(&r, yaml_doc_root(doc, 0));
	if (rc == -ENOMEM)
		yaml_fail(err, PACK_MANIFEST, 0, "out of memory");
	return rc;
}

/* ---- verifying ----------------------------------------------------------------------------- */

static int check_files(const struct pack *p, const struct pack_manifest *m, struct pack_error *err)
{
	for (size_t i = 0; i < m->n_files; i++) {
		const struct pack_entry *e = pack_find(p, m->files[i].name);
		uint8_t hash[32];

		if (!e || !strcmp(e->name, PACK_MANIFEST) || !strcmp(e->name, PACK_SIGNATURE))
			return pack_say(err, -EBADMSG, "the manifest lists %.100s, which the pack "
					 "does not have", m->files[i].name);
		crypto_hash_sha256(hash, e->data, e->len);
		if (sodium_memcmp(hash, m->files[i].sha256, sizeof(hash)))
			return pack_say(err, -EBADMSG, "%s is not what the manifest lists: its "
					 "sha256 differs", e->name);
	}
	for (size_t i = 0; i < p->n; i++) {
		const char *name = p->entries[i].name;
		bool listed = !strcmp(name, PACK_MANIFEST) || !strcmp(name, PACK_SIGNATURE);

		for (size_t k = 0; k < m->n_files && !listed; k++)
			listed = !strcmp(m->files[k].name, name);
		if (!listed)
			return pack_say(err, -EBADMSG, "%s is in the pack and not in its manifest",
					 name);
	}
	return 0;
}

/* What is signed: sha256(manifest || rules in its order). Rules that are not there count as empty:
 * the signature cannot hold then. */
static void digest_of(const struct pack *p, const struct pack_manifest *m, uint8_t ret[32])
{
	const struct pack_entry *e = pack_find(p, PACK_MANIFEST);
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, e->data, e->len);
	for (size_t i = 0; i < m->n_files; i++) {
		e = pack_find(p, m->files[i].name);
		if (e)
			crypto_hash_sha256_update(&st, e->data, e->len);
	}
	crypto_hash_sha256_final(&st, ret);
}

/* Why does it not hold? Of a pack whose files are what its manifest lists, the manifest or the
 * signature itself is another, or the key is. */
static int unsigned_because(int files, struct pack_error *err)
{
	char why[300];

	if (!files)
		return pack_say(err, -EKEYREJECTED, "the signature does not hold: the pack was signed "
				"by another key than this oknek trusts, or its manifest was altered");
	snprintf(why, sizeof(why), "%.299s", err->text);
	return pack_say(err, -EKEYREJECTED, "the signature does not hold: %s", why);
}

int pack_verify(struct pack *p, const uint8_t public_key[32], struct pack_error *err)
{
	const struct pack_entry *manifest = pack_find(p, PACK_MANIFEST);
	const struct pack_entry *sig = pack_find(p, PACK_SIGNATURE);
	struct pack_manifest m = { 0 };
	uint8_t digest[32];
	int rc;

	p->verified = false;
	if (!manifest || !sig)
		return pack_say(err, -EBADMSG, "the pack has no %s",
				 manifest ? PACK_SIGNATURE : PACK_MANIFEST);
	if (sig->len != crypto_sign_BYTES)
		return pack_say(err, -EKEYREJECTED, PACK_SIGNATURE " must be %u bytes, it has %zu",
				 crypto_sign_BYTES, sig->len);
	/* The manifest gives the order of what is signed: it is read before it is believed. */
	rc = manifest_parse(manifest, &m, err->text);
	if (!rc) {
		digest_of(p, &m, digest);
		rc = check_files(p, &m, err);
		if (crypto_sign_verify_detached(sig->data, digest, sizeof(digest), public_key))
			rc = unsigned_because(rc, err);
	}
	if (rc) {
		pack_manifest_clear(&m);
		return rc;
	}
	pack_manifest_clear(&p->manifest);
	p->manifest = m;
	sodium_bin2hex(p->digest, sizeof(p->digest), digest, sizeof(digest));
	p->verified = true;
	return 0;
}

int pack_check_rules(const struct ruleset *rs, struct pack_error *err)
{
	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *r = ruleset_rule(rs, i);

		if (r->id[0] == 'X' && strcmp(r->pack, "local") != 0)
			return pack_say(err, -EINVAL, "%.200s:%u: id %.32s is for rules of a host's "
					"own, in rules.d: those of a pack begin with R or B", r->file,
					r->line, r->id);
	}
	return 0;
}

const struct pack_manifest *pack_manifest(const struct pack *p)
{
	return p->verified ? &p->manifest : NULL;
}

const char *pack_digest(const struct pack *p)
{
	return p->verified ? p->digest : "";
}

static void day(int64_t unix_s, char buf[RFC3339_SIZE])
{
	static const struct zone utc;

	zone_rfc3339(&utc, unix_s * 1000000000, false, buf, RFC3339_SIZE);
}

int pack_may_follow(const struct pack *next, const struct pack *now, enum pack_base base,
		    int64_t now_unix_s, struct pack_error *err)
{
	const char *word = base == PACK_SHIPPED ? "shipped" : "active";
	const struct pack_manifest *n = &next->manifest;
	const struct pack_manifest *a = now ? &now->manifest : NULL;
	char when[RFC3339_SIZE];
	int order;

	if (!next->verified || (now && !now->verified))
		return pack_say(err, -EINVAL, "the pack was not verified");
	if (n->expires_unix_s <= now_unix_s) {
		day(n->expires_unix_s, when);
		return pack_say(err, -EKEYEXPIRED, "the pack has expired, on %.10s: get a newer one",
				when);
	}
	if (n->created_unix_s > now_unix_s) {
		day(n->created_unix_s, when);
		return pack_say(err, -EKEYEXPIRED, "the pack was made in the future, at %s: is this "
				"host's clock right?", when);
	}
	if (!a)
		return 0;
	if (strcmp(n->name, a->name))
		return pack_say(err, -EINVAL, "the %s pack is %s, this one is %s", word, a->name,
				n->name);
	if (!strcmp(next->digest, now->digest))
		return 1;
	order = pack_version_compare(&n->version, &a->version);
	if (order <= 0)
		return pack_say(err, -EALREADY, "version %u.%u.%u is %s %u.%u.%u, which %s",
				n->version.major, n->version.minor, n->version.patch,
				order < 0 ? "older than" : "another content of",
				a->version.major, a->version.minor, a->version.patch,
				base == PACK_SHIPPED ? "was shipped" : "is active");
	if (base == PACK_ACTIVE && n->previous[0] && strcmp(n->previous, now->digest))
		return pack_say(err, -ESTALE, "the pack follows %.16s…, the active one is %.16s…: "
				"get the ones between", n->previous, now->digest);
	return 0;
}

/* ---- signing ------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct pack_entry *)a)->name, ((const struct pack_entry *)b)->name);
}

static int manifest_text(const struct pack *p, const struct pack_manifest *m, char **ret)
{
	static const struct zone utc;
	char created[RFC3339_SIZE], expires[RFC3339_SIZE];
	size_t len;
	FILE *f = open_memstream(ret, &len);

	if (!f)
		return -ENOMEM;
	zone_rfc3339(&utc, m->created_unix_s * 1000000000, false, created, sizeof(created));
	zone_rfc3339(&utc, m->expires_unix_s * 1000000000, false, expires, sizeof(expires));
	fprintf(f, "name: %s\nversion: %u.%u.%u\ncreated: %s\nexpires: %s\n", m->name,
		m->version.major, m->version.minor, m->version.patch, created, expires);
	if (m->previous[0])
		fprintf(f, "previous: \"%s\"\n", m->previous);
	fprintf(f, "rules:\n");
	for (size_t i = 0; i < p->n; i++) {
		const struct pack_entry *e = &p->entries[i];
		char hex[PACK_HASH_HEX + 1];
		uint8_t hash[32];

		crypto_hash_sha256(hash, e->data, e->len);
		sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
		fprintf(f, "  - file: %s\n    sha256: \"%s\"\n", e->name, hex);
	}
	if (fclose(f) != 0) {
		free(*ret);
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

int pack_sign(struct pack *p, const struct pack_manifest *m, const uint8_t secret_key[64],
	      struct pack_error *err)
{
	uint8_t sig[crypto_sign_BYTES], digest[32], public_key[32];
	_cleanup_free_ char *text = NULL;
	struct pack_manifest check = { 0 };
	int rc;

	if (pack_find(p, PACK_MANIFEST) || pack_find(p, PACK_SIGNATURE))
		return pack_say(err, -EEXIST, "the pack is signed already");
	if (!p->n)
		return pack_say(err, -EINVAL, "a pack without rules");
	qsort(p->entries, p->n, sizeof(*p->entries), by_name);
	if (manifest_text(p, m, &text))
		return pack_say(err, -ENOMEM, "out of memory");
	rc = pack_add(p, PACK_MANIFEST, text, strlen(text), err);
	if (!rc)
		rc = manifest_parse(pack_find(p, PACK_MANIFEST), &check, err->text);
	if (rc)
		return rc;
	digest_of(p, &check, digest);
	pack_manifest_clear(&check);
	crypto_sign_detached(sig, NULL, digest, sizeof(digest), secret_key);
	rc = pack_add(p, PACK_SIGNATURE, sig, sizeof(sig), err);
	crypto_sign_ed25519_sk_to_pk(public_key, secret_key);
	return rc ? rc : pack_verify(p, public_key, err);
}

int pack_each(const struct pack *p,
	      int (*fn)(void *arg, const char *name, const void *data, size_t len_bytes), void *arg)
{
	const struct pack_entry *e = pack_find(p, PACK_MANIFEST);
	int rc = e ? fn(arg, e->name, e->data, e->len) : -ENOENT;

	for (size_t i = 0; i < p->manifest.n_files && !rc; i++) {
		e = pack_find(p, p->manifest.files[i].name);
		rc = e ? fn(arg, e->name, e->data, e->len) : -ENOENT;
	}
	e = pack_find(p, PACK_SIGNATURE);
	if (!rc)
		rc = e ? fn(arg, e->name, e->data, e->len) : -ENOENT;
	return rc;
}
