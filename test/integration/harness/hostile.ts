// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type HostileImage, hostileLayout } from "../../fixtures/hostile-image.ts";
import { writeLayout } from "../../fixtures/image-files.ts";
import { listTree } from "../../fixtures/tree-listing.ts";
import type { Daemon } from "./daemon.ts";
import { procText } from "./proc.ts";

/** Imports the image from an OCI layout; answers the name that containers take it by. */
export async function importHostile(daemon: Daemon, name: string, image: HostileImage): Promise<string> {
  const { reference, code, stderr } = await tryImport(daemon, name, image);
  if (code !== 0) throw new Error(`podrt import of ${name}: ${stderr}`);
  return reference;
}

/** The same for an image that may be refused. */
export async function tryImport(daemon: Daemon, name: string, image: HostileImage) {
  const reference = `hostile.example/${name}:1`;
  const base = join(daemon.root, "hostile");
  mkdirSync(base, { recursive: true });
  const layout = writeLayout(base, await hostileLayout(reference, image));
  return { reference, ...(await daemon.podrt("import", layout)) };
}

/** A digest of everything below a directory: names, types, modes, owners, times and content. */
export function treeDigest(directory: string): string {
  const listed = JSON.stringify(listTree(directory), (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  return createHash("sha256").update(listed).digest("hex");
}

/**
 * The host as an escape would change it: /etc and the other small directories of the system in full, the names in
 * the larger ones. Directories where other instances and tests work are left out.
 */
export function hostTree(): Record<string, string> {
  const whole = ["/etc", "/srv", "/boot", "/mnt", "/media", "/home"].filter((path) => existsSync(path));
  const listed = ["/", "/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/opt", "/root", "/var", "/var/lib"];
  return {
    ...Object.fromEntries(whole.map((path) => [path, treeDigest(path)])),
    ...Object.fromEntries(listed.map((path) => [`names of ${path}`, readdirSync(path).sort().join(" ")])),
    devices: readdirSync("/dev")
      .sort()
      .map((name) => `${name} ${lstatSync(`/dev/${name}`).rdev}`)
      .join(" "),
    "core pattern": procText("/proc/sys/kernel/core_pattern"),
  };
}
