/* SPDX-License-Identifier: Apache-2.0 */
/* What an archive holds, up to the rules of a pack: packed when it begins like gzip, else a tar. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rules/pack.h"
#include "tools/cli_archive_read.h"

/* Parts of oknek, and not of the library that targets are linked with. */
#include "tools/cli_archive_read.c"
#include "tools/cli_gzip.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take(void *arg, const char *name, const void *data, size_t len)
{
	struct pack_error err;

	return pack_add(arg, name, data, len, &err);
}

/* What was taken has a name that leads nowhere but into a pack. */
static int check(const struct pack *p)
{
	static const char *const away[] = { "../x", "/x", "rules/../x.yaml", "rules/a/b.yaml", "" };

	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (pack_file(p, away[i], NULL))
			abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[32] = "nobody has the secret half of it";
	struct pack *p = pack_new();
	struct pack_error err = { "" };
	char why[ARCHIVE_ERROR_SIZE] = "";
	int rc;

	if (!p)
		return 0;
	if (size > 2 && data[0] == 0x1f && data[1] == 0x8b)
		rc = archive_read_bytes(data, size, take, p, why);
	else
		rc = archive_read_tar(data, size, take, p, why);
	if (rc > 0)
		abort();
	check(p);
	/* Nothing holds for a key like this; the manifest is parsed on the way. */
	if (pack_verify(p, key, &err) == 0 || !err.text[0])
		abort();
	pack_free(p);
	return 0;
}
