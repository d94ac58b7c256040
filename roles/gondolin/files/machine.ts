/**
 * Owns a sandbox's one micro-VM: started for the first who asks, ended soon after the last has gone.
 * It must not know pi. It runs where nothing is but the workspace and the socket to the egress proxy.
 */

import { rmSync, readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { createHttpHooks, RealFSProvider, VM } from "@earendil-works/gondolin";
import { type End, KIND, receive, type Request, type Size, send } from "./frames.ts";

/** What root wrote for this sandbox, in the file that is the first argument. */
type Settings = {
	image: string;
	cpus: number;
	/** Bytes of the guest's memory. */
	memory: number;
	socket: string;
	workspace: string;
	/** Where the egress proxy of the host answers this sandbox. */
	egress: string;
	/** The name and port by which the guest reaches it. */
	proxy: { host: string; port: number };
	/** All variables that the guest has. */
	env: Record<string, string>;
	startSeconds: number;
	lingerSeconds: number;
};

// Gondolin keeps what a command has not read yet, drops what is more than its limit, and tells nobody. With this limit it
// keeps all of one input, and a longer one is refused.
const INPUT_LIMIT = 512 * 1024 * 1024;

// The guest has one way out and no name server, like a container without a network. It is root there and could undo that:
// what really closes its network is that this program's own has nothing in it but the forward to the proxy.
const CLOSE = `set -e
address=$(getent ahostsv4 "$1" | { read -r first rest; echo "$first"; })
echo "$address $1" >> /etc/hosts
: > /etc/resolv.conf
ip route add "$address" via 192.168.127.1
ip route del default`;

// A command that is given up is ended with all that it started, however these detached themselves.
const MARK = "PIFLEET_COMMAND";
const END = `for p in /proc/[0-9]*; do grep -qsz "^${MARK}=$1$" $p/environ && kill -KILL \${p#/proc/}; done; :`;

// Gondolin 0.12's guest writes a command's input and reads its output in turn, and waits in both: megabytes both ways would
// stop it. So what is fed to a command goes to one of its own, which hands it on through a pipe that both of them know.
const MEET = '[ -p "$0" ] || mkfifo "$0" 2>/dev/null';
const FEED = `${MEET}; exec >"$0"; rm "$0"; exec cat`;
const FED = `${MEET}; exec <"$0"; exec "$@"`;

class Machine {
	private readonly settings: Settings;
	private readonly accel: string;
	private vm: Promise<VM> | undefined;
	private users = 0;
	private ending: NodeJS.Timeout | undefined;

	constructor(settings: Settings, accel: string) {
		this.settings = settings;
		this.accel = accel;
	}

	/** The running machine, until `leave`. Throws when it does not start. */
	async enter(): Promise<VM> {
		clearTimeout(this.ending);
		this.users += 1;
		this.vm ??= this.boot();
		return this.vm;
	}

	leave(): void {
		this.users -= 1;
		clearTimeout(this.ending);
		if (this.users === 0) this.ending = setTimeout(() => this.end(), this.settings.lingerSeconds * 1000);
	}

	/** Forget a machine that no longer answers, so that the next who asks gets a new one. */
	lost(vm: VM): void {
		if (vm.getHostPid() === null) this.end();
	}

	private end(): void {
		const vm = this.vm;
		this.vm = undefined;
		vm?.then((running) => running.close()).catch((error: Error) => log(`the micro-VM did not end: ${error.message}`));
	}

	private boot(): Promise<VM> {
		const started = this.start();
		started.catch(() => {
			this.vm = undefined;
		});
		return started;
	}

	private async start(): Promise<VM> {
		const { settings } = this;
		const name = `${settings.proxy.host}:${settings.proxy.port}`;
		const vm = await VM.create({
			sandbox: {
				imagePath: settings.image,
				accel: this.accel,
				maxQueuedStdinBytes: INPUT_LIMIT,
				maxTotalQueuedStdinBytes: 2 * INPUT_LIMIT,
			},
			cpus: settings.cpus,
			memory: `${Math.floor(settings.memory / 1048576)}M`,
			startTimeoutMs: settings.startSeconds * 1000,
			sessionLabel: "pifleet",
			env: settings.env,
			vfs: { mounts: { [settings.workspace]: new RealFSProvider(settings.workspace) } },
			dns: { mode: "synthetic", syntheticHostMapping: "per-host" },
			tcp: { hosts: { [name]: `127.0.0.1:${settings.proxy.port}` } },
			httpHooks: createHttpHooks({ allowedHosts: [] }).httpHooks,
			allowWebSockets: false,
		});
		const closed = await vm.exec(["/bin/sh", "-c", CLOSE, "sh", settings.proxy.host]);
		if (closed.exitCode === 0) return vm;
		await vm.close();
		throw new Error(`its network could not be closed: ${closed.stderr.trim()}`);
	}
}

/** Serve one connection: boot for it, run its command, and end that command when the connection goes before it. */
function serve(machine: Machine, socket: Socket): void {
	const gone = new AbortController();
	let take: ((kind: number, data: Buffer) => void) | undefined;
	const early: [number, Buffer][] = [];
	socket.on("error", () => {});
	socket.on("close", () => gone.abort());
	receive(socket, (kind, data) => {
		if (kind === KIND.request) {
			void answer(machine, socket, JSON.parse(data.toString()) as Request, gone.signal, (taker) => {
				take = taker;
				for (const [earlyKind, earlyData] of early.splice(0)) taker(earlyKind, earlyData);
			});
		} else if (take) take(kind, data);
		else early.push([kind, Buffer.from(data)]);
	});
}

async function answer(
	machine: Machine,
	socket: Socket,
	request: Request,
	gone: AbortSignal,
	listen: (taker: (kind: number, data: Buffer) => void) => void,
): Promise<void> {
	let end: End | undefined;
	let vm: VM | undefined;
	try {
		vm = await machine.enter();
		end = request.argv.length > 0 ? await command(vm, socket, request, gone, listen) : await idle(socket, gone);
	} catch (error) {
		const why = error instanceof Error ? error.message : String(error);
		end = { failure: vm ? why : `the micro-VM did not start, so nothing was run: ${why}` };
		if (vm) machine.lost(vm);
	} finally {
		machine.leave();
	}
	send(socket, KIND.end, end);
	socket.end();
}

async function idle(socket: Socket, gone: AbortSignal): Promise<End> {
	send(socket, KIND.ready);
	if (!gone.aborted) await new Promise((resolve) => gone.addEventListener("abort", resolve, { once: true }));
	return { code: 0 };
}

async function command(
	vm: VM,
	socket: Socket,
	request: Request,
	gone: AbortSignal,
	listen: (taker: (kind: number, data: Buffer) => void) => void,
): Promise<End> {
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
			const size = JSON.parse(data.toString()) as Size;
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

function refuse(socket: Socket, failure: string): void {
	send(socket, KIND.end, { failure });
	socket.destroySoon();
}

function once(socket: Socket, event: string): Promise<void> {
	return new Promise((resolve) => socket.once(event, () => resolve()));
}

/** Hand what the guest sends to the proxy's name on to the sandbox's own socket of the egress proxy. */
function forward(settings: Settings): void {
	createServer({ allowHalfOpen: true }, (guest) => {
		const proxy = connect({ path: settings.egress, allowHalfOpen: true });
		for (const end of [guest, proxy]) end.on("error", () => [guest, proxy].forEach((each) => each.destroy()));
		guest.pipe(proxy).pipe(guest);
	}).listen(settings.proxy.port, "127.0.0.1");
}

function log(text: string): void {
	process.stderr.write(`${text}\n`);
}

// How machines are accelerated is the host's to say, and so another argument.
const [file = "", accel = "tcg"] = process.argv.slice(2);
const settings = JSON.parse(readFileSync(file, "utf8")) as Settings;
const machine = new Machine(settings, accel);
rmSync(settings.socket, { force: true });
forward(settings);
createServer((socket) => serve(machine, socket)).listen(settings.socket);
