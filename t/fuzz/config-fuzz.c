/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as oknek.yaml. */
#include <stddef.h>
#include <stdint.h>

#include "core/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c;
	char err[512];

	if (config_load_buffer("f", data, size, &c, err) == 0)
		config_free(c);
	return 0;
}
