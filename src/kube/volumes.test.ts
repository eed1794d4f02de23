// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseManifest } from "./manifest/parse.ts";
import { emptyDirPath, hostsFile, type Pod, type PodHome, podLogsDir } from "./pod.ts";
import { prepareVolumes, pruneAttempts, removePodFiles, writeHosts } from "./volumes.ts";

let home: PodHome;

beforeEach(() => {
  home = {
    stateDir: mkdtempSync(join(tmpdir(), "podrt-volumes-")),
    machineMemoryBytes: 1,
    cpuCount: 1,
    nodeName: "node",
    hostAddresses: () => ["192.0.2.9"],
    hostResolvConf: () => "",
    hostHosts: () => "127.0.0.1 localhost here\n",
    nameServer: () => undefined,
    takenIds: () => [],
  };
});
afterEach(() => rmSync(home.stateDir, { recursive: true }));

function pod(spec: string): Pod {
  const text = `apiVersion: v1\nkind: Pod\nmetadata: {name: p, uid: u}\nspec: {containers: [{name: a, image: b}], ${spec}}\n`;
  return parseManifest([{ name: "pod.yaml", text: text }]).pods[0]!;
}
const withHostPath = (type: string, path = join(home.stateDir, "x")) =>
  pod(`volumes: [{name: v, hostPath: {path: ${path}, type: ${type}}}]`);

describe("an emptyDir", () => {
  test("is open to all, and keeps what was written when it is prepared again", async () => {
    const p = pod("volumes: [{name: v, emptyDir: {}}]");
    await prepareVolumes(p, home);
    const path = emptyDirPath(home, p, "v");
    expect(statSync(path).mode & 0o7777).toBe(0o777);
    writeFileSync(join(path, "kept"), "");
    await prepareVolumes(p, home);
    expect(readdirSync(path)).toEqual(["kept"]);
    await removePodFiles(p, home);
    expect(existsSync(path)).toBe(false);
  });

  test("belongs to fsGroup, which files inherit", async () => {
    const p = pod(`securityContext: {fsGroup: ${process.getgid!()}}, volumes: [{name: v, emptyDir: {}}]`);
    await prepareVolumes(p, home);
    const { mode, gid } = statSync(emptyDirPath(home, p, "v"));
    expect(mode & 0o7777).toBe(0o2777);
    expect(gid).toBe(process.getgid!());
  });
});

describe("a hostPath", () => {
  test("is made where its type says so, and left behind", async () => {
    const directory = withHostPath("DirectoryOrCreate");
    await prepareVolumes(directory, home);
    await removePodFiles(directory, home);
    expect(statSync(join(home.stateDir, "x")).isDirectory()).toBe(true);
    await prepareVolumes(withHostPath("FileOrCreate", join(home.stateDir, "f")), home);
    expect(statSync(join(home.stateDir, "f")).isFile()).toBe(true);
  });

  test.each(["Directory", "File", "Socket", "CharDevice", "BlockDevice"])(
    "of type %s must be there",
    async (type) => {
      await expect(prepareVolumes(withHostPath(type), home)).rejects.toThrow(
        /volume v: hostPath .*\/x: there is nothing at that path; make it/,
      );
    },
  );

  test("of another type is refused", async () => {
    writeFileSync(join(home.stateDir, "x"), "");
    await expect(prepareVolumes(withHostPath("Directory"), home)).rejects.toThrow("is not of type Directory");
    await prepareVolumes(withHostPath("File"), home);
    await prepareVolumes(withHostPath("CharDevice", "/dev/null"), home);
  });
});

describe("the hosts file", () => {
  test("has the pod's addresses and its hostAliases, in the same inode when written again", async () => {
    const p = pod("hostAliases: [{ip: 192.0.2.7, hostnames: [one, two]}]");
    await writeHosts(p, ["10.85.0.2"], home);
    const { ino } = statSync(hostsFile(home, p));
    await writeHosts(p, ["10.85.0.9"], home);
    const text = readFileSync(hostsFile(home, p), "utf8");
    expect(text).toContain("127.0.0.1\tlocalhost\n");
    expect(text).toContain("10.85.0.9\tp\n");
    expect(text).not.toContain("10.85.0.2");
    expect(text).toEndWith("192.0.2.7\tone\ttwo\n");
    expect(statSync(hostsFile(home, p)).ino).toBe(ino);
  });

  test("is the host's with hostNetwork", async () => {
    const p = pod("hostNetwork: true");
    await writeHosts(p, [], home);
    expect(readFileSync(hostsFile(home, p), "utf8")).toBe("127.0.0.1 localhost here\n");
  });
});

test("logs of attempts that are gone are deleted, those of the last two stay", async () => {
  const p = pod("");
  const directory = join(podLogsDir(home, p), "a");
  mkdirSync(directory, { recursive: true });
  for (const attempt of [0, 1, 9, 10, 11]) writeFileSync(join(directory, `${attempt}.log`), "");
  await pruneAttempts(directory, 10);
  expect(readdirSync(directory).toSorted()).toEqual(["10.log", "11.log"]);
});
