/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -ljansson */
/*
 * What shell tests ask of JSON lines on stdin:
 *   atk_json keys        the keys of each object, sorted, on one line; those inside objects as a.b
 *   atk_json get a.b     the value at that place of each, one a line; "-" where there is none
 *   atk_json canonical   3 when a line is not JSON with sorted keys and without spaces
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void keys(json_t *o, const char *prefix)
{
	const char *names[256], *name;
	char path[512];
	size_t n = 0, i;
	json_t *v;

	json_object_foreach(o, name, v)
		if (n < 256)
			names[n++] = name;
	qsort(names, n, sizeof(*names), by_name);
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s%s", prefix, names[i]);
		printf("%s ", path);
		v = json_object_get(o, names[i]);
		/* What is captured depends on the rule. */
		if (json_is_object(v) && strcmp(path, "capture")) {
			strcat(path, ".");
			keys(v, path);
		}
	}
}

static void get(json_t *o, const char *path)
{
	char buf[512], *save = NULL, *part;

	snprintf(buf, sizeof(buf), "%s", path);
	for (part = strtok_r(buf, ".", &save); part && o; part = strtok_r(NULL, ".", &save))
		o = json_object_get(o, part);
	if (!o) {
		puts("-");
	} else if (json_is_string(o)) {
		puts(json_string_value(o));
	} else {
		char *text = json_dumps(o, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);

		puts(text ? text : "-");
		free(text);
	}
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (argc < 2)
		return 64;
	while ((len = getline(&line, &size, stdin)) > 0) {
		json_t *j;

		line[strcspn(line, "\n")] = '\0';
		if (!line[0])
			continue;
		j = json_loads(line, 0, NULL);
		if (!j) {
			fprintf(stderr, "not JSON: %s\n", line);
			return 2;
		}
		if (!strcmp(argv[1], "keys")) {
			keys(j, "");
			putchar('\n');
		} else if (!strcmp(argv[1], "get") && argc > 2) {
			get(j, argv[2]);
		} else if (!strcmp(argv[1], "canonical")) {
			char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);

			if (!text || strcmp(text, line)) {
				fprintf(stderr, "stored: %s\nsorted: %s\n", line, text);
				return 3;
			}
			free(text);
		}
		json_decref(j);
	}
	free(line);
	return 0;
}
