/**
 * Owns the wire between a sandbox's machine and whoever wants something run in it: one connection, one command.
 * It must not know what is run, or how.
 *
 * A frame is a kind (1 byte), a length (4 bytes, big-endian) and that many bytes.
 *
 * @import { Socket } from "node:net"
 */

export const KIND = { request: 0, input: 1, eof: 2, size: 3, output: 4, error: 5, ready: 6, end: 7 };

/**
 * What the first frame of a connection asks for: a command, or with an empty `argv` only that the machine runs. With
 * `input` its standard input is what comes in frames until `eof`, else it is empty; with `size` it gets a terminal.
 * @typedef {{ argv: string[], cwd: string, env?: Record<string, string>, input?: true, size?: Size }} Request
 *
 * @typedef {{ rows: number, columns: number }} Size
 *
 * How a command ended: its exit code, or why there is none.
 * @typedef {{ code: number } | { failure: string }} End
 */

const HEAD = 5;
const LIMIT = 16 * 1024 * 1024;

/**
 * Call `take` for every frame that arrives. A frame beyond 16 MiB ends the connection.
 * @param {Socket} socket
 * @param {(kind: number, data: Buffer) => void} take
 */
export function receive(socket, take) {
	/** @type {Buffer} */
	let held = Buffer.alloc(0);
	socket.on("data", (/** @type {Buffer} */ chunk) => {
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

/**
 * Send one frame; false when the other side should be waited for (`drain`).
 * @param {Socket} socket
 * @param {number} kind
 * @param {Buffer | object} [data]
 * @returns {boolean}
 */
export function send(socket, kind, data = Buffer.alloc(0)) {
	const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
	const head = Buffer.alloc(HEAD);
	head.writeUInt8(kind, 0);
	head.writeUInt32BE(bytes.length, 1);
	return socket.writable && socket.write(Buffer.concat([head, bytes]));
}
