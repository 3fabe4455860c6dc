/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped rules: they load, each category names what it is for, and leaves its neighbours. */
#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/proctree.h"
#include "rules/rules.h"

#define H "/home/u"

static struct ruleset *pack;

static int load(void **state)
{
	static const char *const dirs[] = { "rules/core", NULL };
	struct rules_config c = { .dirs = dirs, .pack = "core" };
	struct rules_error err = { "" };

	(void)state;
	c.mechanisms[KIND_FILE_OPENED] = 1u << MECH_DETECT | 1u << MECH_FANOTIFY;
	if (ruleset_load(&c, &pack, &err) < 0) {
		print_error("%s\n", err.text);
		return -1;
	}
	return 0;
}

static int unload(void **state)
{
	(void)state;
	ruleset_unref(pack);
	return 0;
}

static const struct rule *find(const char *id, const char *part)
{
	for (size_t i = 0; i < ruleset_count(pack); i++) {
		const struct rule *r = ruleset_rule(pack, i);

		if (!strcmp(r->id, id) && !strcmp(r->part, part))
			return r;
	}
	fail_msg("no rule %s/%s", id, part);
	return NULL;
}

struct reader {
	const char *agent; /* of its tree */
	const char *exe;
	bool root; /* is it the tree's first process, the agent itself? */
};

static const struct reader stranger = { "unnamed", "/usr/bin/cat", false };

static bool fired(const struct event *ev, const char *part, enum verdict *verdict)
{
	struct wall_clock clock = { 0 };
	struct decision d;

	rules_decide(pack, ev, &clock, &d, NULL);
	*verdict = d.verdict;
	for (unsigned i = 0; i < d.n_fired; i++)
		if (!strcmp(d.fired[i].rule->id, "R3") && !strcmp(d.fired[i].rule->part, part))
			return true;
	return false;
}

static void by(struct event *ev, struct tree *tree, const struct reader *who)
{
	*tree = (struct tree){ .id = 1, .root_pid = 100 };
	snprintf(tree->agent, sizeof(tree->agent), "%s", who->agent);
	ev->subj = (struct subject){
		.tgid = who->root ? 100 : 101,
		.tid = who->root ? 100 : 101,
		.uid = 1000,
		.comm = "",
		.exe = who->exe,
		.cgroup = "",
		.lineage = "",
		.tree = tree,
		.homes = { .n = 1, .path = { H } },
	};
}

static bool opens(const char *part, const char *path, const struct reader *who, enum verdict *v)
{
	struct event ev = { .kind = KIND_FILE_OPENED, .source_name = "test" };
	struct tree tree;

	ev.file.names[0].path = path;
	ev.file.n_names = 1;
	ev.file.mode = OPEN_MODE_READ;
	by(&ev, &tree, who);
	return fired(&ev, part, v);
}

struct category {
	const char *part;
	enum verdict verdict;
	const char *taken[12];
	const char *left[8]; /* by this part; another may have it */
};

#define CHROME H "/.config/google-chrome/"
#define MOZILLA H "/.mozilla/firefox/abc.default/"

