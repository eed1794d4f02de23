// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type HostileImage, hostileLayout } from "../../fixtures/hostile-image.ts";
import { writeLayout } from "../../fixtures/image-files.ts";
import { listTree } from "../../fixtures/tree-listing.ts";
import type { Daemon } from "./daemon.ts";

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
