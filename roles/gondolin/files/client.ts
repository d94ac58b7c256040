/**
 * Owns asking a sandbox's machine to run a command, for pi's tools and for people's commands alike.
 * It must not know Gondolin, and runs nothing here: without a machine there is an error.
 */

import { connect, type Socket } from "node:net";
import { type End, KIND, receive, type Request, type Size, send } from "./frames.ts";

export const SOCKET = "/run/pifleet/machine/machine.sock";
export const WORKSPACE = "/workspace";

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
export function run(request: Request, streams: Streams = {}): Promise<number> {
	const socket = connect(SOCKET);
	const abort = () => socket.destroy(new Error("aborted"));
	streams.signal?.addEventListener("abort", abort, { once: true });
	if (streams.signal?.aborted) abort();
	return new Promise<number>((resolve, reject) => {
		socket.on("error", (error: NodeJS.ErrnoException) => reject(unreachable(error)));
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
		send(socket, KIND.request, request);
	}).finally(() => {
		streams.signal?.removeEventListener("abort", abort);
		socket.destroy();
	});
}

/** Have the machine run until the returned function is called; resolves when it does run. */
export function hold(): Promise<() => void> {
	const socket = connect(SOCKET);
	return new Promise((resolve, reject) => {
		socket.on("error", (error: NodeJS.ErrnoException) => reject(unreachable(error)));
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

function unreachable(error: NodeJS.ErrnoException): Error {
	const gone = error.code === "ENOENT" || error.code === "ECONNREFUSED";
	return gone ? new Error("the micro-VM of this sandbox cannot be reached, so nothing was run") : error;
}
