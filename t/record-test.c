/* SPDX-License-Identifier: Apache-2.0 */
/* The record: what it says, that it is canonical, and that nothing in it can fool a reader. */
#include <sodium.h>

#include "t/evidence.h"

#include "core/clock.h"
#include "store/mask.h"
#include "store/record.h"

#define TIME_NS 1772460000123456789LL /* 2026-03-02T14:00:00.123456789Z */
static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";

/* One transition: always an hour east. */
static const struct zone zone = {.n = 1, .at = {{0, 3600}}};
static const struct record_context ctx = {.host = "build7", .zone = &zone};

static char *record(const struct evidence *e, enum outcome outcome, int err, unsigned i)
{
	size_t n = payload_size(&e->note);
	_cleanup_free_ char *buf = malloc(n);
	struct record_row row;
	struct text t = {0};
	struct payload p;

	payload_write(&e->note, TIME_NS, buf);
	assert_int_equal(payload_read(buf, n, &p), 0);
	record_write(&ctx, &p, outcome, err, i, 17, zeros, &t, &row);
	assert_false(t.failed);
	assert_string_equal(row.rule, p.n_fired ? p.fired[i].id : "O1");
	return t.p;
}

static char *own(const char *id, const char *name, const char *json)
{
	size_t n = payload_own_size(id, name, json);
	_cleanup_free_ char *buf = malloc(n);
	struct record_row row;
	struct text t = {0};
	struct payload p;

	payload_own_write(id, name, json, TIME_NS, buf);
	assert_int_equal(payload_read(buf, n, &p), 0);
	record_write(&ctx, &p, OUTCOME_OBSERVED, 0, 0, 17, zeros, &t, &row);
	return t.p;
}

static void has(const char *json, const char *part)
{
	if (!strstr(json, part))
		fail_msg("no %s in %s", part, json);
}

static void assert_canonical(const char *json)
{
	json_error_t err;
	json_t *o = json_loads(json, JSON_REJECT_DUPLICATES, &err);
	char *again;

	if (!o)
		fail_msg("%s: %s", err.text, json);
	again = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);
	assert_string_equal(json, again);
	free(again);
	json_decref(o);
}

static void the_golden_record(void **state)
{
	struct evidence e;
	_cleanup_free_ char *json = NULL;

	(void)state;
	evidence_make(&e, "/home/u/.aws/credentials");
	json = record(&e, OUTCOME_DENIED, 1, 0);
	assert_string_equal(
		json,
		"{\"agent\":{\"id\":\"claude-code\",\"root_pid\":4700,\"session\":\"5f2c\"},"
		"\"capture\":{\"agent_identifier\":\"claude-code\",\"baseline_distance\":null,"
		"\"matched_category\":\"aws\",\"open_mode\":\"read\","
		"\"path\":\"/home/u/.aws/credentials\"},"
		"\"decided_by\":\"rule\",\"errno\":\"EPERM\",\"fired\":[\"R3/aws\"],"
		"\"host\":\"build7\",\"kind\":\"file_opened\",\"mechanism\":\"fanotify\","
		"\"mode\":\"enforce\",\"outcome\":\"denied\",\"prev\":\"0000000000000000"
		"000000000000000000000000000000000000000000000000\","
		"\"process\":{\"auid\":1000,\"cgroup\":\"/user.slice\",\"comm\":\"cat\","
		"\"exe\":\"/usr/bin/cat\",\"lineage\":\"claude > bash > cat\",\"ns\":null,"
		"\"pid\":4711,\"ppid\":4700,\"uid\":1000},"
		"\"rule\":{\"id\":\"R3\",\"name\":\"credential read\",\"pack\":\"core 1\","
		"\"part\":\"aws\",\"version\":2},\"seq\":17,\"source\":\"fanotify\","
		"\"time\":\"2026-03-02T14:00:00.123456789Z\",\"v\":1,\"verdict\":\"block\"}");
	assert_canonical(json);
}