static const struct category categories[] = {
	{ "aws", VERDICT_BLOCK,
	  { H "/.aws/credentials", H "/.aws/config", H "/.aws/sso/cache/a1.json",
	    H "/.aws/cli/cache/b.json", H "/.aws/login/cache/x/y" },
	  { H "/.aws/README", H "/.aws/cli/history/history.db", "/home/v/.aws/credentials",
	    H "/src/.aws/credentials" } },
	{ "ssh-private", VERDICT_BLOCK,
	  { H "/.ssh/id_ed25519", H "/.ssh/id_rsa", H "/.ssh/work.pem", H "/.ssh/github_rsa",
	    H "/.ssh/deploy_ed25519", H "/.ssh/keys/prod/key", "/etc/ssh/ssh_host_rsa_key" },
	  { H "/.ssh/id_ed25519.pub", H "/.ssh/known_hosts", H "/.ssh/config",
	    H "/.ssh/authorized_keys", H "/.ssh/keys/prod/key.pub", "/etc/ssh/ssh_config",
	    "/etc/ssh/ssh_host_rsa_key.pub" } },
	{ "ssh-meta", VERDICT_WARN,
	  { H "/.ssh/config", H "/.ssh/config.d/work", H "/.ssh/known_hosts" },
	  { H "/.ssh/authorized_keys", "/etc/ssh/ssh_config" } },
	{ "gcloud", VERDICT_BLOCK,
	  { H "/.config/gcloud/application_default_credentials.json",
	    H "/.config/gcloud/credentials.db", H "/.config/gcloud/access_tokens.db",
	    H "/.config/gcloud/legacy_credentials/me@x/adc.json", H "/.boto" },
	  { H "/.config/gcloud/configurations/config_default", H "/.config/gcloud/logs/x.log" } },
	{ "azure", VERDICT_BLOCK,
	  { H "/.azure/msal_token_cache.json", H "/.azure/msal_token_cache.bin",
	    H "/.azure/accessTokens.json", H "/.azure/azureProfile.json",
	    H "/.azure/service_principal_entries.json", H "/.IdentityService/msal.cache" },
	  { H "/.azure/config", H "/.azure/commandIndex.json" } },
	{ "kube", VERDICT_BLOCK,
	  { H "/.kube/config", H "/.kube/cache/oidc-login/x", "/etc/kubernetes/admin.conf",
	    "/etc/rancher/k3s/k3s.yaml" },
	  { H "/.kube/kubectx", "/etc/kubernetes/manifests/x.yaml", H "/src/k8s/config" } },
	{ "k8s-sa-token", VERDICT_BLOCK,
	  { "/var/run/secrets/kubernetes.io/serviceaccount/token",
	    "/run/secrets/kubernetes.io/serviceaccount/..2026_01/token",
	    "/var/run/secrets/eks.amazonaws.com/serviceaccount/token" },
	  { "/run/secrets/other/token" } },
	{ "docker", VERDICT_BLOCK,
	  { H "/.docker/config.json", H "/.config/containers/auth.json",
	    "/run/user/1000/containers/auth.json" },
	  { H "/.docker/daemon.json", H "/.config/containers/registries.conf" } },
	{ "npm", VERDICT_WARN,
	  { H "/.npmrc", H "/src/app/.npmrc", H "/.yarnrc.yml", H "/.config/pnpm/auth.ini" },
	  { H "/.npm/_cacache/x", H "/src/app/package.json" } },
	{ "pypi", VERDICT_WARN,
	  { H "/.pypirc", H "/.config/pip/pip.conf", H "/.pip/pip.conf",
	    H "/.local/share/uv/credentials/c.toml", H "/.config/pypoetry/auth.toml" },
	  { H "/.config/uv/uv.toml", H "/.local/share/uv/tools/x" } },
	{ "cargo-gem-etc", VERDICT_WARN,
	  { H "/.cargo/credentials", H "/.cargo/credentials.toml", H "/.gem/credentials",
	    H "/.m2/settings.xml", H "/.gradle/gradle.properties", H "/.composer/auth.json",
	    H "/.nuget/NuGet/NuGet.Config", H "/.hex/hex.config" },
	  { H "/.cargo/config.toml", H "/.m2/repository/x.jar",
	    H "/src/app/gradle.properties" } },
	{ "netrc", VERDICT_BLOCK, { H "/.netrc", H "/_netrc", H "/.authinfo", H "/.authinfo.gpg" },
	  { H "/src/.netrc", H "/netrc" } },
	{ "git-credentials", VERDICT_BLOCK,
	  { H "/.git-credentials", H "/.config/git/credentials", H "/.cache/git/credential/socket",
	    H "/.config/git-credential-manager/store/x" },
	  { H "/.gitconfig", H "/.config/git/config", H "/src/.git/config" } },
	{ "github-cli", VERDICT_BLOCK,
	  { H "/.config/gh/hosts.yml", H "/.config/glab-cli/config.yml", H "/.config/hub",
	    H "/.config/tea/config.yml", H "/.config/github-copilot/apps.json" },
	  { H "/.config/gh/config.yml" } },
	{ "gnupg", VERDICT_BLOCK,
	  { H "/.gnupg/private-keys-v1.d/A.key", H "/.gnupg/secring.gpg",
	    H "/.gnupg/openpgp-revocs.d/A.rev" },
	  { H "/.gnupg/pubring.kbx", H "/.gnupg/trustdb.gpg", H "/.gnupg/gpg.conf" } },
	{ "vault", VERDICT_BLOCK,
	  { H "/.vault-token", H "/.config/op/config", H "/.config/Bitwarden CLI/data.json",
	    H "/.password-store/work/x.gpg", H "/.local/share/keyrings/login.keyring",
	    H "/.config/sops/age/keys.txt", H "/.age/key.txt", H "/.infisical/x" },
	  { H "/.config/op/op-daemon.sock", H "/.config/sops/config.yaml" } },
	{ "terraform", VERDICT_BLOCK,
	  { H "/.terraform.d/credentials.tfrc.json", H "/.terraformrc",
	    H "/src/infra/terraform.tfstate", H "/src/infra/terraform.tfstate.backup",
	    H "/src/infra/prod.auto.tfvars", H "/src/infra/terraform.tfvars",
	    H "/.pulumi/credentials.json" },
	  { H "/src/infra/main.tf", H "/src/infra/.terraform.lock.hcl",
	    H "/src/infra/vars.tfvars.example" } },
	{ "cloud-misc", VERDICT_BLOCK,
	  { H "/.config/doctl/config.yaml", H "/.fly/config.yml", H "/.oci/api.pem",
	    H "/.databrickscfg", H "/.kaggle/kaggle.json", H "/.cache/huggingface/token",
	    H "/.config/rclone/rclone.conf", H "/.cloudflared/t.json", H "/.modal.toml",
	    H "/.config/wandb/settings", H "/.s3cfg" },
	  { H "/.cache/huggingface/hub/model.bin", H "/.fly/bin/flyctl", H "/.dbt/x.log" } },
	{ "database", VERDICT_BLOCK,
	  { H "/.pgpass", H "/.my.cnf", H "/.mylogin.cnf", H "/.mongorc.js",
	    H "/.local/share/DBeaverData/workspace6/General/.dbeaver/credentials-config.json" },
	  { H "/.psqlrc", H "/.local/share/DBeaverData/workspace6/x.json" } },
	{ "browser", VERDICT_BLOCK,
	  { CHROME "Default/Cookies", CHROME "Profile 1/Login Data", CHROME "Local State",
	    CHROME "Default/Network/Cookies", CHROME "Default/Local Extension Settings/abc/1.log",
	    H "/.config/BraveSoftware/Brave-Browser/Default/Web Data", MOZILLA "logins.json",
	    MOZILLA "key4.db", H "/snap/firefox/common/.mozilla/firefox/x/cookies.sqlite",
	    H "/snap/chromium/common/chromium/Default/Cookies",
	    H "/.var/app/org.mozilla.firefox/.mozilla/firefox/x/key4.db",
	    H "/.var/app/com.brave.Browser/config/BraveSoftware/Brave-Browser/Default/Cookies" },
	  { CHROME "Default/Preferences", CHROME "Default/Cache/data_0", MOZILLA "prefs.js",
	    H "/snap/firefox/common/x", H "/.config/other/Default/Cookies" } },
	{ "wallet", VERDICT_BLOCK,
	  { H "/.bitcoin/wallet.dat", H "/.ethereum/keystore/x", H "/.electrum/wallets/default",
	    H "/.config/solana/id.json", H "/.config/Exodus/exodus.wallet/seed.seco",
	    CHROME "Default/Local Extension Settings/nkbihfbeogaeaoehlefnkodbefgpgknn/1.log",
	    H "/src/eth/keystore/UTC--2026-01-01--abc", H "/.foundry/keystores/dev" },
	  { H "/.bitcoin/debug.log", H "/.config/solana/cli/config.yml",
	    H "/src/eth/keystore/readme" } },
	{ "messaging", VERDICT_BLOCK,
	  { H "/.config/Slack/Cookies", H "/.config/Slack/storage/root-state.json",
	    H "/.config/discord/Local Storage/leveldb/1.ldb", H "/.config/Signal/config.json",
	    H "/.config/Signal/sql/db.sqlite", H "/.thunderbird/a.default/logins.json",
	    H "/.local/share/TelegramDesktop/tdata/key_datas" },
	  { H "/.config/Slack/Cache/x", H "/.thunderbird/a.default/prefs.js" } },
	{ "dotenv", VERDICT_WARN,
	  { H "/src/app/.env", H "/src/app/.env.local", H "/src/app/prod.env", H "/src/.envrc",
	    H "/src/w/.dev.vars", H "/src/secrets.yml", H "/src/credentials.json",
	    H "/src/service-account-x.json", H "/src/x-sa-key.json",
	    H "/src/rails/config/master.key", H "/src/cert.p12", H "/x.kdbx" },
	  { H "/src/app/.env.example", H "/src/app/.env.sample", H "/src/app/.env.template",
	    H "/src/app/.env.dist", H "/src/app/.env.schema", H "/src/app/.env.test.example",
	    H "/src/app/env.py", H "/src/master.key" } },
	{ "history", VERDICT_WARN,
	  { H "/.bash_history", H "/.zsh_history", H "/.histfile", H "/.python_history",
	    H "/.local/share/fish/fish_history", H "/.lesshst", H "/.viminfo",
	    H "/.sqlite_history", H "/.node_repl_history" },
	  { H "/.bashrc", H "/src/.bash_history" } },
	{ "shadow", VERDICT_BLOCK,
	  { "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d/x",
	    "/etc/security/opasswd", "/etc/krb5.keytab", "/tmp/krb5cc_1000",
	    "/run/user/1000/krb5cc", "/var/lib/sss/secrets/secrets.ldb" },
	  { "/etc/passwd", "/etc/group", "/etc/krb5.conf", "/tmp/krb5" } },
	{ "host-keys-tls", VERDICT_BLOCK,
	  { "/etc/ssl/private/server.key", "/etc/letsencrypt/live/x/privkey.pem",
	    "/etc/letsencrypt/archive/x/privkey1.pem", "/etc/wireguard/wg0.conf",
	    "/etc/openvpn/server/s.key", "/etc/ppp/chap-secrets",
	    "/etc/NetworkManager/system-connections/home.nmconnection" },
	  { "/etc/ssl/certs/ca-certificates.crt", "/etc/letsencrypt/live/x/cert.pem",
	    "/etc/NetworkManager/NetworkManager.conf" } },
	{ "proc-env", VERDICT_BLOCK,
	  { "/proc/1/environ", "/proc/4711/mem", "/proc/7/task/8/environ", "/proc/kcore" },
	  { "/proc/1/status", "/proc/self/maps", "/proc/meminfo" } },
	{ "proc-env-self", VERDICT_WARN, { "/proc/self/environ" }, { "/proc/1/environ" } },
	{ "agent-claude", VERDICT_BLOCK,
	  { H "/.claude/.credentials.json", H "/.claude.json",
	    H "/.claude/backups/.claude.json.backup.1", H "/.config/anthropic/configs/a.json" },
	  { H "/.claude/settings.json", H "/.claude/CLAUDE.md", H "/src/.claude/settings.json" } },
	{ "agent-codex", VERDICT_BLOCK, { H "/.codex/auth.json", H "/.codex/.credentials.json" },
	  { H "/.codex/config.toml", H "/.codex/AGENTS.md" } },
	{ "agent-gemini", VERDICT_BLOCK,
	  { H "/.gemini/oauth_creds.json", H "/.gemini/google_accounts.json",
	    H "/.gemini/mcp-oauth-tokens-v2.json", H "/.gemini/.env",
	    H "/.gemini/gemini-credentials.json" },
	  { H "/.gemini/settings.json", H "/.gemini/GEMINI.md" } },
	{ "agent-others", VERDICT_BLOCK,
	  { H "/.qwen/oauth_creds.json", H "/.local/share/opencode/auth.json",
	    H "/.copilot/config.json", H "/.config/cursor/auth.json",
	    H "/.config/Cursor/User/globalStorage/state.vscdb", H "/.continue/auth.json",
	    H "/.config/goose/secrets.yaml", H "/.openclaw/agents/a/agent/auth-profiles.json",
	    H "/.aws/amazonq/x", H "/.mcp-auth/x/tokens.json", H "/.ollama/id_ed25519",
	    H "/.factory/auth.json" },
	  { H "/.qwen/settings.json", H "/.copilot/logs/x", H "/.config/goose/config.yaml",
	    H "/.ollama/id_ed25519.pub" } },
	{ "agent-transcripts", VERDICT_BLOCK,
	  { H "/.claude/projects/-src/a.jsonl", H "/.claude/history.jsonl",
	    H "/.codex/sessions/2026/01/01/r.jsonl", H "/.codex/history.jsonl",
	    H "/.gemini/tmp/x/chats/s.jsonl", H "/.qwen/projects/x/y",
	    H "/.local/share/opencode/storage/message/m.json",
	    H "/.copilot/session-state/s.json" },
	  { H "/.claude/CLAUDE.md", H "/.local/share/opencode/snapshot/x/HEAD",
	    H "/.codex/config.toml" } },
};

