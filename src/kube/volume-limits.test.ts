// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { podText } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import { emptyDirPath, type Pod, podLogsDir } from "./pod.ts";
import { exceededLimit, hasLimits } from "./volume-limits.ts";

let stateDir = "";
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "podrt-limits-"));
});
afterEach(() => rmSync(stateDir, { recursive: true }));

const KIB = 1024;

function podOf(spec: string): Pod {
  return parseManifest([{ name: "m.yaml", text: podText("p", spec) }]).pods[0]!;
}

function write(directory: string, kib: number): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "file"), Buffer.alloc(kib * KIB, 1));
}

/** What is said of a pod whose containers a and b have written to their roots below `stateDir`. */
function exceeded(pod: Pod): Promise<string | undefined> {
  return exceededLimit(pod, {
    home: { stateDir },
    containers: [
      { id: "1", name: "a" },
      { id: "2", name: "b" },
    ],
    writableDirectory: (id) => join(stateDir, "roots", id),
  });
}

const root = (id: string) => join(stateDir, "roots", id);
const limited = (name: string, limit: string) =>
  `{name: ${name}, image: i, resources: {limits: {ephemeral-storage: ${limit}}}}`;

test("a container may write so much to its root and its logs, and no more", async () => {
  const pod = podOf(`{containers: [${limited("a", "64Ki")}, {name: b, image: i}]}`);
  expect(hasLimits(pod)).toBeTrue();
  expect(await exceeded(pod)).toBeUndefined();
  write(root("1"), 40);
  expect(await exceeded(pod)).toBeUndefined();
  write(join(podLogsDir({ stateDir }, pod), "a"), 40);
  expect(await exceeded(pod)).toBe(
    "container a takes more than its limit of ephemeral-storage, 65536 bytes, with its root and its logs",
  );
});

test("all containers and volumes on disk together may write as much as their limits add up to", async () => {
  const pod = podOf(
    `{containers: [${limited("a", "64Ki")}, ${limited("b", "64Ki")}], volumes: [{name: v, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}]}`,
  );
  write(root("1"), 60);
  write(root("2"), 40);
  write(emptyDirPath({ stateDir }, pod, "m"), 100);
  expect(await exceeded(pod)).toBeUndefined();
  write(emptyDirPath({ stateDir }, pod, "v"), 40);
  expect(await exceeded(pod)).toBe(
    "the pod takes more than the 131072 bytes of ephemeral-storage that its containers' limits add up to",
  );
});

test("a volume has a limit of its own, and without limits nothing is looked at", async () => {
  const pod = podOf("{containers: [{name: a, image: i}], volumes: [{name: v, emptyDir: {sizeLimit: 32Ki}}]}");
  write(emptyDirPath({ stateDir }, pod, "v"), 40);
  expect(await exceeded(pod)).toBe("the emptyDir volume v takes more than its sizeLimit of 32768 bytes");
  expect(
    hasLimits(podOf("{containers: [{name: a, image: i}], volumes: [{name: v, emptyDir: {}}]}")),
  ).toBeFalse();
});