static void keys_are_exactly_the_published_ones(void **state)
{
	static const char *const want[] = {
		"agent",     "capture", "decided_by", "errno", "fired",   "host", "kind",
		"mechanism", "mode",    "outcome",    "prev",  "process", "rule", "seq",
		"sig",       "source",  "time",       "v",     "verdict",
	};
	uint8_t sig[RECORD_SIG_SIZE] = {0xab};
	_cleanup_(text_free) struct text t = {0};
	_cleanup_free_ char *json = NULL, *mine = NULL;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct evidence e;
		json_error_t err;
		json_t *o;

		evidence_make(&e, "/x");
		text_clear(&t);
		free(json);
		json = i ? own("O1", "x", "{\"source\":\",\\\"source\\\":\",\"prev\":1}")
			 : record(&e, OUTCOME_DENIED, 1, 0);
		assert_int_equal(record_with_sig(json, strlen(json), sig, &t), 0);
		assert_canonical(t.p);
		o = json_loads(t.p, 0, &err);
		assert_int_equal(json_object_size(o), ARRAY_SIZE(want));
		for (size_t k = 0; k < ARRAY_SIZE(want); k++)
			assert_non_null(json_object_get(o, want[k]));
		/* Without sig the signed bytes are back. */
		json_object_del(o, "sig");
		free(mine);
		mine = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);
		assert_string_equal(mine, json);
		json_decref(o);
	}
	assert_true(record_with_sig("{}", 2, sig, &t) < 0);
}

/* Before its first instruction, or after; and when no rule fired. */
static void who_was_killed(void **state)
{
	static const char argv[] = "sh\0-c\0curl -H 'Authorization: Bearer abcdef0123456789' x";
	struct evidence e;
	char *json;

	(void)state;
	evidence_make(&e, "/x");
	e.ev.kind = KIND_EXEC_OBSERVED;
	e.ev.perm = NULL;
	e.ev.exec = (struct exec_object){ .path = "/bin/sh", .argv = argv,
					  .argv_len_bytes = sizeof(argv) };
	e.ev.settled.by = e.note.mechanism = MECH_SIGNAL;
	e.ev.settled.killed = true;
	json = record(&e, OUTCOME_KILLED, 0, 0);
	has(json, "\"verdict\":\"detected\"");
	has(json, "\"mechanism\":\"signal\"");
	has(json, "\"outcome\":\"killed\"");
	has(json, "\"errno\":null");
	free(json);
	e.ev.settled.refused = true;
	json = record(&e, OUTCOME_KILLED, 0, 0);
	has(json, "\"verdict\":\"block\"");
	has(json, "\"mechanism\":\"signal\"");
	free(json);
	e.d = (struct decision){ 0 };
	json = record(&e, OUTCOME_KILLED, 0, 0);
	assert_canonical(json);
	has(json, "\"id\":\"O1\",\"name\":\"arguments changed while the exec was held\"");
	has(json, "\"argv\":\"sh -c curl");
	has(json, "\"pid\":4711");
	assert_null(strstr(json, "abcdef0123456789"));
	free(json);
}

