/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -lsqlite3 */
/* atk_tamper DATABASE SQL: does to the evidence what somebody with the file could do; prints rows. */
#include <sqlite3.h>
#include <stdio.h>

static int row(void *arg, int n, char **values, char **names)
{
	(void)arg;
	(void)names;
	for (int i = 0; i < n; i++)
		printf("%s%s", i ? "|" : "", values[i] ? values[i] : "");
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	char *err = NULL;
	sqlite3 *db;

	if (argc != 3)
		return 64;
	if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		return 2;
	if (sqlite3_exec(db, argv[2], row, NULL, &err) != SQLITE_OK) {
		fprintf(stderr, "%s\n", err);
		return 2;
	}
	sqlite3_close(db);
	return 0;
}
