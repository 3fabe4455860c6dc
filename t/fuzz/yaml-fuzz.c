/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as YAML: what the reader of plain YAML takes, libyaml must read as the same tree, with the
 * same lines and texts. A tab in a comment at the end keeps the former from reading it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/yaml_impl.h"

#define NOT_PLAIN "\n#\t\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void same(const struct yaml_node *a, const struct yaml_node *b)
{
	require(a->type == b->type && a->line == b->line);
	if (a->type == YAML_SCALAR) {
		require(a->quoted == b->quoted && !strcmp(a->scalar, b->scalar));
		return;
	}
	require(a->n == b->n);
	for (size_t i = 0; i < a->n; i++) {
		if (a->type == YAML_MAP)
			same(a->keys[i], b->keys[i]);
		same(a->items[i], b->items[i]);
	}
}

static bool read_plainly(const uint8_t *data, size_t size)
{
	struct pool *pool = pool_new();
	struct yaml_doc *d = pool ? pool_alloc(pool, sizeof(*d)) : NULL;
	int rc;

	require(d);
	d->pool = pool;
	d->file = "f";
	d->text = pool_strndup(pool, (const char *)data, size);
	require(d->text);
	rc = yaml_read_plain(d, size);
	require(rc >= 0);
	pool_free(pool);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_doc *plain = NULL, *other = NULL;
	char err[512] = "", *text;
	int rc;

	if (size > YAML_SIZE_MAX - sizeof(NOT_PLAIN))
		return 0;
	if (yaml_load_buffer("f", data, size, &plain, err)) {
		require(*err && !strpbrk(err, "\n\t\033") && !plain);
		return 0;
	}
	text = malloc(size + sizeof(NOT_PLAIN));
	require(text);
	memcpy(text, data, size);
	memcpy(text + size, NOT_PLAIN, sizeof(NOT_PLAIN));
	if (read_plainly(data, size)) {
		rc = yaml_load_buffer("f", text, size + strlen(NOT_PLAIN), &other, err);
		require(rc == 0);
		require(yaml_doc_count(plain) == yaml_doc_count(other));
		for (size_t i = 0; i < yaml_doc_count(plain); i++) {
			size_t a_len, b_len;
			const char *a = yaml_doc_text(plain, i, &a_len);
			const char *b = yaml_doc_text(other, i, &b_len);

			same(yaml_doc_root(plain, i), yaml_doc_root(other, i));
			require(a_len <= b_len && !memcmp(a, b, a_len));
			require(a_len == b_len || i + 1 == yaml_doc_count(plain));
		}
		yaml_doc_free(other);
	}
	yaml_doc_free(plain);
	free(text);
	return 0;
}