static void takes_what_each_category_is_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(categories); i++) {
		const struct category *c = &categories[i];
		enum verdict v;

		for (size_t j = 0; j < ARRAY_SIZE(c->taken) && c->taken[j]; j++) {
			if (!opens(c->part, c->taken[j], &stranger, &v))
				fail_msg("R3/%s misses %s", c->part, c->taken[j]);
			if (v < c->verdict)
				fail_msg("%s: only %s", c->taken[j], verdict_name(v));
		}
		assert_non_null(c->left[0]);
		for (size_t j = 0; j < ARRAY_SIZE(c->left) && c->left[j]; j++)
			if (opens(c->part, c->left[j], &stranger, &v))
				fail_msg("R3/%s takes %s", c->part, c->left[j]);
		assert_int_equal(find("R3", c->part)->action, c->verdict);
	}
}

/* What work needs all day must not be stopped by any part at all. */
static void blocks_nothing_that_work_needs(void **state)
{
	static const char *const harmless[] = {
		H "/.ssh/id_ed25519.pub", H "/.ssh/known_hosts", H "/.ssh/config",
		H "/.ssh/authorized_keys", H "/src/app/.env.example", H "/src/app/.env",
		H "/.npmrc", H "/.bash_history", H "/.gitconfig", H "/src/main.c",
		"/etc/passwd", "/etc/ssl/certs/ca-certificates.crt", "/usr/bin/env",
		H "/.config/gh/config.yml", H "/.gnupg/pubring.kbx", "/proc/self/status", H, "/",
	};
	enum verdict v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		opens("", harmless[i], &stranger, &v);
		if (v == VERDICT_BLOCK)
			fail_msg("%s is blocked", harmless[i]);
	}
}