static void the_verdict_says_what_could_be_done(void **state)
{
	struct rule detect = evidence_rule, warn = evidence_rule;
	struct evidence e;
	char *json;

	(void)state;
	detect.mechanism = MECH_DETECT;
	warn.action = VERDICT_WARN;
	warn.part = "dotenv";

	evidence_make(&e, "/x");
	e.note.mode = MODE_OBSERVE;
	json = record(&e, OUTCOME_OBSERVED, 0, 0);
	has(json, "\"verdict\":\"would_block\"");
	has(json, "\"errno\":null");
	free(json);

	evidence_make(&e, "/x");
	e.ev.perm = NULL;
	e.note.mechanism = MECH_DETECT;
	json = record(&e, OUTCOME_OBSERVED, 0, 0);
	has(json, "\"verdict\":\"detected\"");
	free(json);

	/* Two rules of one event: each gets its own record, both are in both. */
	evidence_make(&e, "/x");
	e.d.n_fired = 3;
	e.d.fired[1] = (struct fired){.rule = &detect, .verdict = VERDICT_BLOCK};
	e.d.fired[2] = (struct fired){.rule = &warn, .verdict = VERDICT_WARN};
	e.d.n_fired_more = 2;
	json = record(&e, OUTCOME_DENIED, 1, 0);
	has(json, "\"verdict\":\"block\"");
	has(json, "\"fired\":[\"R3/aws\",\"R3/aws\",\"R3/dotenv\",\"+2\"]");
	free(json);
	json = record(&e, OUTCOME_DENIED, 1, 1);
	has(json, "\"verdict\":\"detected\"");
	has(json, "\"mechanism\":\"detect\"");
	free(json);
	json = record(&e, OUTCOME_DENIED, 1, 2);
	has(json, "\"verdict\":\"warn\"");
	has(json, "\"part\":\"dotenv\"");
	free(json);

	/* A deadline answered and no rule had fired. */
	evidence_make(&e, "/slow");
	e.d.n_fired = 0;
	e.d.verdict = VERDICT_ALLOW;
	e.note.by = BY_DEADLINE;
	json = record(&e, OUTCOME_DENIED, 1, 0);
	has(json, "\"rule\":{\"id\":\"O1\",\"name\":\"answered by deadline\"");
	has(json, "\"decided_by\":\"deadline\"");
	has(json, "\"path\":\"/slow\"");
	assert_canonical(json);
	free(json);

	/* And more rules than were kept: still a list. */
	e.d.n_fired_more = 2;
	json = record(&e, OUTCOME_DENIED, 1, 0);
	has(json, "\"fired\":[\"+2\",\"O1\"]");
	assert_canonical(json);
	free(json);
}

static void a_stranger_has_no_agent(void **state)
{
	struct evidence e;
	char *json;

	(void)state;
	evidence_make(&e, "/x");
	e.ev.subj.tree = NULL;
	e.ev.subj.auid = (uid_t)-1;
	e.ev.subj.exe = "";
	json = record(&e, OUTCOME_OBSERVED, 0, 0);
	has(json, "{\"agent\":null,");
	has(json, "\"auid\":null");
	has(json, "\"exe\":null");
	has(json, "\"agent_identifier\":null");
	free(json);
}

static void the_name_that_matched_is_captured(void **state)
{
	struct evidence e;
	char *json;

	(void)state;
	evidence_make(&e, "/tmp/link");
	e.ev.file.n_names = 2;
	e.ev.file.names[1].path = "/home/u/.aws/credentials";
	e.d.fired[0].name_index = 1;
	json = record(&e, OUTCOME_DENIED, 1, 0);
	has(json, "\"path\":\"/home/u/.aws/credentials\"");
	free(json);
}

static void names_of_any_bytes_are_recorded(void **state)
{
	char path[260] = "/";
	struct evidence e;
	char *json;

	(void)state;
	for (int c = 1; c < 256; c++)
		path[c] = (char)c;
	evidence_make(&e, path);
	json = record(&e, OUTCOME_DENIED, 1, 0);
	assert_canonical(json);
	for (const char *p = json; *p; p++)
		assert_true((unsigned char)*p >= ' ' && (unsigned char)*p < 0x7f);
	has(json, "\\\\x01");
	has(json, "\"path_b64\":\"LwECAwQFBgcICQoLDA0ODxAR");
	free(json);

	evidence_make(&e,
		      "/tmp/\xe2\x80\xaegnp.exe \xe2\x80\x8b \x1b[2J \xc3\xa4\xe6\x97\xa5");
	json = record(&e, OUTCOME_DENIED, 1, 0);
	has(json,
	    "\"path\":\"/tmp/\\\\xe2\\\\x80\\\\xaegnp.exe \\\\xe2\\\\x80\\\\x8b \\\\x1b[2J "
	    "\xc3\xa4\xe6\x97\xa5\"");
	has(json, "\"path_b64\":");
	assert_canonical(json);
	free(json);

	evidence_make(&e, "/plain \xc3\xa4 \"q\" \\x1b");
	json = record(&e, OUTCOME_DENIED, 1, 0);
	assert_null(strstr(json, "path_b64"));
	assert_canonical(json);
	free(json);
}

