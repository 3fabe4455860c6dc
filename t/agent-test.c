/* SPDX-License-Identifier: Apache-2.0 */
/* Who is an agent, by which evidence; and who only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/agent.h"
#include "core/cleanup.h"

#define HOME "/home/u"
#define NOBODY NULL

struct process {
	const char *id; /* whom it is to be taken for; NOBODY: no agent */
	enum agent_evidence how;
	const char *exe, *comm;
	const char *argv; /* spaces between the arguments; `+` is a space inside one */
	const char *env;  /* the same */
};

static size_t split(const char *words, char *buf, size_t size)
{
	size_t n = strlen(words) + 1;

	assert_true(n <= size);
	for (size_t i = 0; i < n; i++)
		buf[i] = words[i] == ' ' ? '\0' : words[i] == '+' ? ' ' : words[i];
	return n;
}

static const struct agent *recognise(const struct process *p, enum agent_evidence *how)
{
	char argv[1024], env[1024];
	struct agent_hint h = { .exe = p->exe, .comm = p->comm, .home = HOME };

	if (p->argv) {
		h.argv_len_bytes = split(p->argv, argv, sizeof(argv));
		h.argv = argv;
	}
	if (p->env) {
		h.environ_len_bytes = split(p->env, env, sizeof(env));
		h.environ = env;
	}
	return agent_recognise(&h, how);
}

static void judge(const struct process *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct process *p = &list[i];
		enum agent_evidence how = AGENT_BY_COMM;
		const struct agent *a = recognise(p, &how);

		if (!p->id && a)
			fail_msg("%s %s %s: taken for %s by %s", p->exe ? p->exe : "?",
				 p->comm ? p->comm : "?", p->argv ? p->argv : "", a->id,
				 agent_evidence_name(how));
		if (!p->id)
			continue;
		if (!a)
			fail_msg("%s %s %s: not taken for %s", p->exe ? p->exe : "?",
				 p->comm ? p->comm : "?", p->argv ? p->argv : "", p->id);
		assert_string_equal(a->id, p->id);
		assert_string_equal(agent_evidence_name(how), agent_evidence_name(p->how));
	}
}

#define NPM "/usr/lib/node_modules/"
#define NODE "/usr/bin/node"

