/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions by PCRE2, over bytes. PCRE2 allocates while it matches; all of it comes
 * from an area on the caller's stack here, so that a match allocates nothing, two threads share
 * nothing, and a match that needs more gives up. Limits on steps bound the time; a subject chosen
 * to exhaust them must not escape by that, so that giving up is a result of its own.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdalign.h>
#include <string.h>

#include "rules/compiled.h"
#include "rules/regex_literal.h"

#define REGEX_LENGTH_MAX REGEX_LITERAL_ROOM
#define REGEX_NEST_MAX 32
/* PCRE2 starts with 20 KiB of backtracking frames (START_FRAMES_SIZE) and doubles them; both must
 * fit while the one is copied to the other. */
#define REGEX_HEAP_KIB 40
#define REGEX_AREA (64 * 1024)
#define REGEX_DEPTH_MAX 500
/*
 * PCRE2 counts only some of its steps, and anew from each starting point, of which a text has as
 * many as bytes: within its own limit a match of 2,000 bytes can take seconds. So it calls us before
 * each element of the pattern, and we count these calls and the bytes between them: 20 to 50 ns
 * each.
 */
#define REGEX_WORK_MAX 60000
#define REGEX_WORK_PER_BYTE 4
#define REGEX_BYTES_PER_STEP 16

struct regex {
	pcre2_code *code;
	const char *literal;
	size_t literal_len;
};

struct area {
	size_t used;
	alignas(max_align_t) unsigned char bytes[REGEX_AREA];
};

static void *area_alloc(size_t len, void *data)
{
	struct area *a = data;
	size_t align = alignof(max_align_t);
	void *ret;

	len = (len + align - 1) / align * align;
	if (len > sizeof(a->bytes) - a->used)
		return NULL;
	ret = a->bytes + a->used;
	a->used += len;
	return ret;
}

static void area_free(void *ptr, void *data)
{
	(void)ptr;
	(void)data;
}

static void free_code(void *code)
{
	pcre2_code_free(code);
}

static void compile_context_cleanup(pcre2_compile_context **c)
{
	pcre2_compile_context_free(*c);
}

static int no_memory(struct loader *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static int find_literal(struct loader *l, const char *pattern, struct regex *re)
{
	char literal[REGEX_LITERAL_ROOM];

	re->literal_len = regex_literal_find(pattern, literal);
	re->literal = pool_strndup(l->pool, literal, re->literal_len);
	return re->literal ? 0 : no_memory(l);
}

const char *regex_literal(const struct regex *re, size_t *len)
{
	*len = re->literal_len;
	return re->literal;
}

int regex_compile(struct loader *l, unsigned line, const char *pattern, struct regex **ret)
{
	__attribute__((cleanup(compile_context_cleanup))) pcre2_compile_context *cc = NULL;
	struct regex *re = pool_alloc(l->pool, sizeof(*re));
	PCRE2_UCHAR why[120];
	size_t size = 0;
	PCRE2_SIZE at;
	int code;

	cc = pcre2_compile_context_create(NULL);
	if (!re || !cc)
		return no_memory(l);
	pcre2_set_max_pattern_length(cc, REGEX_LENGTH_MAX);
	pcre2_set_parens_nest_limit(cc, REGEX_NEST_MAX);
	/* File names may hold newlines: `.` takes them, `$` is the very end. */
	re->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
				 PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE |
					 PCRE2_NEVER_UTF | PCRE2_NEVER_UCP |
					 PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
				 &code, &at, cc);
	if (!re->code && code == PCRE2_ERROR_HEAP_FAILED)
		return no_memory(l);
	if (!re->code) {
		pcre2_get_error_message(code, why, sizeof(why));
		return yaml_fail(l->err, l->file, line,
				 "\"%.60s\" is not a regular expression: %s at character %zu",
				 pattern, why, (size_t)at + 1);
	}
	if (pool_defer(l->pool, free_code, re->code)) {
		pcre2_code_free(re->code);
		return no_memory(l);
	}
	pcre2_pattern_info(re->code, PCRE2_INFO_SIZE, &size);
	l->budget->regex_bytes += size;
	if (l->budget->regex_bytes > RULES_REGEX_MAX)
		return yaml_fail(l->err, l->file, line,
				 "the regular expressions of all %s need more than %u MiB: "
				 "use shorter repeat counts", l->budget->whose,
				 RULES_REGEX_MAX >> 20);
	if (find_literal(l, pattern, re))
		return -ENOMEM;
	*ret = re;
	return 0;
}

struct work {
	size_t left, at;
};

static int count_work(pcre2_callout_block *block, void *data)
{
	struct work *w = data;
	size_t at = block->current_position, moved = at > w->at ? at - w->at : w->at - at;
	size_t cost = 1 + moved / REGEX_BYTES_PER_STEP;

	w->at = at;
	if (cost > w->left)
		return PCRE2_ERROR_CALLOUT;
	w->left -= cost;
	return 0;
}

enum regex_result regex_match(const struct regex *re, const char *s, size_t len)
{
	struct work work = { .left = REGEX_WORK_MAX + REGEX_WORK_PER_BYTE * len };
	struct area area;
	pcre2_general_context *gc;
	pcre2_match_context *limits;
	pcre2_match_data *md;
	int rc;

	/* cheaper than to begin, and what the index goes by */
	if (re->literal_len && !memmem(s, len, re->literal, re->literal_len))
		return REGEX_NO;
	area.used = 0;
	gc = pcre2_general_context_create(area_alloc, area_free, &area);
	md = gc ? pcre2_match_data_create(1, gc) : NULL;
	limits = gc ? pcre2_match_context_create(gc) : NULL;
	if (!md || !limits)
		return REGEX_GAVE_UP;
	pcre2_set_callout(limits, count_work, &work);
	pcre2_set_match_limit(limits, (uint32_t)work.left);
	pcre2_set_depth_limit(limits, REGEX_DEPTH_MAX);
	pcre2_set_heap_limit(limits, REGEX_HEAP_KIB);
	rc = pcre2_match(re->code, (PCRE2_SPTR)s, len, 0, 0, md, limits);
	if (rc == PCRE2_ERROR_NOMATCH)
		return REGEX_NO;
	return rc >= 0 ? REGEX_YES : REGEX_GAVE_UP;
}