static void long_strings_are_cut_at_their_maximum(void **state)
{
	_cleanup_free_ char *path = malloc(10000), *json = NULL;
	struct evidence e;
	size_t n = 0;

	(void)state;
	memset(path, 'a', 9999);
	path[0] = '/';
	path[9999] = '\0';
	evidence_make(&e, path);
	json = record(&e, OUTCOME_DENIED, 1, 0);
	for (const char *p = strstr(json, "/aaa"); *p != '"'; p++)
		n++;
	assert_int_equal(n, 4096);
}

static void an_exec_is_recorded_without_its_secrets(void **state)
{
	static const char argv[] =
		"curl\0-H\0Authorization: Bearer abcdefghijkl\0--token\0s3cret\0x";
	struct rule r = evidence_rule;
	struct evidence e;
	char *json;

	(void)state;
	r.n_capture = 3;
	r.capture[0] = FIELD_WALL_CLOCK;
	r.capture[1] = FIELD_ARGV;
	r.capture[2] = FIELD_WALL_CLOCK_HOUR;
	evidence_make(&e, "/x");
	e.ev.kind = KIND_EXEC_OBSERVED;
	e.ev.exec = (struct exec_object){
		.path = "/usr/bin/curl", .argv = argv, .argv_len_bytes = sizeof(argv)};
	e.d.fired[0].rule = &r;
	json = record(&e, OUTCOME_OBSERVED, 0, 0);
	has(json,
	    "\"capture\":{\"argv\":\"curl -H Authorization: Bearer [masked] --token [masked] "
	    "x\",\"wall_clock\":\"2026-03-02T15:00:00+01:00\",\"wall_clock_hour\":15}");
	assert_canonical(json);
	free(json);
}

static void own_records_are_canonical_too(void **state)
{
	char *json = own("O2", "mode",
			 " { \"z\" : [1, true, null, \"a\\u0007\"], \"a\" : 1.5 ,"
			 "\"argv\":\"PASSWORD=hunter2 x\"} ");

	(void)state;
	assert_canonical(json);
	has(json, "\"capture\":{\"a\":\"1.5\",\"argv\":\"PASSWORD=[masked] x\","
		  "\"z\":[1,true,null,\"a\\\\x07\"]}");
	has(json, "\"decided_by\":\"operator\"");
	has(json, "\"kind\":null");
	has(json, "\"process\":null");
	free(json);
	json = own("O1", "x", "no json");
	has(json, "\"capture\":{\"text\":\"no json\"}");
	assert_canonical(json);
	free(json);
}

static void a_payload_that_lies_is_refused(void **state)
{
	struct evidence e;
	struct payload p;
	size_t n;

	(void)state;
	evidence_make(&e, "/x");
	n = payload_size(&e.note);
	for (size_t cut = 0; cut < n; cut++) {
		_cleanup_free_ char *buf = malloc(n), *part = malloc(cut + 1);

		payload_write(&e.note, TIME_NS, buf);
		memcpy(part, buf, cut);
		assert_true(payload_read(part, cut, &p) < 0);
	}
}