static void knows_an_executable_by_its_path(void **state)
{
	static const struct process list[] = {
		{ "claude-code", AGENT_BY_EXE, NPM "@anthropic-ai/claude-code/bin/claude.exe",
		  "claude", "claude", NULL },
		/* the native installer's file is named by its version */
		{ "claude-code", AGENT_BY_EXE, HOME "/.local/share/claude/versions/2.1.197",
		  "claude", "claude --resume", NULL },
		{ "claude-code", AGENT_BY_EXE, "/root/.local/share/claude/versions/2.1.197",
		  "2.1.197", NULL, NULL },
		/* it updated itself while it ran */
		{ "claude-code", AGENT_BY_EXE,
		  HOME "/.local/share/claude/versions/2.1.190 (deleted)", "claude", NULL, NULL },
		/* in another role of its own: still the same executable */
		{ "claude-code", AGENT_BY_EXE, NPM "@anthropic-ai/claude-code/bin/claude.exe",
		  "claude.exe", "rg --files", NULL },
		{ "claude-code", AGENT_BY_EXE,
		  HOME "/.vscode-server/extensions/anthropic.claude-code-2.1.0-linux-x64/resources/"
		       "native-binary/claude", "claude", NULL, NULL },
		{ "codex-cli", AGENT_BY_EXE,
		  NPM "@openai/codex/node_modules/@openai/codex-linux-x64/vendor/"
		      "x86_64-unknown-linux-musl/bin/codex", "codex", "codex exec hi", NULL },
		{ "codex-cli", AGENT_BY_EXE, "/usr/local/bin/codex", "codex-linux-san",
		  "codex-linux-sandbox -- ls", NULL },
		{ "codex-cli", AGENT_BY_EXE, HOME "/.cargo/bin/codex", "codex", NULL, NULL },
		{ "opencode", AGENT_BY_EXE, NPM "opencode-ai/bin/opencode.exe", "opencode.exe",
		  NULL, NULL },
		{ "opencode", AGENT_BY_EXE, HOME "/.opencode/bin/opencode", "opencode", NULL, NULL },
		{ "copilot-cli", AGENT_BY_EXE, NPM "@github/copilot-linux-x64/copilot",
		  "MainThread", NULL, NULL },
		{ "cline-cli", AGENT_BY_EXE, NPM "@cline/cli-linux-x64/bin/cline", "cline", NULL,
		  NULL },
		{ "amp", AGENT_BY_EXE, NPM "@ampcode/cli/bin/amp.exe", "amp", NULL, NULL },
		{ "amp", AGENT_BY_EXE, HOME "/.amp/bin/amp", "amp", NULL, NULL },
		{ "cursor-cli", AGENT_BY_EXE,
		  HOME "/.local/share/cursor-agent/versions/2026.01.01-abc/node", "MainThread",
		  NULL, NULL },
		{ "cursor-ide", AGENT_BY_EXE, "/tmp/.mount_CursorAb12/usr/share/cursor/cursor",
		  "cursor", NULL, NULL },
		{ "cursor-ide", AGENT_BY_EXE, "/usr/share/cursor/cursor", "cursor", NULL, NULL },
		{ "cursor-ide", AGENT_BY_EXE, HOME "/.cursor-server/bin/abc/node", "node", NULL,
		  NULL },
		{ "windsurf", AGENT_BY_EXE, "/usr/share/windsurf/windsurf", "windsurf", NULL,
		  NULL },
		{ "windsurf", AGENT_BY_EXE,
		  "/opt/editor/extensions/windsurf/bin/language_server_linux_x64",
		  "language_server", NULL, NULL },
		{ "kilo-code", AGENT_BY_EXE, NPM "@kilocode/cli-linux-x64/bin/kilo", "kilo", NULL,
		  NULL },
		{ "goose", AGENT_BY_EXE, HOME "/.local/bin/goose", "goose", NULL, NULL },
		{ "goose", AGENT_BY_EXE, "/opt/Goose/bin/goosed", "goosed", NULL, NULL },
		{ "zed-agent", AGENT_BY_EXE, HOME "/.local/zed.app/libexec/zed-editor",
		  "zed-editor", NULL, NULL },
		{ "kiro-q", AGENT_BY_EXE, HOME "/.local/bin/q", "q", NULL, NULL },
		{ "kiro-q", AGENT_BY_EXE, HOME "/.local/bin/kiro-cli-chat", "kiro-cli-chat", NULL,
		  NULL },
		{ "droid", AGENT_BY_EXE, HOME "/.local/bin/droid", "droid", NULL, NULL },
		{ "antigravity", AGENT_BY_EXE, "/usr/share/antigravity/antigravity", "antigravity",
		  NULL, NULL },
		{ "jetbrains-junie", AGENT_BY_EXE, HOME "/.local/bin/junie", "junie", NULL, NULL },
	};

	(void)state;
	judge(list, ARRAY_SIZE(list));
}

