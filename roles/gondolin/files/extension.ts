/**
 * Owns where pi's tools act: in the sandbox's micro-VM, all seven of them and `!`.
 * It must not do any of it here: without the machine a tool fails, with one sentence, and nothing is run.
 */

import {
	type BashOperations,
	createBashToolDefinition,
	createEditToolDefinition,
	createFindToolDefinition,
	createGrepToolDefinition,
	createLsToolDefinition,
	createReadToolDefinition,
	createWriteToolDefinition,
	type ExtensionAPI,
} from "@earendil-works/pi-coding-agent";
import { hold, run, type Streams, WORKSPACE } from "./client.js";

// What a tool may tell the guest of pi; nothing else of this process's environment goes there.
const TOLD = /^(AI_AGENT|PI_(SESSION_ID|SESSION_FILE|PROVIDER|MODEL|REASONING_LEVEL)|PI_CODING_AGENT)$/;
const CONTEXT_LIMIT = 256 * 1024;
const IMAGES: Record<string, string> = { png: "png", jpg: "jpeg", jpeg: "jpeg", gif: "gif", webp: "webp" };

/** What a command wrote. Throws what it said when its exit code is not 0. */
async function output(argv: string[], streams: Streams = {}): Promise<Buffer> {
	const [said, complaints]: [Buffer[], Buffer[]] = [[], []];
	const code = await run(
		{ argv, cwd: "/" },
		{ onOutput: (data) => said.push(data), onError: (data) => complaints.push(data), ...streams },
	);
	if (code !== 0) throw new Error(Buffer.concat(complaints).toString().trim() || `${argv[0]} ended with ${code}`);
	return Buffer.concat(said);
}

/** Whether a test(1) holds. */
async function test(flag: string, path: string): Promise<boolean> {
	return (await run({ argv: ["test", flag, path], cwd: "/" })) === 0;
}

async function* whole(text: string): AsyncGenerator<Buffer> {
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; at += 65536) yield bytes.subarray(at, at + 65536);
}

const files = {
	readFile: (path: string) => output(["cat", "--", path]),
	writeFile: async (path: string, content: string) => {
		await output(["sh", "-c", 'cat >"$1"', "sh", path], { input: whole(content) });
	},
	mkdir: async (path: string) => {
		await output(["mkdir", "-p", "--", path]);
	},
	access: async (path: string) => {
		await output(["sh", "-c", 'test -r "$1" || exec ls -d -- "$1"', "sh", path]);
	},
	detectImageMimeType: async (path: string) => {
		const kind = IMAGES[path.split(".").pop()?.toLowerCase() ?? ""];
		return kind ? `image/${kind}` : null;
	},
};

const folders = {
	exists: (path: string) => test("-e", path),
	stat: async (path: string) => {
		if (!(await test("-e", path))) throw new Error(`${path}: no such file or directory`);
		const folder = await test("-d", path);
		return { isDirectory: () => folder };
	},
	readdir: async (path: string) => {
		const names = (await output(["find", path, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\0"])).toString();
		return names.split("\0").filter((name) => name !== "");
	},
};

const search = {
	isDirectory: async (path: string) => (await folders.stat(path)).isDirectory(),
	readFile: async (path: string) => (await files.readFile(path)).toString(),
};

const find = {
	exists: folders.exists,
	glob: async (pattern: string, folder: string, { ignore, limit }: { ignore: string[]; limit: number }) => {
		// Only a whole path is held against a pattern with a folder in it; it may begin anywhere below.
		const below = pattern.includes("/") ? ["--full-path", pattern.replace(/^(?!\/|\*\*)/, "**/")] : [pattern];
		const excluded = ignore.flatMap((each) => ["--exclude", each]);
		const last = below.pop() ?? pattern;
		const flags = ["--glob", "--hidden", "--color=never", "--max-results", `${limit}`, ...excluded, ...below];
		const found = await output(["fd", ...flags, "--", last, folder]);
		return found.toString().split("\n").filter((line) => line !== "");
	},
};

const bash: BashOperations = {
	exec: async (command, cwd, { onData, signal, timeout, env }) => {
		const limit = timeout ? AbortSignal.timeout(timeout * 1000) : undefined;
		const ends = [signal, limit].filter((each) => each !== undefined);
		const told = Object.entries(env ?? {}).filter(([name, value]) => TOLD.test(name) && value !== undefined);
		try {
			const exitCode = await run(
				{ argv: ["bash", "-lc", command], cwd, env: Object.fromEntries(told) as Record<string, string> },
				{ onOutput: onData, onError: onData, signal: AbortSignal.any(ends) },
			);
			return { exitCode };
		} catch (error) {
			if (signal?.aborted) throw new Error("aborted");
			if (limit?.aborted) throw new Error(`timeout:${timeout}`);
			throw error;
		}
	},
};

/** What the repositories of the workspace say to agents, read by the guest and so by its rules only. */
async function context(): Promise<string> {
	const read = `for file in */AGENTS.md */CLAUDE.md; do
		[ -f "$file" ] && printf '\\n## %s\\n\\n' "$file" && head -c ${CONTEXT_LIMIT} -- "$file"; done; :`;
	const said: Buffer[] = [];
	await run({ argv: ["sh", "-c", read], cwd: WORKSPACE }, { onOutput: (data) => said.push(data) });
	return Buffer.concat(said).toString("utf8", 0, CONTEXT_LIMIT);
}

export default function (pi: ExtensionAPI): void {
	let release: (() => void) | undefined;

	pi.registerTool(createReadToolDefinition(WORKSPACE, { operations: files }));
	pi.registerTool(createWriteToolDefinition(WORKSPACE, { operations: files }));
	pi.registerTool(createEditToolDefinition(WORKSPACE, { operations: files }));
	pi.registerTool(createBashToolDefinition(WORKSPACE, { operations: bash }));
	pi.registerTool(createLsToolDefinition(WORKSPACE, { operations: folders }));
	pi.registerTool(createFindToolDefinition(WORKSPACE, { operations: find }));
	// It starts `rg`, which on pi's path is a program that runs it in the machine.
	pi.registerTool(createGrepToolDefinition(WORKSPACE, { operations: search }));
	pi.on("user_bash", () => ({ operations: bash }));

	pi.on("session_start", async (_event, ctx) => {
		ctx.ui.setStatus("gondolin", "micro-VM: starting");
		try {
			release = await hold();
			ctx.ui.setStatus("gondolin", "micro-VM: ready");
		} catch (error) {
			ctx.ui.setStatus("gondolin", "micro-VM: none");
			ctx.ui.notify(error instanceof Error ? error.message : String(error), "error");
		}
	});

	pi.on("session_shutdown", () => {
		release?.();
	});

	pi.on("before_agent_start", async (event) => {
		const said = await context().catch(() => "");
		return said ? { systemPrompt: `${event.systemPrompt}\n\n# Project context\n${said}` } : {};
	});
}
