/**
 * Owns a sandbox's one micro-VM: started for the first who asks, ended soon after the last has gone.
 * It must not know who asks, or for what.
 */

import * as gondolin from "@earendil-works/gondolin";

/**
 * What root wrote for this sandbox: among it the bytes of the guest's memory, where the egress
 * proxy of the host answers this sandbox, name and port by which the guest reaches it, and all variables that the guest has.
 * @typedef {{
 *   image: string, cpus: number, memory: number, socket: string, workspace: string, egress: string,
 *   proxy: { host: string, port: number }, env: Record<string, string>, startSeconds: number, lingerSeconds: number,
 * }} Settings
 */

// Gondolin keeps what a command has not read yet, drops what is more than its limit, and tells nobody. With this limit it
// keeps all of one input, and a longer one is refused.
export const INPUT_LIMIT = 512 * 1024 * 1024;

// The guest has one way out and no name server, like a container without a network. It is root there and could undo that:
// what really closes its network is that this program's own has nothing in it but the forward to the proxy. All of it is one
// program: where machines are emulated, each more that starts costs a tenth of a second.
const CLOSE = `set -e
name=$1
set -- $(nslookup -type=a "$name" 192.168.127.1)
while [ "$1" != Name: ]; do shift; done
echo "$4 $name" >> /etc/hosts
: > /etc/resolv.conf
ip route add "$4" via 192.168.127.1
ip route del default`;
// As Gondolin has it, without what nobody here has use for and an emulated machine pays in seconds and memory: hundreds of
// lines for nobody to read, and a kernel that hides where it lies and wipes memory to guard itself from its own root.
const KERNEL = "console=ttyS0 initramfs_async=1 quiet nokaslr init_on_alloc=0";

export class Machine {
	/** @type {Promise<gondolin.VM> | undefined} */
	#made;
	/** @type {Promise<gondolin.VM> | undefined} */
	#ready;
	/** @type {NodeJS.Timeout | undefined} */
	#ending;
	#users = 0;
	#settings;
	#accel;

	/**
	 * @param {Settings} settings
	 * @param {string} accel
	 */
	constructor(settings, accel) {
		this.#settings = settings;
		this.#accel = accel;
	}

	/**
	 * The running machine, which stays until whoever asked for it is gone. Throws when it does not start, or not in time for
	 * anybody who still waits.
	 * @param {AbortSignal} gone
	 */
	async enter(gone) {
		clearTimeout(this.#ending);
		this.#users += 1;
		gone.addEventListener("abort", () => this.#leave(), { once: true });
		if (!this.#made) this.#boot();
		return /** @type {Promise<gondolin.VM>} */ (this.#ready);
	}

	/**
	 * Forget a machine that no longer answers, so that the next who asks gets a new one.
	 * @param {gondolin.VM} vm
	 */
	async lost(vm) {
		const made = this.#made;
		if (vm.getHostPid() === null && (await made) === vm) this.#end(made);
	}

	#leave() {
		this.#users -= 1;
		clearTimeout(this.#ending);
		if (this.#users === 0) this.#ending = setTimeout(() => this.#end(this.#made), this.#settings.lingerSeconds * 1000);
	}

	#boot() {
		const made = this.#create();
		this.#made = made;
		this.#ready = made.then((vm) => this.#close(vm));
		this.#ready.catch(() => this.#end(made));
	}

	/**
	 * End a machine, also one that has not come up yet; nothing when that has been done.
	 * @param {Promise<gondolin.VM> | undefined} made
	 */
	#end(made) {
		if (this.#made !== made) return;
		this.#made = undefined;
		made?.then((vm) => vm.close().catch((error) => log(`the micro-VM did not end: ${error.message}`)), () => {});
	}

	#create() {
		const settings = this.#settings;
		const name = `${settings.proxy.host}:${settings.proxy.port}`;
		return gondolin.VM.create({
			sandbox: {
				imagePath: settings.image,
				accel: this.#accel,
				append: KERNEL,
				maxQueuedStdinBytes: INPUT_LIMIT,
				maxTotalQueuedStdinBytes: 2 * INPUT_LIMIT,
			},
			cpus: settings.cpus,
			memory: `${Math.floor(settings.memory / 1048576)}M`,
			startTimeoutMs: settings.startSeconds * 1000,
			sessionLabel: "pifleet",
			env: settings.env,
			vfs: { mounts: { [settings.workspace]: new gondolin.RealFSProvider(settings.workspace) } },
			dns: { mode: "synthetic", syntheticHostMapping: "per-host" },
			tcp: { hosts: { [name]: `127.0.0.1:${settings.proxy.port}` } },
			httpHooks: gondolin.createHttpHooks({ allowedHosts: [] }).httpHooks,
			allowWebSockets: false,
		});
	}

	/**
	 * Close the machine's network, which boots it.
	 * @param {gondolin.VM} vm
	 */
	async #close(vm) {
		const closed = await vm.exec(["/bin/busybox", "sh", "-c", CLOSE, "sh", this.#settings.proxy.host]);
		if (closed.exitCode !== 0) throw new Error(`its network could not be closed: ${closed.stderr.trim()}`);
		return vm;
	}
}

/** @param {string} text */
function log(text) {
	process.stderr.write(`${text}\n`);
}
