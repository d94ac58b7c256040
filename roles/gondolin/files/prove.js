/**
 * Owns the proof of how this host can run a machine: prove IMAGE; prints kvm or tcg, whichever booted first.
 * It must not believe a device node: there are hosts on which /dev/kvm opens and no guest ever comes up.
 */

import { accessSync, constants } from "node:fs";
import { VM } from "@earendil-works/gondolin";

const SECONDS = { kvm: 30, tcg: 300 };
const image = process.argv[2] ?? "";

/** @param {"kvm" | "tcg"} accel */
async function boots(accel) {
	/** @type {VM | undefined} */
	let vm;
	try {
		vm = await VM.create({
			sandbox: { imagePath: image, accel, netEnabled: false },
			startTimeoutMs: SECONDS[accel] * 1000,
			memory: "512M",
			cpus: 1,
		});
		return (await vm.exec(["/bin/true"])).exitCode === 0;
	} catch (error) {
		process.stderr.write(`${accel}: ${error instanceof Error ? error.message : String(error)}\n`);
		return false;
	} finally {
		await vm?.close();
	}
}

function hasKvm() {
	try {
		accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
		return true;
	} catch {
		return false;
	}
}

if (hasKvm() && (await boots("kvm"))) process.stdout.write("kvm\n");
else if (await boots("tcg")) process.stdout.write("tcg\n");
else process.exitCode = 1;