/* Each agent is let through to its own token; another's, and its own children, are not. */
static void lets_an_agent_read_its_own_token_only(void **state)
{
	static const struct reader claude = { "claude-code", "/opt/versions/2.1.197", true };
	static const struct reader claude_npm = {
		"claude-code", "/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe",
		false
	};
	static const struct reader claude_child = { "claude-code", "/usr/bin/cat", false };
	static const struct reader gemini = { "gemini-cli", "/usr/bin/node", true };
	static const struct reader gemini_child = { "gemini-cli", "/usr/bin/node", false };
	static const struct reader opencode = { "opencode", "/opt/opencode", true };
	static const struct reader qwen = { "qwen-code", "/usr/bin/node", true };
	static const struct reader disguised = { "opencode", "/tmp/claude", false };
	static const struct {
		const char *part, *path;
		const struct reader *who;
		bool blocked;
	} reads[] = {
		{ "agent-claude", H "/.claude/.credentials.json", &claude, false },
		{ "agent-claude", H "/.claude/.credentials.json", &claude_npm, false },
		{ "agent-claude", H "/.claude/.credentials.json", &claude_child, true },
		{ "agent-claude", H "/.claude/.credentials.json", &gemini, true },
		{ "agent-claude", H "/.claude/.credentials.json", &disguised, true },
		{ "agent-gemini", H "/.gemini/oauth_creds.json", &gemini, false },
		{ "agent-gemini", H "/.gemini/oauth_creds.json", &gemini_child, true },
		{ "agent-gemini", H "/.gemini/oauth_creds.json", &claude, true },
		{ "agent-others", H "/.qwen/oauth_creds.json", &qwen, false },
		{ "agent-others", H "/.qwen/oauth_creds.json", &opencode, true },
		{ "agent-others", H "/.local/share/opencode/auth.json", &opencode, false },
		{ "agent-others", H "/.local/share/opencode/auth.json", &qwen, true },
		{ "agent-others", H "/.mcp-auth/x", &opencode, true },
		{ "agent-transcripts", H "/.claude/history.jsonl", &claude, false },
		{ "agent-transcripts", H "/.claude/history.jsonl", &claude_child, true },
		{ "agent-transcripts", H "/.codex/history.jsonl", &claude, true },
		/* its own token is all: the rest is denied to it as to anybody */
		{ "aws", H "/.aws/credentials", &claude, true },
	};
	enum verdict v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
		if (opens(reads[i].part, reads[i].path, reads[i].who, &v) != reads[i].blocked)
			fail_msg("%s by %s of %s: %s", reads[i].path, reads[i].who->exe,
				 reads[i].who->agent, verdict_name(v));
}

