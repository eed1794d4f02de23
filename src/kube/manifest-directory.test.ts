// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import { keepManifestDirectory, type ManifestDirectory } from "./manifest-directory.ts";

const k = useKeeper();
let directory: string;
let kept: ManifestDirectory | undefined;
let said: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "podrt-manifests-"));
  said = [];
});
afterEach(async () => {
  await kept?.close();
  kept = undefined;
  rmSync(directory, { recursive: true });
});

function watch(): void {
  const note = (_fields: object, message: string) => void said.push(message);
  kept = keepManifestDirectory(directory, {
    keeper: k.keeper,
    clock: k.clock,
    log: { info: note, warn: note },
  });
}
const write = (file: string, name: string, image = "nginx:1") =>
  writeFileSync(
    join(directory, file),
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {hostNetwork: true, containers: [{name: app, image: "${image}"}]}\n`,
  );
const names = () =>
  k.keeper
    .list()
    .map(({ pod, phase }) => `${pod.name} ${phase}`)
    .sort();
const shows = (expected: string[]) =>
  until(() => {
    k.clock.pass(5000);
    return JSON.stringify(names()) === JSON.stringify(expected);
  }, `${expected} are listed`);

test("files give pods that come, change and go with them", async () => {
  write("a.yaml", "a");
  write("b.yml", "b");
  write(".c.yaml", "c");
  watch();
  await shows(["a Running", "b Running"]);
  write("a.yaml", "a", "nginx:2");
  await until(() => {
    k.clock.pass(5000);
    return k.keeper.list().some(({ pod }) => pod.spec.containers[0]!.image === "nginx:2");
  }, "it is replaced");
  rmSync(join(directory, "b.yml"));
  await shows(["a Running"]);
});

test("a file with a mistake leaves its pod as it is, and is told of once", async () => {
  write("a.yaml", "a");
  watch();
  await shows(["a Running"]);
  writeFileSync(join(directory, "a.yaml"), "kind: Pot\n");
  const complaints = () => said.filter((message) => message.includes("Pot is not supported"));
  await until(() => {
    k.clock.pass(5000);
    return complaints().length > 0;
  }, "it is told of");
  k.clock.pass(5000);
  await shows(["a Running"]);
  expect(complaints()).toHaveLength(1);
});

test("one removed by hand comes back, and a daemon that was away finds what went meanwhile", async () => {
  write("a.yaml", "a");
  write("b.yaml", "b");
  watch();
  await shows(["a Running", "b Running"]);
  await k.keeper.delete("default", "a", 0);
  await shows(["a Running", "b Running"]);
  await kept!.close();
  await k.close();
  rmSync(join(directory, "b.yaml"));
  k.open();
  watch();
  await shows(["a Running"]);
});

test("a pod that a command asked for is not taken over, nor removed", async () => {
  k.keeper.run(
    parseManifest([
      {
        name: "x",
        text: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: mine, image: i}]}\n",
      },
    ]).pods,
  );
  write("a.yaml", "a");
  watch();
  await until(
    () => said.some((message) => message.includes("is kept already, from elsewhere")),
    "it is told of",
  );
  await shows(["a Running"]);
  expect(k.keeper.list()[0]!.pod.spec.containers[0]!.name).toBe("mine");
});

test("a directory that is not there is no mistake", async () => {
  rmSync(directory, { recursive: true });
  watch();
  await shows([]);
  expect(said).toEqual([]);
  directory = mkdtempSync(join(tmpdir(), "podrt-manifests-"));
});

test("pods of one Job take turns, also when its file has changed", async () => {
  const job = (image: string) =>
    `apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {completions: 2, template: {spec: {restartPolicy: Never, hostNetwork: true, containers: [{name: app, image: "${image}"}]}}}\n`;
  writeFileSync(join(directory, "job.yaml"), job("nginx:1"));
  watch();
  await shows(["j-0 Running", "j-1 Pending"]);
  writeFileSync(join(directory, "job.yaml"), job("nginx:2"));
  await until(() => {
    k.clock.pass(5000);
    return k.keeper.list().every(({ pod }) => pod.spec.containers[0]!.image === "nginx:2");
  }, "both are replaced");
  await shows(["j-0 Running", "j-1 Pending"]);
});
