/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAME-fuzz FILE|DIR…: a fuzzer's target without the fuzzer: each file is given to it once, and so
 * are its beginnings and copies of it with single bytes changed. Prints how many inputs that were.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

#define CUTS 64 /* of each kind, spread over the file */

static unsigned long tried;

static void try_copy(const uint8_t *data, size_t size, size_t at, uint8_t flip)
{
	uint8_t *copy = malloc(size ? size : 1); /* of the exact size: reading on is seen */

	if (!copy)
		abort();
	memcpy(copy, data, size);
	if (at < size)
		copy[at] ^= flip;
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	tried++;
}

static void try_file(const char *path)
{
	static const uint8_t flips[] = { 0x01, 0x20, 0x80, 0xff };
	FILE *f = fopen(path, "r");
	uint8_t *data = malloc(1 << 20);
	size_t size, step;

	if (!f || !data) {
		perror(path);
		exit(2);
	}
	size = fread(data, 1, 1 << 20, f);
	step = size / CUTS + 1;
	try_copy(data, size, size, 0);
	for (size_t i = 0; i < size; i += step) {
		try_copy(data, i, i, 0);
		try_copy(data, size, i, flips[i / step % sizeof(flips)]);
	}
	free(data);
	fclose(f);
}

static void try_all(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char name[4096];

	if (!d) {
		try_file(path);
		return;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		try_all(name);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		try_all(argv[i]);
	fprintf(stderr, "inputs=%lu\n", tried);
	return tried ? 0 : 1;
}
