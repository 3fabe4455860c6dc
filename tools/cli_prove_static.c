/* SPDX-License-Identifier: Apache-2.0 */
/* A static program without a library, written where it is needed: nothing that is preloaded, traced or
 * asked by libc is in it. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

#if defined(__x86_64__)
#define BASE 0x10000000ull
#define CODE 512 /* offset in the file; the calls follow the code */

/* Makes the calls that follow it, and ends with the errno of the one that fails. */
__asm__(".pushsection .rodata.prove, \"a\"\n"
	"prove_code:\n"
	"	lea	prove_code_end(%rip), %rbx\n"
	"	xor	%r12d, %r12d\n"
	"1:	mov	(%rbx), %rax\n"
	"	cmp	$-1, %rax\n"
	"	je	3f\n"
	"	mov	8(%rbx), %rdi\n"
	"	cmpq	$0, 32(%rbx)\n"
	"	je	2f\n"
	"	mov	%r12, %rdi\n"
	"2:	mov	16(%rbx), %rsi\n"
	"	mov	24(%rbx), %rdx\n"
	"	syscall\n"
	"	mov	%rax, %r12\n"
	"	test	%rax, %rax\n"
	"	js	4f\n"
	"	add	$40, %rbx\n"
	"	jmp	1b\n"
	"3:	xor	%r12d, %r12d\n"
	"4:	neg	%r12\n"
	"	mov	%r12, %rdi\n"
	"	mov	$60, %eax\n"
	"	syscall\n"
	"prove_code_end:\n"
	".popsection\n");
extern const char prove_code[], prove_code_end[];

int prove_static(const char *path, const struct prove_call *calls, unsigned n, const void *data, size_t len)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0700);
	static const struct prove_call end = { .nr = UINT64_MAX };
	const size_t code = (size_t)(prove_code_end - prove_code), size = PROVE_STATIC_DATA - BASE + 4096;
	static char image[8192];
	Elf64_Ehdr head = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
					 EV_CURRENT },
			    .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			    .e_entry = BASE + CODE, .e_phoff = sizeof(head), .e_ehsize = sizeof(head),
			    .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1 };
	Elf64_Phdr part = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = BASE, .p_paddr = BASE,
			    .p_filesz = size, .p_memsz = size, .p_align = 4096 };

	if (fd < 0)
		return PROVE_CANNOT + errno;
	if (size > sizeof(image) || len > 4096 || CODE + code + (n + 1) * sizeof(*calls) > 4096)
		return PROVE_CANNOT + E2BIG;
	memset(image, 0, sizeof(image));
	memcpy(image, &head, sizeof(head));
	memcpy(image + sizeof(head), &part, sizeof(part));
	memcpy(image + CODE, prove_code, code);
	if (n)
		memcpy(image + CODE + code, calls, n * sizeof(*calls));
	memcpy(image + CODE + code + n * sizeof(*calls), &end, sizeof(end));
	if (len)
		memcpy(image + (PROVE_STATIC_DATA - BASE), data, len);
	if (write(fd, image, size) != (ssize_t)size)
		return PROVE_CANNOT + errno;
	return 0;
}
#else
int prove_static(const char *path, const struct prove_call *calls, unsigned n, const void *data, size_t len)
{
	(void)path;
	(void)calls;
	(void)n;
	(void)data;
	(void)len;
	return PROVE_CANNOT + EOPNOTSUPP;
}
#endif