static void knows_a_script_by_what_the_interpreter_runs(void **state)
{
	static const struct process list[] = {
		{ "claude-code", AGENT_BY_ARGV, NODE, "node",
		  "node " NPM "@anthropic-ai/claude-code/cli.js -p hi", NULL },
		{ "codex-cli", AGENT_BY_ARGV, NODE, "MainThread",
		  "node /usr/local/bin/codex exec", NULL },
		{ "gemini-cli", AGENT_BY_ARGV, NODE, "MainThread",
		  "node " HOME "/.npm-global/bin/gemini --yolo", NULL },
		/* relaunched by itself */
		{ "gemini-cli", AGENT_BY_ARGV, NODE, "node",
		  "/usr/bin/node --max-old-space-size=4096 " NPM
		  "@google/gemini-cli/bundle/gemini.js", NULL },
		/* run by npx out of its cache */
		{ "gemini-cli", AGENT_BY_ARGV, NODE, "node",
		  "node " HOME "/.npm/_npx/0123456789abcdef/node_modules/.bin/gemini", NULL },
		{ "qwen-code", AGENT_BY_ARGV, NODE, "node",
		  "node " NPM "@qwen-code/qwen-code/cli.js", NULL },
		{ "opencode", AGENT_BY_ARGV, NODE, "node", "node /usr/bin/opencode", NULL },
		{ "copilot-cli", AGENT_BY_ARGV, NODE, "node",
		  "node " NPM "@github/copilot/npm-loader.js", NULL },
		{ "copilot-cli", AGENT_BY_ARGV, NODE, "node",
		  "node " HOME "/.cache/copilot/pkg/linux-x64/1.0.102/index.js", NULL },
		{ "continue-cli", AGENT_BY_ARGV, NODE, "node",
		  "node " NPM "@continuedev/cli/dist/cn.js", NULL },
		{ "continue-cli", AGENT_BY_ARGV, NODE, "node", "node /usr/local/bin/cn", NULL },
		{ "amp", AGENT_BY_ARGV, NODE, "node",
		  "node --no-warnings " NPM "@sourcegraph/amp/dist/main.js", NULL },
		{ "kilo-code", AGENT_BY_ARGV, NODE, "node", "node /usr/local/bin/kilocode", NULL },
		{ "aider", AGENT_BY_ARGV, "/usr/bin/python3.12", "aider",
		  HOME "/.local/pipx/venvs/aider-chat/bin/python " HOME "/.local/bin/aider --yes",
		  NULL },
		{ "aider", AGENT_BY_ARGV, "/usr/bin/python3.12", "python3",
		  "python3 -X utf8 -m aider --model x", NULL },
		{ "crush", AGENT_BY_ARGV, NODE, "node", "node /usr/local/bin/crush", NULL },
		{ "openclaw", AGENT_BY_ARGV, NODE, "openclaw-gatewa",
		  "node " NPM "openclaw/dist/entry.js gateway", NULL },
		{ "openclaw", AGENT_BY_ARGV, NODE, "node", "node /usr/local/bin/moltbot", NULL },
		{ "auggie", AGENT_BY_ARGV, NODE, "node",
		  "node " NPM "@augmentcode/auggie/augment.mjs", NULL },
		{ "pi", AGENT_BY_ARGV, NODE, "node",
		  "node " NPM "@mariozechner/pi-coding-agent/dist/cli.js", NULL },
		/* the executable is not known: argv[0] says that it is an interpreter */
		{ "pi", AGENT_BY_ARGV, NULL, NULL, "node /usr/local/bin/pi", NULL },
		{ "gemini-cli", AGENT_BY_ARGV, HOME "/.bun/bin/bun", "bun",
		  "bun run node_modules/.bin/gemini", NULL },
		/* of an editor, the extension host only */
		{ "vscode-copilot-chat", AGENT_BY_ARGV, "/usr/share/code/code", "code",
		  "/usr/share/code/code --inspect-port=0 --type=extensionHost", NULL },
		{ "vscode-copilot-chat", AGENT_BY_ARGV, HOME "/.vscode-server/bin/a1b2/node",
		  "node", "node " HOME "/.vscode-server/bin/a1b2/out/bootstrap-fork "
		  "--type=extensionHost --transformURIs", NULL },
	};

	(void)state;
	judge(list, ARRAY_SIZE(list));
}

static void adopts_by_a_marker_that_agents_give_their_children(void **state)
{
	static const struct process list[] = {
		{ "claude-code", AGENT_BY_ENV, "/usr/bin/bash", "bash", "bash -c ls",
		  "HOME=/home/u CLAUDECODE=1 PATH=/bin" },
		{ "codex-cli", AGENT_BY_ENV, "/usr/bin/bash", "bash", "bash",
		  "CODEX_THREAD_ID=7d1e" },
		/* a sandbox helper that runs from a memory file */
		{ "codex-cli", AGENT_BY_ENV, "/memfd:bwrap (deleted)", "bwrap", "bwrap ls",
		  "CODEX_SANDBOX_NETWORK_DISABLED=1" },
		{ "gemini-cli", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "GEMINI_CLI=1" },
		{ "qwen-code", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "QWEN_CODE=1" },
		{ "opencode", AGENT_BY_ENV, "/usr/bin/git", "git", NULL, "AGENT=1 OPENCODE=1" },
		{ "copilot-cli", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "COPILOT_CLI=1" },
		{ "amp", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "AGENT=amp" },
		{ "cursor-cli", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "CURSOR_AGENT=1" },
		{ "vscode-copilot-chat", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL,
		  "TERM_PROGRAM=vscode AI_AGENT=github_copilot_vscode_agent" },
		{ "goose", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "GOOSE_TERMINAL=1" },
		{ "crush", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "CRUSH=1" },
		{ "auggie", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL, "AUGMENT_AGENT=1" },
		{ "antigravity", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL,
		  "ANTIGRAVITY_AGENT=1" },
		{ "jetbrains-junie", AGENT_BY_ENV, "/usr/bin/bash", "bash", NULL,
		  "JUNIE_DATA=/tmp/j" },
		/* its own executable says more than what it inherited */
		{ "codex-cli", AGENT_BY_EXE, "/usr/local/bin/codex", "codex", "codex exec",
		  "CLAUDECODE=1" },
	};

	(void)state;
	judge(list, ARRAY_SIZE(list));
}

