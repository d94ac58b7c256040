/**
 * Owns asking a sandbox's machine to run a command, for pi's tools and for people's commands alike.
 * It must not know Gondolin, and runs nothing here: without a machine there is an error.
 */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type End, KIND, receive, type Request, type Size, send } from "./frames.ts";

export const SOCKET = "/run/pifleet/machine/machine.sock";
export const WORKSPACE = "/workspace";
// Whoever comes right after the places were started is there before the machine's host side listens.
const PATIENCE_MS = 60_000;
const PAUSE_MS = 100;

/** What to do with a command's bytes; its standard input is empty without `input`. */
export type Streams = {
	onOutput?: (data: Buffer) => void;
	onError?: (data: Buffer) => void;
	input?: AsyncIterable<Buffer>;
	/** Calls back whenever the terminal has another size. */
	onSize?: (resized: (size: Size) => void) => void;
	signal?: AbortSignal;
};

/** Run a command in the machine, which is started for it if need be; its exit code. Closing early kills the command. */
export async function run(request: Request, streams: Streams = {}): Promise<number> {
	const socket = await reached(streams.signal);
	const abort = () => socket.destroy(new Error("aborted"));
	streams.signal?.addEventListener("abort", abort, { once: true });
	if (streams.signal?.aborted) abort();
	return new Promise<number>((resolve, reject) => {
		socket.on("error", reject);
		socket.on("close", () => reject(new Error("the micro-VM went away")));
		receive(socket, (kind, data) => {
			if (kind === KIND.output) streams.onOutput?.(Buffer.from(data));
			else if (kind === KIND.error) streams.onError?.(Buffer.from(data));
			else if (kind === KIND.ready) feed(socket, streams).catch(reject);
			else if (kind === KIND.end) {
				const end = JSON.parse(data.toString()) as End;
				if ("code" in end) resolve(end.code);
				else reject(new Error(end.failure));
			}
		});
		send(socket, KIND.request, streams.input ? { ...request, input: true } : request);
	}).finally(() => {
		streams.signal?.removeEventListener("abort", abort);
		socket.destroy();
	});
}

/** Have the machine run until the returned function is called; resolves when it does run. */
export async function hold(): Promise<() => void> {
	const socket = await reached();
	return new Promise((resolve, reject) => {
		socket.on("error", reject);
		socket.on("close", () => reject(new Error("the micro-VM went away")));
		receive(socket, (kind, data) => {
			if (kind === KIND.ready) resolve(() => socket.destroy());
			else if (kind === KIND.end) reject(new Error((JSON.parse(data.toString()) as { failure: string }).failure));
		});
		send(socket, KIND.request, { argv: [], cwd: "/" });
	});
}

async function feed(socket: Socket, streams: Streams): Promise<void> {
	streams.onSize?.((size) => send(socket, KIND.size, size));
	for await (const chunk of streams.input ?? []) {
		if (!send(socket, KIND.input, chunk)) await new Promise((resolve) => socket.once("drain", resolve));
	}
	send(socket, KIND.eof);
}

/** A connection to the machine's host side. Throws when nobody listens there for a minute, or when it is given up. */
async function reached(signal?: AbortSignal): Promise<Socket> {
	for (let waited = 0; waited <= PATIENCE_MS; waited += PAUSE_MS) {
		if (signal?.aborted) throw new Error("aborted");
		const socket = connect(SOCKET);
		try {
			await once(socket, "connect");
			return socket;
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException;
			if (code !== "ENOENT" && code !== "ECONNREFUSED") throw error;
		}
		await sleep(PAUSE_MS);
	}
	throw new Error("the micro-VM of this sandbox cannot be reached, so nothing was run");
}