static void secrets_are_masked(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"ls -l /tmp", "ls -l /tmp"},
		{"AKIAIOSFODNN7EXAMPLE", "AKIA[masked]"},
		{"x ghp_0123456789abcdefghij y", "x ghp_[masked] y"},
		{"sk-ant-api03-abcdefghijklmnop", "sk-[masked]"},
		{"xoxb-123456789-abc", "xoxb-[masked]"},
		{"sk-short", "sk-short"},
		{"mask-tokens", "mask-tokens"},
		{"--password=hunter2 -v", "--password=[masked] -v"},
		{"--password hunter2 -v", "--password [masked] -v"},
		{"--password --verbose", "--password [masked]"},
		{"--password 'correct horse battery' x", "--password [masked] x"},
		{"x --password=ab,cdSECRET y", "x --password=[masked] y"},
		{"PASSWORD=a\\ b' c'\"d\" e", "PASSWORD=[masked] e"},
		{"PGPASSWORD=x psql -c 'select 1' && ls -l", "PGPASSWORD=[masked] psql -c 'select 1' && ls -l"},
		{"curl -u bob:hunter2 http://x", "curl -u bob:[masked] http://x"},
		{"curl -sSu 'bob:hunter 2' x", "curl -sSu 'bob:[masked]' x"},
		{"curl -H Authorization:\\ Token\\ S x", "curl -H Authorization:[masked] x"},
		{"echo Authorization: AWS4 Credential=a, Signature=b; ls", "echo Authorization: [masked]; ls"},
		{"X-Api-Key: abc", "X-Api-Key: [masked]"},
		{"-H 'X-Foo-Key: abc def' y", "-H 'X-Foo-Key: [masked]' y"},
		{"password = a; ls", "password = [masked]; ls"},
		{"eval 'curl --token '\"'\"'a b'\"'\"' -v' < /dev/null",
		 "eval 'curl --token [masked] -v' < /dev/null"},
		{"sh -c \"echo a; mysql --password x y\"", "sh -c 'echo a; mysql --password [masked] y'"},
		{"npm config set _authToken abc", "npm config set _authToken [masked]"},
		{"PASSWORD='a b' run", "PASSWORD='[masked]' run"},
		{"DB_PASSWORD=x;ls", "DB_PASSWORD=[masked];ls"},
		{"AWS_SECRET_ACCESS_KEY=abc/def+g", "AWS_SECRET_ACCESS_KEY=[masked]"},
		{"{\"api_key\": \"zzz\"}", "{\"api_key\": [masked]"},
		{"Authorization: Bearer abcdef", "Authorization: Bearer [masked]"},
		{"-H 'authorization: basic dTpw'", "-H 'authorization: basic [masked]'"},
		{"Bearer abcdefghijkl", "Bearer [masked]"},
		{"git clone https://u:p%40ss@host/r", "git clone https://u:[masked]@host/r"},
		{"https://host:8080/a@b", "https://host:8080/a@b"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
		 "-----BEGIN RSA PRIVATE KEY[masked]-----END RSA PRIVATE KEY-----"},
		{"password=", "password="},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(text_free) struct text t = {0};

		mask_secrets(&t, cases[i].in, strlen(cases[i].in));
		assert_string_equal(t.p ? t.p : "", cases[i].out);
	}
}

