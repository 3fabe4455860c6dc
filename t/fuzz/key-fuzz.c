/* SPDX-License-Identifier: Apache-2.0 */
/* The small files of the state directory: host key, public key, signed head; the first byte chooses.
 * A head is also tried with a signature that is good, since nobody guesses one. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/key.h"

static int dir_fd = -1;
static char dir[] = "/dev/shm/oknek-fuzz.XXXXXX";
static uint8_t public[32], secret[64];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void leave(void)
{
	static const char *const names[] = { "host.key", "host.pub", "head", "host.pub.new" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(dir_fd, names[i], 0);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t seed[32] = { 1 };

	(void)argc, (void)argv;
	if (sodium_init() < 0 || !mkdtemp(dir))
		return 1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	crypto_sign_seed_keypair(public, secret, seed);
	atexit(leave);
	return 0;
}

static void lay(const char *name, const void *data, size_t size)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void try_head(const uint8_t *data, size_t size)
{
	char text[4096], hex[2 * crypto_sign_BYTES + 1];
	uint8_t sig[crypto_sign_BYTES];
	struct store_head h;
	int n;

	lay("head", data, size);
	if (!head_read(dir_fd, "head", public, &h))
		abort();
	if (size > 2048)
		return;
	crypto_sign_detached(sig, NULL, data, size, secret);
	sodium_bin2hex(hex, sizeof(hex), sig, sizeof(sig));
	memcpy(text, data, size);
	n = snprintf(text + size, sizeof(text) - size, "\n%s\n", hex);
	lay("head", text, size + (size_t)n);
	if (!head_read(dir_fd, "head", public, &h) &&
	    (strlen(h.hash) > RECORD_HASH_HEX || strlen(h.key) > KEY_HEX))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64], print[KEY_HEX + 1];
	struct host_key k;
	struct key_care care;
	uint8_t pub[32];

	if (!size || size > 4096)
		return 0;
	switch (data[0] % 3) {
	case 0:
		lay("host.key", data + 1, size - 1);
		if (!key_load(dir_fd, &k, &care) && strlen(k.fingerprint) != KEY_HEX)
			abort();
		break;
	case 1:
		lay("host.pub", data + 1, size - 1);
		snprintf(path, sizeof(path), "%s/host.pub", dir);
		if (!key_read_public(path, pub, print) && strlen(print) != KEY_HEX)
			abort();
		break;
	default:
		try_head(data + 1, size - 1);
	}
	return 0;
}