static void believes_a_name_only_if_the_executable_agrees(void **state)
{
	static const struct process list[] = {
		{ "claude-code", AGENT_BY_COMM, NULL, "claude", NULL, NULL },
		{ "claude-code", AGENT_BY_COMM, "/opt/tools/claude", "claude", "claude", NULL },
		{ "opencode", AGENT_BY_COMM, "/usr/bin/opencode", "opencode", NULL, NULL },
		{ "crush", AGENT_BY_COMM, "/usr/bin/crush", "crush", NULL, NULL },
		{ NOBODY, 0, "/usr/bin/bash", "claude", "/bin/bash " HOME "/bin/claude", NULL },
		{ NOBODY, 0, "/usr/bin/sleep", "codex", "codex 100", NULL },
	};

	(void)state;
	judge(list, ARRAY_SIZE(list));
}

static void leaves_everybody_else_alone(void **state)
{
	static const struct process list[] = {
		{ NOBODY, 0, "/usr/bin/vim.basic", "vim", "vim claude-notes.txt", NULL },
		{ NOBODY, 0, "/usr/bin/less", "less", "less " HOME "/claude-notes.txt", NULL },
		{ NOBODY, 0, "/usr/bin/emacs", "emacs", "emacs " NPM "@openai/codex/bin/codex.js",
		  NULL },
		{ NOBODY, 0, "/usr/bin/bash", "agent", "/bin/bash " HOME "/bin/agent", NULL },
		{ NOBODY, 0, HOME "/bin/agent", "agent", "agent", NULL },
		{ NOBODY, 0, "/usr/bin/grep", "grep", "grep -r key " HOME "/src/claude", NULL },
		{ NOBODY, 0, "/usr/bin/grep", "grep",
		  "grep x " NPM "@google/gemini-cli/bundle/gemini.js", NULL },
		{ NOBODY, 0, NULL, NULL, "grep /usr/local/bin/gemini", NULL },
		/* names that an agent's process may have, and everybody else's too */
		{ NOBODY, 0, NODE, "node", "node server.js", NULL },
		{ NOBODY, 0, NODE, "MainThread", "node /srv/app/gemini/index.js", NULL },
		{ NOBODY, 0, NODE, "MainThread", "node /srv/app/gemini", NULL },
		{ NOBODY, 0, NULL, "node", NULL, NULL },
		{ NOBODY, 0, NULL, "MainThread", NULL, NULL },
		{ NOBODY, 0, NULL, "python3", NULL, NULL },
		{ NOBODY, 0, NULL, "java", NULL, NULL },
		{ NOBODY, 0, NULL, "code", NULL, NULL },
		{ NOBODY, 0, NULL, "goose", NULL, NULL },
		{ NOBODY, 0, NULL, "agent", NULL, NULL },
		/* others of the same name */
		{ NOBODY, 0, HOME "/go/bin/goose", "goose", "goose up", NULL },
		{ NOBODY, 0, HOME "/.cargo/bin/amp", "amp", "amp file.c", NULL },
		{ NOBODY, 0, "/usr/bin/q", "q", "q x", NULL },
		{ NOBODY, 0, "/usr/local/bin/pi", "pi", "pi 1000", NULL },
		/* the script is not the agent's: it is an argument of another, or a program text */
		{ NOBODY, 0, NODE, "node", "node lint.js /usr/local/bin/gemini", NULL },
		{ NOBODY, 0, NODE, "node", "node -e 1 /usr/local/bin/gemini", NULL },
		{ NOBODY, 0, NODE, "node", "node -r /usr/local/bin/gemini x.js", NULL },
		{ NOBODY, 0, "/usr/bin/python3.12", "python3", "python3 -c pass -m aider", NULL },
		{ NOBODY, 0, "/usr/bin/python3.12", "python3", "python3 -m http.server aider",
		  NULL },
		{ NOBODY, 0, "/usr/bin/python3-config", "python3-config", "x /usr/bin/aider",
		  NULL },
		/* npm writes its title over argv; what it starts is an agent or not by itself */
		{ NOBODY, 0, NODE, "npm exec mcp-se", "npm+exec+mcp-server-filesystem+/tmp", NULL },
		{ NOBODY, 0, NODE, "npm exec @googl", "npm+exec+@google/gemini-cli", NULL },
		{ NOBODY, 0, NODE, "node",
		  "node " HOME "/.npm/_npx/0123456789abcdef/node_modules/.bin/mcp-server-git",
		  NULL },
		/* the editor itself, and a person's terminal in it */
		{ NOBODY, 0, "/usr/share/code/code", "code", "/usr/share/code/code --type=gpu",
		  NULL },
		{ NOBODY, 0, "/usr/share/code/code", "code", "/usr/share/code/code .", NULL },
		{ NOBODY, 0, HOME "/.vscode-server/bin/a1b2/node", "node",
		  "node out/server-main.js", NULL },
		{ NOBODY, 0, "/usr/bin/bash", "bash", "bash",
		  "TERM_PROGRAM=vscode VSCODE_PID=1 CURSOR_TRACE_ID=abc ZED_TERM=true Q_TERM=1" },
		{ NOBODY, 0, "/usr/bin/bash", "bash", "bash",
		  "REPL_ID=1 COPILOT_MODEL=x COPILOT_GITHUB_TOKEN=x GOOSE_PROVIDER=x AGENT=1" },
		/* markers are whole names and values */
		{ NOBODY, 0, "/usr/bin/bash", "bash", "bash",
		  "CLAUDECODE=0 XCLAUDECODE=1 CLAUDECODE=11 CODEX_THREAD_ID= AI_AGENT=other" },
		{ NOBODY, 0, "", "", "", "" },
	};

	(void)state;
	judge(list, ARRAY_SIZE(list));
}