static void secrets_in_arguments_are_masked_whole(void **state)
{
	static const struct {
		const char *in, *out; /* a | between arguments */
	} cases[] = {
		{"ls|-l|/tmp", NULL},
		{"grep|-r|password|/etc|.", NULL},
		{"cat|token.txt|b.txt", NULL},
		{"git|commit|-m|fix the shell's quoting", NULL},
		{"x|--password|correct horse battery|y", "x|--password|[masked]|y"},
		{"x|--password|-dashed value|y", "x|--password|[masked]|y"},
		{"x|-password|hunter2", "x|-password|[masked]"},
		{"x|--password=ab,cdSECRET}z w|y", "x|--password=[masked]|y"},
		{"x|--password=\"a\" b|y", "x|--password=[masked]|y"},
		{"x|--password||y", NULL},
		{"x|--token|token|y", "x|--token|[masked]|y"},
		{"docker|login|--password-stdin|-u|bob:SECRET", "docker|login|--password-stdin|[masked]|bob:[masked]"},
		{"curl|-H|Authorization: Token SECRETzzz|u", "curl|-H|Authorization: Token [masked]|u"},
		{"curl|-H|Authorization: SECRETzzz|u", "curl|-H|Authorization: [masked]|u"},
		{"curl|-HAuthorization: AWS4 a, b|u", "curl|-HAuthorization: [masked]|u"},
		{"curl|-H|cookie: a=b; c=SECRET|u", "curl|-H|cookie: [masked]|u"},
		{"curl|-H|X-Foo-Key: a b|u", "curl|-H|X-Foo-Key: [masked]|u"},
		{"curl|-u|bob:hunter2SECRET|u", "curl|-u|bob:[masked]|u"},
		{"curl|-ubob:hunter2SECRET|u", "curl|-ubob:[masked]|u"},
		{"curl|-sSu|bob:a b|u", "curl|-sSu|bob:[masked]|u"},
		{"curl|--user=bob:a b|u", "curl|--user=bob:[masked]|u"},
		{"curl|--proxy-user|bob:a|u", "curl|--proxy-user|bob:[masked]|u"},
		{"curl|-d|user=bob&password=correct horse|u", "curl|-d|user=bob&password=[masked]|u"},
		{"curl|https://bob:p@s@h/x?access_token=a&b=c", "curl|https://bob:[masked]@h/x?access_token=[masked]"},
		{"sudo|mysql|-pSECRET|db", "sudo|mysql|-p[masked]|db"},
		{"sshpass|-p|SECRET|ssh|h", "sshpass|-p|[masked]|ssh|h"},
		{"mkdir|-p|a/b", NULL},
		{"aws|configure|set|aws_secret_access_key|/a+b", "aws|configure|set|aws_secret_access_key|[masked]"},
		{"env|DB_PASS=a b|x", "env|DB_PASS=[masked]|x"},
		{"openssl|-passin|pass:SECRET", "openssl|-passin|[masked]"},
		{"ssh|h|curl -u bob:SECRET u", "ssh|h|curl -u bob:[masked] u"},
		{"ssh|h|mysql --password 'a b' d", "ssh|h|mysql --password [masked]"},
		{"bash|-c|PASSWORD='a b' ls; cat /etc/passwd|x", "bash|-c|PASSWORD='[masked]' ls; cat /etc/passwd|x"},
		{"/bin/bash|-c|-l|ls --token 'a b' c", "/bin/bash|-c|-l|ls --token [masked] c"},
		{"sudo|sh|-lc|curl -H 'Authorization: Token SECRET' u && id",
		 "sudo|sh|-lc|curl -H 'Authorization: Token [masked]' u && id"},
		{"echo|-----BEGIN|PRIVATE|KEY-----|MIIE|-----END|x", "echo|-----BEGIN PRIVATE KEY[masked]-----END|x"},
		{"Bearer|abcdefghijkl", "Bearer|[masked]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(text_free) struct text t = {0};
		_cleanup_free_ char *argv = strdup(cases[i].in);
		size_t n = strlen(argv);
		bool masked;

		for (char *p = argv; (p = strchr(p, '|'));)
			*p++ = '\0';
		masked = mask_arguments(&t, argv, n, '|');
		assert_string_equal(t.p, cases[i].out ? cases[i].out : cases[i].in);
		assert_int_equal(masked, cases[i].out != NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_golden_record),
		cmocka_unit_test(keys_are_exactly_the_published_ones),
		cmocka_unit_test(who_was_killed),
		cmocka_unit_test(the_verdict_says_what_could_be_done),
		cmocka_unit_test(a_stranger_has_no_agent),
		cmocka_unit_test(the_name_that_matched_is_captured),
		cmocka_unit_test(names_of_any_bytes_are_recorded),
		cmocka_unit_test(long_strings_are_cut_at_their_maximum),
		cmocka_unit_test(an_exec_is_recorded_without_its_secrets),
		cmocka_unit_test(own_records_are_canonical_too),
		cmocka_unit_test(a_payload_that_lies_is_refused),
		cmocka_unit_test(secrets_are_masked),
		cmocka_unit_test(secrets_in_arguments_are_masked_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
