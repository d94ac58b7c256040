/**
 * Owns asking a sandbox's machine to run a command, for pi's tools and for people's commands alike.
 * It must not know Gondolin, and runs nothing here: without a machine there is an error.
 *
 * @import { Socket } from "node:net"
 * @import { End, Request, Size } from "./frames.js"
 */

import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { KIND, receive, send } from "./frames.js";

export const SOCKET = "/run/pifleet/machine/machine.sock";
export const WORKSPACE = "/workspace";
// Whoever comes right after the places were started is there before the machine's host side listens.
const PATIENCE_MS = 60_000;
const PAUSE_MS = 100;

/**
 * What to do with a command's bytes; its standard input is empty without `input`. `onSize` is told whom to call back
 * whenever the terminal has another size.
 * @typedef {{
 *   onOutput?: (data: Buffer) => void,
 *   onError?: (data: Buffer) => void,
 *   input?: AsyncIterable<Buffer>,
 *   onSize?: (resized: (size: Size) => void) => void,
 *   signal?: AbortSignal,
 * }} Streams
 */

/**
 * Run a command in the machine, which is started for it if need be; its exit code. Closing early kills the command.
 * @param {Request} request
 * @param {Streams} [streams]
 * @returns {Promise<number>}
 */
export async function run(request, streams = {}) {
	const socket = await reached(streams.signal);
	const abort = () => socket.destroy(new Error("aborted"));
	streams.signal?.addEventListener("abort", abort, { once: true });
	if (streams.signal?.aborted) abort();
	const ended = /** @type {Promise<number>} */ (new Promise((resolve, reject) => {
		socket.on("error", reject);
		socket.on("close", () => reject(new Error("the micro-VM went away")));
		receive(socket, (kind, data) => {
			if (kind === KIND.output) streams.onOutput?.(Buffer.from(data));
			else if (kind === KIND.error) streams.onError?.(Buffer.from(data));
			else if (kind === KIND.ready) feed(socket, streams).catch(reject);
			else if (kind === KIND.end) {
				/** @type {End} */
				const end = JSON.parse(data.toString());
				if ("code" in end) resolve(end.code);
				else reject(new Error(end.failure));
			}
		});
		send(socket, KIND.request, streams.input ? { ...request, input: true } : request);
	}));
	return ended.finally(() => {
		streams.signal?.removeEventListener("abort", abort);
		socket.destroy();
	});
}

/**
 * Have the machine run until the returned function is called; resolves when it does run.
 * @returns {Promise<() => void>}
 */
export async function hold() {
	const socket = await reached();
	return new Promise((resolve, reject) => {
		socket.on("error", reject);
		socket.on("close", () => reject(new Error("the micro-VM went away")));
		receive(socket, (kind, data) => {
			if (kind === KIND.ready) resolve(() => socket.destroy());
			else if (kind === KIND.end) reject(new Error(JSON.parse(data.toString()).failure));
		});
		send(socket, KIND.request, { argv: [], cwd: "/" });
	});
}

/**
 * @param {Socket} socket
 * @param {Streams} streams
 */
async function feed(socket, streams) {
	streams.onSize?.((size) => send(socket, KIND.size, size));
	for await (const chunk of streams.input ?? []) {
		if (!send(socket, KIND.input, chunk)) await new Promise((resolve) => socket.once("drain", () => resolve(undefined)));
	}
	send(socket, KIND.eof);
}

/**
 * A connection to the machine's host side. Throws when nobody listens there for a minute, or when it is given up.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Socket>}
 */
async function reached(signal) {
	for (let waited = 0; waited <= PATIENCE_MS; waited += PAUSE_MS) {
		if (signal?.aborted) throw new Error("aborted");
		const socket = connect(SOCKET);
		try {
			await once(socket, "connect");
			return socket;
		} catch (error) {
			const { code } = /** @type {NodeJS.ErrnoException} */ (error);
			if (code !== "ENOENT" && code !== "ECONNREFUSED") throw error;
		}
		await sleep(PAUSE_MS);
	}
	throw new Error("the micro-VM of this sandbox cannot be reached, so nothing was run");
}
