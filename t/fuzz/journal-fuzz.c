/* SPDX-License-Identifier: Apache-2.0 */
/* What a journal's payload and a record's text are made of, from any bytes: nothing is read beyond
 * its end, and what comes out is JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/mask.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct record_context c = {.host = "h"};
	static const uint8_t sig[RECORD_SIG_SIZE];
	struct text t = {0}, shown = {0};
	struct record_row row;
	struct payload p;

	mask_secrets(&t, (const char *)data, size);
	text_visible(&shown, (const char *)data, size);
	text_clear(&t);
	text_clear(&shown);
	if (!payload_read(data, size, &p)) {
		for (unsigned i = 0; i < record_count(&p); i++) {
			json_error_t err;
			json_t *o;

			text_clear(&t);
			text_clear(&shown);
			record_write(&c, &p, OUTCOME_DENIED, 1, i, 1, "0", &t, &row);
			if (record_with_sig(t.p, t.n, sig, &shown))
				abort();
			o = json_loadb(shown.p, shown.n, JSON_REJECT_DUPLICATES, &err);
			if (!o)
				abort();
			json_decref(o);
		}
	}
	text_free(&t);
	text_free(&shown);
	return 0;
}