/* An exemption of one process is no reason not to watch the file. */
static void watches_what_some_are_let_through_to(void **state)
{
	const struct pathset *p = ruleset_pathset(pack);
	enum verdict v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(categories); i++) {
		const struct category *c = &categories[i];
		enum verdict least = c->verdict;

		if (!strncmp(c->part, "proc-", 5))
			least = VERDICT_WARN;
		for (size_t j = 0; j < ARRAY_SIZE(c->taken) && c->taken[j]; j++) {
			unsigned reach = pathset_reach(p, c->taken[j], H, &v);

			if (!(reach & GLOB_HERE) || v < least)
				fail_msg("%s is not watched for %s", c->taken[j], c->part);
		}
	}
	pathset_reach(p, H "/.ssh/id_rsa.pub", H, &v);
	assert_int_equal(v, VERDICT_ALLOW);
}

/* Marks would be put on all of it: a whole home, or all of a folder that every program uses. */
static void marks_no_folder_that_everything_uses(void **state)
{
	static const char *const busy[] = {
		H "/file", H "/.config/file", H "/.local/share/file", H "/.cache/file",
		H "/snap/firefox/file", H "/.mozilla/firefox/x/file", CHROME "Default/file",
		H "/.config/Slack/file", H "/.var/app/org.mozilla.firefox/file", H "/.claude/file",
		H "/.local/share/opencode/file", "/etc/file", "/run/file", "/tmp/file",
	};
	enum verdict v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(busy); i++) {
		pathset_reach(ruleset_pathset(pack), busy[i], H, &v);
		if (v != VERDICT_ALLOW)
			fail_msg("%s is watched", busy[i]);
	}
}