static void bears_what_hostile_processes_show(void **state)
{
	static const char unended[] = { 'n', 'o', 'd', 'e', '\0', '/', 'b', 'i', 'n', '/', 'c', 'n' };
	static char endless[8192];
	char *exact;
	struct agent_hint h = { 0 };

	(void)state;
	assert_null(agent_recognise(&h, NULL));

	/* the last argument was cut before its NUL; nothing behind it is looked at */
	exact = malloc(sizeof(unended));
	assert_non_null(exact);
	memcpy(exact, unended, sizeof(unended));
	h = (struct agent_hint){ .argv = exact, .argv_len_bytes = sizeof(unended) };
	assert_string_equal(agent_recognise(&h, NULL)->id, "continue-cli");
	h.argv_len_bytes = 4;
	assert_null(agent_recognise(&h, NULL));
	h = (struct agent_hint){ .environ = exact, .environ_len_bytes = sizeof(unended) };
	assert_null(agent_recognise(&h, NULL));
	free(exact);

	memset(endless, 'a', sizeof(endless) - 1);
	memcpy(endless, "node", sizeof("node"));
	h = (struct agent_hint){
		.exe = NODE,
		.argv = endless,
		.argv_len_bytes = sizeof(endless),
		.environ = endless,
		.environ_len_bytes = sizeof(endless),
		.comm = endless + 5,
	};
	assert_null(agent_recognise(&h, NULL));
	h.exe = endless + 5;
	assert_null(agent_recognise(&h, NULL));
}

static void has_a_table_of_distinct_agents(void **state)
{
	size_t n;
	const struct agent *table = agent_table(&n);

	(void)state;
	assert_true(n >= 26);
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(agent_by_id(table[i].id), &table[i]);
		assert_true(*table[i].vendor && *table[i].process_name);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(table[i].process_name, table[j].process_name);
	}
	assert_null(agent_by_id("claude"));
	assert_null(agent_by_id(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_an_executable_by_its_path),
		cmocka_unit_test(knows_a_script_by_what_the_interpreter_runs),
		cmocka_unit_test(adopts_by_a_marker_that_agents_give_their_children),
		cmocka_unit_test(believes_a_name_only_if_the_executable_agrees),
		cmocka_unit_test(leaves_everybody_else_alone),
		cmocka_unit_test(bears_what_hostile_processes_show),
		cmocka_unit_test(has_a_table_of_distinct_agents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
