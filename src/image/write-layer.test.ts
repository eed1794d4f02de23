// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_CREAT, O_RDONLY, O_WRONLY } from "../linux/abi/fcntl.ts";
import { S_IFCHR, S_IFIFO } from "../linux/abi/stat.ts";
import { open } from "../linux/fd.ts";
import { syscall } from "../linux/syscall.ts";
import { unpackLayer } from "./unpack-layer.ts";
import { writeLayer } from "./write-layer.ts";
import { isOpaque, setOpaque } from "./xattr.ts";

const AT_FDCWD = -100;
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "prt-layer-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function throughLayer(
  name: string,
  fill: (upper: string) => void,
  below: readonly string[] = [],
): Promise<string> {
  const [upper, again, layer] = ["upper", "again", "tar"].map((kind) => join(dir, `${name}.${kind}`)) as [
    string,
    string,
    string,
  ];
  mkdirSync(upper);
  mkdirSync(again);
  fill(upper);
  {
    using output = open(layer, O_WRONLY | O_CREAT, 0o600);
    await writeLayer([upper, ...below], output.number);
  }
  await unpackLayer({
    blobPath: layer,
    mediaType: "application/vnd.oci.image.layer.v1.tar",
    targetDir: again,
  });
  return again;
}

// Devices, owners and trusted attributes are root's.
const isRoot = process.geteuid?.() === 0;

// See above.
test.skipIf(!isRoot)(
  "an upper directory becomes the same again, with what it deletes and hides",
  async () => {
    const again = await throughLayer("same", (upper) => {
      mkdirSync(join(upper, "a/b"), { recursive: true });
      writeFileSync(join(upper, "a/b/file"), "x".repeat(2_000_001));
      chmodSync(join(upper, "a/b/file"), 0o4751);
      chownSync(join(upper, "a/b/file"), 70_000, 3_000_000);
      chmodSync(join(upper, "a/b/file"), 0o4751);
      utimesSync(join(upper, "a/b/file"), 1.5, 1.5);
      linkSync(join(upper, "a/b/file"), join(upper, "a/linked"));
      symlinkSync("/etc/passwd", join(upper, "a/symbolic"));
      syscall("mknodat", AT_FDCWD, join(upper, "pipe"), S_IFIFO | 0o600, 0);
      syscall("mknodat", AT_FDCWD, join(upper, "null"), S_IFCHR | 0o666, (1 << 8) | 3);
      syscall("mknodat", AT_FDCWD, join(upper, "a/deleted"), S_IFCHR, 0);
      using hidden = open(join(upper, "a/b"), O_RDONLY);
      setOpaque(hidden.number);
    });
    const file = lstatSync(join(again, "a/b/file"));
    expect([file.mode & 0o7777, file.uid, file.gid, file.nlink, file.mtimeMs]).toEqual([
      0o4751, 70_000, 3_000_000, 2, 1500,
    ]);
    expect(readFileSync(join(again, "a/linked")).length).toBe(2_000_001);
    expect(readlinkSync(join(again, "a/symbolic"))).toBe("/etc/passwd");
    expect(lstatSync(join(again, "pipe")).isFIFO()).toBe(true);
    expect([lstatSync(join(again, "null")).rdev, lstatSync(join(again, "a/deleted")).rdev]).toEqual([259, 0]);
    expect(lstatSync(join(again, "a/deleted")).isCharacterDevice()).toBe(true);
    using hidden = open(join(again, "a/b"), O_RDONLY);
    expect(isOpaque(hidden.number)).toBe(true);
  },
);

// See above.
test.skipIf(!isRoot)("of several directories what they are stacked is written", async () => {
  const lower = join(dir, "stacked.lower");
  const put = (top: string, path: string) =>
    writeFileSync(join(top, path), top === lower ? "lower" : "upper");
  for (const sub of ["both", "hidden", "gone", "only"]) {
    mkdirSync(join(lower, sub), { recursive: true });
    put(lower, `${sub}/below`);
  }
  for (const path of ["changed", "both/changed"]) put(lower, path);
  chmodSync(join(lower, "both"), 0o700);
  const again = await throughLayer(
    "stacked",
    (upper) => {
      for (const sub of ["both", "hidden"]) mkdirSync(join(upper, sub));
      for (const path of ["changed", "both/changed", "hidden/above"]) put(upper, path);
      syscall("mknodat", AT_FDCWD, join(upper, "gone"), S_IFCHR, 0);
      using hidden = open(join(upper, "hidden"), O_RDONLY);
      setOpaque(hidden.number);
    },
    [lower],
  );
  expect(readdirSync(again, { recursive: true }).map(String).toSorted()).toEqual([
    ...[
      "both",
      "both/below",
      "both/changed",
      "changed",
      "gone",
      "hidden",
      "hidden/above",
      "only",
      "only/below",
    ],
  ]);
  expect(
    ["changed", "both/changed", "both/below"].map((path) => readFileSync(join(again, path), "utf8")),
  ).toEqual([...["upper", "upper", "lower"]]);
  expect(lstatSync(join(again, "both")).mode & 0o777).toBe(0o755);
  expect(lstatSync(join(again, "gone")).isCharacterDevice()).toBe(true);
});

test("a name that would mean a deletion is refused, and no link is followed", async () => {
  await expect(throughLayer("deletion", (upper) => writeFileSync(join(upper, ".wh.x"), ""))).rejects.toThrow(
    'the container has a file named ".wh.x", which in a layer means a deletion: rename it',
  );
  const again = await throughLayer("link", (upper) => symlinkSync("/proc", join(upper, "directory")));
  expect(lstatSync(join(again, "directory")).isSymbolicLink()).toBe(true);
});
