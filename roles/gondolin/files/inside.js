/**
 * Owns running one command in the sandbox's machine on this program's own terminal or streams: inside WORKDIR COMMAND...
 * It must not know who calls it; its exit code is the command's, 255 when there is no machine.
 */

import { run } from "./client.js";

const UNREACHABLE = 255;
const terminal = process.stdin.isTTY && process.stdout.isTTY;
const [cwd = "", ...argv] = process.argv.slice(2);

const size = () => ({ rows: process.stdout.rows, columns: process.stdout.columns });

try {
	if (terminal) process.stdin.setRawMode(true);
	process.exitCode = await run(
		{ argv, cwd, ...(terminal ? { size: size(), env: { TERM: "xterm-256color" } } : {}) },
		{
			input: process.stdin,
			onOutput: (data) => process.stdout.write(data),
			onError: (data) => process.stderr.write(data),
			onSize: (resized) => process.stdout.on("resize", () => resized(size())),
		},
	);
} catch (error) {
	process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
	process.exitCode = UNREACHABLE;
} finally {
	if (terminal) process.stdin.setRawMode(false);
	process.stdin.destroy();
}