static bool connects(const char *part, const char *addr, uint16_t port, const char *host,
		     const char *protocol)
{
	struct event ev = { .kind = KIND_SOCKET_CONNECT, .source_name = "test" };
	struct tree tree;
	struct in_addr v4;
	enum verdict v;

	if (addr && inet_pton(AF_INET, addr, &v4) == 1) {
		ev.dest.addr[10] = ev.dest.addr[11] = 0xff;
		memcpy(ev.dest.addr + 12, &v4, sizeof(v4));
	} else if (addr) {
		assert_int_equal(inet_pton(AF_INET6, addr, ev.dest.addr), 1);
	}
	ev.dest.port = port;
	ev.dest.host = host;
	ev.dest.protocol = protocol;
	by(&ev, &tree, &stranger);
	return fired(&ev, part, &v);
}

static void names_what_is_connected_to(void **state)
{
	static const char *const detected[] = {
		"cloud-metadata", "docker-socket", "ssh-agent-socket", "keyring-dbus", "proc-env",
	};
	static const char *const others[] = {
		"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "100.100.100.200", "192.0.0.192",
		"169.254.0.23", "fd20:ce::254", "fe80::a9fe:a9fe", "169.254.42.42", "fd00:42::42",
	};

	(void)state;
	assert_true(connects("cloud-metadata", "169.254.169.254", 80, "", "tcp"));
	assert_true(connects("cloud-metadata", "fd00:ec2::254", 80, "", "tcp"));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!connects("cloud-metadata", others[i], 80, "", "tcp"))
			fail_msg("%s is not known", others[i]);
	assert_true(connects("cloud-metadata", "168.63.129.16", 32526, "", "tcp"));
	assert_true(connects("cloud-metadata", NULL, 80, "metadata.google.internal", "tcp"));
	assert_false(connects("cloud-metadata", "168.63.129.16", 53, "", "udp"));
	assert_false(connects("cloud-metadata", "192.0.2.1", 80, "", "tcp"));
	assert_true(connects("docker-socket", NULL, 0, "/var/run/docker.sock", "unix"));
	assert_true(connects("docker-socket", NULL, 0, "/run/user/1000/podman/podman.sock", "unix"));
	assert_false(connects("docker-socket", NULL, 0, "/run/dbus/system_bus_socket", "unix"));
	assert_true(connects("ssh-agent-socket", NULL, 0, "/tmp/ssh-Ab1/agent.77", "unix"));
	assert_true(connects("ssh-agent-socket", NULL, 0, H "/.1password/agent.sock", "unix"));
	assert_false(connects("ssh-agent-socket", NULL, 0, "/tmp/x/agent", "unix"));
	assert_true(connects("keyring-dbus", NULL, 0, "/run/user/1000/bus", "unix"));
	assert_false(connects("keyring-dbus", NULL, 0, "/run/user/1000/pipewire-0", "unix"));

	/* nothing here holds them, and none says that it does */
	for (size_t i = 0; i < ARRAY_SIZE(detected); i++)
		assert_int_equal(find("R3", detected[i])->mechanism, MECH_DETECT);
	assert_int_equal(find("R3", "aws")->mechanism, MECH_FANOTIFY);
	assert_int_equal(find("R1", "")->mechanism, MECH_DETECT);
}

