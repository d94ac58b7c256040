/**
 * Owns running commands in a sandbox's micro-VM for whoever connects, and the guest's one way out.
 * It must not know pi. It runs where nothing is but the workspace and the socket to the egress proxy.
 *
 * @import { VM } from "@earendil-works/gondolin"
 * @import { Socket } from "node:net"
 * @import { End, Request } from "./frames.js"
 * @import { Settings } from "./guest.js"
 */

import { rmSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { KIND, receive, send } from "./frames.js";
import { INPUT_LIMIT, Machine } from "./guest.js";

// A command that is given up is ended with all that it started, however these detached themselves.
const MARK = "PIFLEET_COMMAND";
const END = `for p in /proc/[0-9]*; do grep -qsz "^${MARK}=$1$" $p/environ && kill -KILL \${p#/proc/}; done; :`;

// Gondolin 0.12's guest writes a command's input and reads its output in turn, and waits in both: megabytes both ways would
// stop it. So what is fed to a command goes to one of its own, which hands it on through a pipe that both of them know.
const MEET = '[ -p "$0" ] || mkfifo "$0" 2>/dev/null';
const FEED = `${MEET}; exec >"$0"; rm "$0"; exec cat`;
const FED = `${MEET}; exec <"$0"; exec "$@"`;

/** @typedef {(kind: number, data: Buffer) => void} Take */

/**
 * Serve one connection: boot for it, run its command, and end that command when the connection goes before it.
 * @param {Machine} machine
 * @param {Socket} socket
 */
function serve(machine, socket) {
	const gone = new AbortController();
	/** @type {Take | undefined} */
	let take;
	/** @type {[number, Buffer][]} */
	const early = [];
	socket.on("error", () => {});
	socket.on("close", () => gone.abort());
	receive(socket, (kind, data) => {
		if (kind === KIND.request) {
			void answer(machine, socket, JSON.parse(data.toString()), gone.signal, (taker) => {
				take = taker;
				for (const [earlyKind, earlyData] of early.splice(0)) taker(earlyKind, earlyData);
			});
		} else if (take) take(kind, data);
		else early.push([kind, Buffer.from(data)]);
	});
}

/**
 * @param {Machine} machine
 * @param {Socket} socket
 * @param {Request} request
 * @param {AbortSignal} gone
 * @param {(taker: Take) => void} listen
 */
async function answer(machine, socket, request, gone, listen) {
	/** @type {End | undefined} */
	let end;
	/** @type {VM | undefined} */
	let vm;
	try {
		vm = await machine.enter(gone);
		end = request.argv.length > 0 ? await command(vm, socket, request, gone, listen) : await idle(socket, gone);
	} catch (error) {
		const why = error instanceof Error ? error.message : String(error);
		end = { failure: vm ? why : `the micro-VM did not start, so nothing was run: ${why}` };
		if (vm) await machine.lost(vm);
	}
	send(socket, KIND.end, end);
	socket.end();
}

/**
 * @param {Socket} socket
 * @param {AbortSignal} gone
 */
async function idle(socket, gone) {
	send(socket, KIND.ready);
	if (!gone.aborted) await new Promise((resolve) => gone.addEventListener("abort", resolve, { once: true }));
	return { code: 0 };
}

/**
 * @param {VM} vm
 * @param {Socket} socket
 * @param {Request} request
 * @param {AbortSignal} gone
 * @param {(taker: Take) => void} listen
 */
async function command(vm, socket, request, gone, listen) {
	const mark = crypto.randomUUID();
	const pty = request.size !== undefined;
	const fed = request.input === true && !pty;
	const pipe = `/run/input-${mark}`;
	const env = { ...request.env, [MARK]: mark };
	const { cwd } = request;
	const feeder = fed ? vm.exec(["/bin/sh", "-c", FEED, pipe], { cwd, env, stdin: true, signal: gone }) : undefined;
	feeder?.catch(() => {}); // a command need not read what it is given
	// Found by its name like in a shell: the machine takes whole paths only.
	const argv = ["/usr/bin/env", "--", ...request.argv];
	const started = vm.exec(fed ? ["/bin/sh", "-c", FED, pipe, ...argv] : argv, {
		cwd,
		env,
		stdin: pty,
		pty,
		stdout: "pipe",
		stderr: "pipe",
		signal: gone,
	});
	const input = feeder ?? (pty ? started : undefined);
	let taken = 0;
	listen((kind, data) => {
		if (kind === KIND.input) {
			taken += data.length;
			if (taken <= INPUT_LIMIT) input?.write(data);
			else refuse(socket, "a command's input may have 512 MiB at the most");
		} else if (kind === KIND.eof) input?.end();
		else if (kind === KIND.size) {
			const size = JSON.parse(data.toString());
			started.resize(size.rows, size.columns);
		}
	});
	if (request.size) started.resize(request.size.rows, request.size.columns);
	send(socket, KIND.ready);
	try {
		for await (const chunk of started.output()) {
			const sent = send(socket, chunk.stream === "stdout" ? KIND.output : KIND.error, chunk.data);
			if (!sent && !gone.aborted) await Promise.race([once(socket, "drain"), once(socket, "close")]);
		}
		const result = await started;
		return { code: result.signal ? 128 + result.signal : result.exitCode };
	} finally {
		feeder?.end();
		if (gone.aborted) await vm.exec(["/bin/sh", "-c", END, "sh", mark]);
	}
}

/**
 * @param {Socket} socket
 * @param {string} failure
 */
function refuse(socket, failure) {
	send(socket, KIND.end, { failure });
	socket.destroySoon();
}

/**
 * @param {Socket} socket
 * @param {string} event
 */
function once(socket, event) {
	return new Promise((resolve) => socket.once(event, () => resolve(undefined)));
}

/**
 * Hand what the guest sends to the proxy's name on to the sandbox's own socket of the egress proxy.
 * @param {Settings} settings
 */
function forward(settings) {
	createServer({ allowHalfOpen: true }, (guest) => {
		const proxy = connect({ path: settings.egress, allowHalfOpen: true });
		for (const end of [guest, proxy]) end.on("error", () => [guest, proxy].forEach((each) => each.destroy()));
		guest.pipe(proxy).pipe(guest);
	}).listen(settings.proxy.port, "127.0.0.1");
}

// How machines are accelerated is the host's to say, and so another argument.
const [file = "", accel = "tcg"] = process.argv.slice(2);
/** @type {Settings} */
const settings = JSON.parse(readFileSync(file, "utf8"));
const machine = new Machine(settings, accel);
rmSync(settings.socket, { force: true });
forward(settings);
createServer((socket) => serve(machine, socket)).listen(settings.socket);
