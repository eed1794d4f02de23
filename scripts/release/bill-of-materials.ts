// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Architecture } from "../../src/linux/architecture.ts";
import { MACHINE_CODE } from "../../src/linux/machine-code.ts";
import { projectDir } from "./release.ts";

interface LockedPackage {
  readonly name?: string;
  readonly version: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
}

/** The package whose program becomes the front of podrt. */
const BUN: Readonly<Record<Architecture, string>> = {
  x86_64: "node_modules/@oven/bun-linux-x64",
  aarch64: "node_modules/@oven/bun-linux-aarch64",
};
/** That of both machines is in each podrt. */
const ASSEMBLY: readonly (readonly [string, Uint8Array, string])[] = Object.entries(MACHINE_CODE).flatMap(
  ([architecture, { PAUSE_ELF, MONITOR_ELF, ENGINE_CODE }]) => [
    [`pause.${architecture}.S`, PAUSE_ELF, "PID 1 of a sandbox"],
    [`monitor.${architecture}.S`, MONITOR_ELF, "parent of a pod's processes"],
    [`engine.${architecture}.S`, ENGINE_CODE, "the launch engine"],
  ],
);

/**
 * What the program for a machine is made of, as CycloneDX 1.6: the packages of package-lock.json that run in it, Bun, and the machine
 * code of pause/. Hashes of packages are those of the registry's archives.
 */
export function billOfMaterials(version: string, architecture: Architecture, time: number): string {
  const { packages } = JSON.parse(readFileSync(join(projectDir, "package-lock.json"), "utf8")) as {
    packages: Record<string, LockedPackage>;
  };
  const running = Object.entries(packages).filter(([path, entry]) => path !== "" && runsInTheProgram(entry));
  const components = [
    ...running.map(([path, entry]) => npmPackage(path, entry, "library")),
    npmPackage(BUN[architecture], packages[BUN[architecture]]!, "platform"),
    ...ASSEMBLY.map(([source, code, description]) => assembled(source, code, description, version)),
  ];
  const root = {
    type: "application",
    "bom-ref": `podrt@${version}`,
    name: "podrt",
    version,
    ...licence("Apache-2.0"),
  };
  const bill = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(time * 1000).toISOString().replace(".000Z", "Z"),
      component: root,
    },
    components,
    dependencies: [{ ref: root["bom-ref"], dependsOn: components.map((component) => component["bom-ref"]) }],
  };
  return `${JSON.stringify(bill, null, 2)}\n`;
}

/** A peer of which nothing but types is used counts as optional in the lock file; Bun comes by itself. */
function runsInTheProgram({ dev, optional, devOptional }: LockedPackage): boolean {
  return !(dev || optional || devOptional);
}

function npmPackage(path: string, entry: LockedPackage, type: "library" | "platform") {
  const name = entry.name ?? path.replace(/^.*node_modules\//, "");
  const purl = `pkg:npm/${name.replace(/^@/, "%40")}@${entry.version}`;
  return {
    type,
    "bom-ref": purl,
    name,
    version: entry.version,
    ...(entry.integrity === undefined ? {} : { hashes: [hashOf(entry.integrity)] }),
    ...(entry.license === undefined ? {} : licence(entry.license)),
    purl,
  };
}

/** Subresource integrity, as npm has it, in CycloneDX's words. */
function hashOf(integrity: string) {
  const [algorithm = "", base64 = ""] = integrity.split("-", 2);
  return { alg: algorithm.replace("sha", "SHA-"), content: Buffer.from(base64, "base64").toString("hex") };
}

function assembled(source: string, code: Uint8Array, description: string, version: string) {
  const content = createHash("sha256").update(code).digest("hex");
  const name = `pause/${source}`;
  const hashes = [{ alg: "SHA-256", content }];
  return {
    type: "file",
    "bom-ref": `${name}@${version}`,
    name,
    version,
    description,
    hashes,
    ...licence("Apache-2.0"),
  };
}

/** One SPDX identifier, or an expression of several. */
function licence(expression: string) {
  const isOne = /^[\w.+-]+$/.test(expression);
  return { licenses: [isOne ? { license: { id: expression } } : { expression }] };
}
