/**
 * Owns the wire between a sandbox's machine and whoever wants something run in it: one connection, one command.
 * It must not know what is run, or how.
 *
 * A frame is a kind (1 byte), a length (4 bytes, big-endian) and that many bytes.
 */

import type { Socket } from "node:net";

export const KIND = { request: 0, input: 1, eof: 2, size: 3, output: 4, error: 5, ready: 6, end: 7 } as const;

/** What the first frame of a connection asks for: a command, or with an empty `argv` only that the machine runs. */
export type Request = {
	argv: string[];
	cwd: string;
	env?: Record<string, string>;
	/** Its standard input is what comes in frames until `eof`; empty without. */
	input?: true;
	/** The command gets a terminal of this size. */
	size?: Size;
};

export type Size = { rows: number; columns: number };

/** How a command ended: its exit code, or why there is none. */
export type End = { code: number } | { failure: string };

const HEAD = 5;
const LIMIT = 16 * 1024 * 1024;

/** Call `take` for every frame that arrives. A frame beyond 16 MiB ends the connection. */
export function receive(socket: Socket, take: (kind: number, data: Buffer) => void): void {
	let held: Buffer = Buffer.alloc(0);
	socket.on("data", (chunk: Buffer) => {
		held = held.length ? Buffer.concat([held, chunk]) : chunk;
		while (held.length >= HEAD) {
			const length = held.readUInt32BE(1);
			if (length > LIMIT) {
				socket.destroy(new Error("a frame is too long"));
				return;
			}
			if (held.length < HEAD + length) return;
			const [kind, data] = [held.readUInt8(0), held.subarray(HEAD, HEAD + length)];
			held = held.subarray(HEAD + length);
			take(kind, data);
		}
	});
}

/** Send one frame; false when the other side should be waited for (`drain`). */
export function send(socket: Socket, kind: number, data: Buffer | object = Buffer.alloc(0)): boolean {
	const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
	const head = Buffer.alloc(HEAD);
	head.writeUInt8(kind, 0);
	head.writeUInt32BE(bytes.length, 1);
	return socket.writable && socket.write(Buffer.concat([head, bytes]));
}