/* Every document has an example above; a category that is added needs one. */
static void has_an_example_of_every_category(void **state)
{
	static const char *const connected[] = { "cloud-metadata", "docker-socket",
						 "ssh-agent-socket", "keyring-dbus" };

	(void)state;
	for (size_t i = 0; i < ruleset_count(pack); i++) {
		const struct rule *r = ruleset_rule(pack, i);
		bool found = strcmp(r->id, "R3") != 0;

		for (size_t j = 0; j < ARRAY_SIZE(categories); j++)
			found |= !strcmp(categories[j].part, r->part);
		for (size_t j = 0; j < ARRAY_SIZE(connected); j++)
			found |= !strcmp(connected[j], r->part);
		if (!found)
			fail_msg("no example for %s/%s", r->id, r->part);
		if (strcmp(r->id, "R3"))
			continue;
		assert_string_equal(r->name, "credential read");
		assert_int_equal(r->retain_s, 90 * 86400);
		assert_true(r->n_capture >= 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_each_category_is_for),
		cmocka_unit_test(blocks_nothing_that_work_needs),
		cmocka_unit_test(lets_an_agent_read_its_own_token_only),
		cmocka_unit_test(watches_what_some_are_let_through_to),
		cmocka_unit_test(marks_no_folder_that_everything_uses),
		cmocka_unit_test(names_what_is_connected_to),
		cmocka_unit_test(has_an_example_of_every_category),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
