// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { addHostileImage, type HostileImage, type PackedLayer } from "../fixtures/hostile-image.ts";
import { type HostileRegistry, startHostileRegistry } from "../fixtures/hostile-registry.ts";
import { headerBytes, type TarMember, tarOf } from "../fixtures/tar-writer.ts";
import { useDaemon } from "./harness/fixture.ts";
import { hostTree, treeDigest, tryImport } from "./harness/hostile.ts";
import { execIn, runContainer, runSandbox, shellIn } from "./harness/pods.ts";
import { statusField } from "./harness/proc.ts";

/*
 * Layers that mean to write elsewhere, or to fill memory and disk (CVE-2021-32760, CVE-2025-47290), each pulled from
 * a registry and imported from a layout: refused in one sentence and nothing kept, or unpacked where they belong.
 */

const fixture = useDaemon();
let registry: HostileRegistry;
let canary: string;
let counter = 0;

beforeAll(() => {
  registry = startHostileRegistry();
  canary = join(fixture.daemon.root, "canary");
  mkdirSync(join(canary, "directory"), { recursive: true });
  writeFileSync(join(canary, "file"), "canary\n", { mode: 0o600 });
});
afterAll(() => registry[Symbol.dispose]());

interface Outcome {
  readonly reference: string;
  /** Undefined when the image is there. */
  readonly problem: string | undefined;
}

async function pulled(image: HostileImage): Promise<Outcome> {
  const name = `layer-${counter++}`;
  registry.tags.set(`${name}:1`, await addHostileImage(registry.files, image));
  const reference = `${registry.host}/${name}:1`;
  const problem = await fixture.daemon.api.pullImage({ image: { image: reference } }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  return { reference, problem };
}

async function imported(image: HostileImage): Promise<Outcome> {
  const { reference, code, stderr } = await tryImport(fixture.daemon, `layer-${counter++}`, image);
  return { reference, problem: code === 0 ? undefined : stderr };
}

const store = () =>
  ["layers", "ingest", "blobs/sha256"].map((name) =>
    readdirSync(join(fixture.daemon.root, "lib", name)).sort(),
  );

const deep = "d/".repeat(1500);
const deeper = "d/".repeat(3000);
const refused: readonly (readonly [string, readonly TarMember[], RegExp])[] = [
  ["a name that climbs", [{ name: "../../../../../../etc/pwned" }], /leaves the layer's root/],
  ["a name that climbs late", [{ name: "a/b/../../../pwned" }], /leaves the layer's root/],
  [
    "a link to itself on the way",
    [{ name: "a", type: "2", linkName: "a" }, { name: "a/pwned" }],
    /ELOOP|links/,
  ],
  [
    "a hard link to the host's file",
    [{ name: "h", type: "1", linkName: "/etc/shadow-" }],
    /does not have before it/,
  ],
  [
    "a hard link that climbs",
    [{ name: "h", type: "1", linkName: "../../../../etc/passwd" }],
    /root|does not have/,
  ],
  ["a size beyond everything", [{ name: "f", statedSize: 2 ** 62 }], /./],
  ["a negative size", [{ name: "f", statedSize: -1 }], /./],
  ["a size of its own in pax", [{ name: "f", pax: { size: "99999999999999999999" } }], /./],
  ["GNU's sparse files", [{ name: "f", type: "S" }], /./],
  [
    "a device number out of range",
    [{ name: "d", type: "3", deviceMajor: 5000, deviceMinor: 2 ** 21 }],
    /device number/,
  ],
  ["a whiteout of the root", [{ name: ".wh.." }], /./],
  ["a whiteout of what is above", [{ name: "a/.wh..." }], /./],
  ["a path longer than the kernel takes", [{ name: `${deeper}f` }], /has a name of 6001 bytes/],
  ["a root that is a link", [{ name: "./", type: "2", linkName: "/" }], /root/],
  [
    "a pax record that lies about its length",
    [{ name: "x", type: "x", content: "999999 path=y\n" }, { name: "z" }],
    /./,
  ],
];

describe("is refused and leaves nothing", () => {
  test.each(refused)("%s", async (_, members, reason) => {
    const before = [hostTree(), treeDigest(canary)];
    for (const bring of [pulled, imported]) {
      const stored = store();
      const { problem } = await bring({ layers: [members] });
      expect(problem).toMatch(reason);
      expect(problem!.trim().split("\n").at(-1)).toContain("layer");
      const [layers, ingest] = store();
      expect([layers, ingest]).toEqual([expect.arrayContaining([]), []]);
      expect(layers!.length).toBeLessThanOrEqual(stored[0]!.length + 1);
    }
    expect([hostTree(), treeDigest(canary)]).toEqual(before);
  });
});

describe("stays inside", () => {
  const cases = (): readonly (readonly [string, readonly TarMember[], string])[] => [
    ["an absolute name", [{ name: `${canary}/pwned`, content: "x" }], `test -f ${canary}/pwned`],
    [
      "a chain of links to the host's directory, and a file through it",
      [
        { name: "l1", type: "2", linkName: "l2" },
        { name: "l2", type: "2", linkName: `../../../..${canary}` },
        { name: "l1/pwned", content: "x" },
      ],
      "test -f /l1/pwned",
    ],
    [
      "a directory's mode over a link of the same name",
      [
        { name: "d", type: "2", linkName: canary },
        { name: "d/", type: "5", mode: 0o777 },
      ],
      "test -d /d -a ! -L /d",
    ],
    [
      "a file over a link to the host's file",
      [
        { name: "f", type: "2", linkName: `${canary}/file` },
        { name: "f", content: "own" },
      ],
      "test ! -L /f -a $(cat /f) = own",
    ],
    [
      "a hard link through a link, and writing to it",
      [
        { name: "real/", type: "5" },
        { name: "real/file", content: "own" },
        { name: "d", type: "2", linkName: "real" },
        { name: "h", type: "1", linkName: "d/file" },
        { name: "h", content: "new" },
      ],
      "test $(cat /real/file) = own -a $(cat /h) = new",
    ],
    ["names that are no UTF-8", [{ name: "n/\xff\xfe\x80", content: "x" }], "test $(ls /n | wc -l) = 1"],
    [
      "names with newlines and escapes",
      [{ name: "n/a\nb\x1b[2J", content: "x" }],
      "test $(ls -A /n | wc -l) -ge 1",
    ],
    [
      "a device, which no container may use",
      [
        { name: "kmsg", type: "3", deviceMajor: 1, deviceMinor: 11, mode: 0o666 },
        { name: "disk", type: "4", deviceMajor: 254, deviceMinor: 0 },
      ],
      "test -c /kmsg -a -b /disk && ! head -c 1 /kmsg && ! head -c 1 /disk",
    ],
    [
      "attributes that steer overlayfs",
      [
        {
          name: "x/",
          type: "5",
          pax: {
            "SCHILY.xattr.trusted.overlay.redirect": "/etc",
            "SCHILY.xattr.trusted.overlay.opaque": "y",
          },
        },
      ],
      "test -d /x -a $(ls -A /x | wc -l) = 0",
    ],
    ["a path almost as long as the kernel takes", [{ name: `${deep}f`, content: "x" }], "test -d /d/d/d"],
    ["a setuid program", [{ name: "su", mode: 0o6755, content: "#!/bin/sh\n" }], "test -u /su -a -g /su"],
  ];

  test("for every trick, pulled and imported", async () => {
    const before = [hostTree(), treeDigest(canary)];
    const pod = await runSandbox(fixture.daemon, "layers");
    for (const [what, members, check] of cases()) {
      for (const bring of [pulled, imported]) {
        const { reference, problem } = await bring({ layers: [members] });
        expect(`${what}: ${problem}`).toBe(`${what}: undefined`);
        const id = await runContainer(fixture.daemon, pod, {
          name: `layers-${counter}`,
          image: { image: reference },
        });
        const { code, stderr } = await execIn(fixture.daemon, id, "sh", "-c", check);
        expect(`${what}: ${code} ${code === 0 ? "" : stderr}`).toBe(`${what}: 0 `);
        await fixture.daemon.api.removeContainer({ containerId: id });
      }
    }
    expect([hostTree(), treeDigest(canary)]).toEqual(before);
  });

  test("a hundred thousand entries, while the daemon answers", async () => {
    const { daemon } = fixture;
    const members = Array.from(
      { length: 100_000 },
      (_, index): TarMember => ({ name: `many/${index % 100}/${index}`, type: "2", linkName: "x" }),
    );
    const bringing = imported({ layers: [members] });
    let slowestMs = 0;
    const watch = (async () => {
      for (let isDone = false; !isDone; ) {
        const begin = performance.now();
        await daemon.api.version({});
        slowestMs = Math.max(slowestMs, performance.now() - begin);
        isDone = (await Promise.race([bringing, Bun.sleep(50)])) !== undefined;
      }
    })();
    const { reference, problem } = await bringing;
    await watch;
    expect(problem).toBeUndefined();
    expect(slowestMs).toBeLessThan(10_000);
    const pod = await runSandbox(daemon, "many");
    const id = await runContainer(daemon, pod, { name: "many", image: { image: reference } });
    expect(await shellIn(daemon, id, "ls /many | wc -l; ls /many/7 | wc -l")).toBe("100\n1000");
    await daemon.api.removeImage({ image: { image: reference } });
  });
});

/** 1.25 GiB of zeros in one file, in a blob of a megabyte: members and frames may follow each other. */
function bomb(pack: (bytes: Uint8Array) => Uint8Array, suffix: PackedLayer["suffix"]): PackedLayer {
  const PIECE_BYTES = 64 << 20;
  const PIECES = 20;
  const piece = pack(Buffer.alloc(PIECE_BYTES));
  const header = pack(headerBytes({ name: "zeros" }, PIECE_BYTES * PIECES));
  const bytes = Buffer.concat([header, ...Array<Uint8Array>(PIECES).fill(piece), pack(Buffer.alloc(1024))]);
  return { bytes, suffix, diffId: `sha256:${"0".repeat(64)}` };
}

test.each([
  ["gzip, pulled", () => bomb((bytes) => gzipSync(bytes), "+gzip"), pulled],
  ["zstd, imported", () => bomb((bytes) => zstdCompressSync(bytes), "+zstd"), imported],
] as const)(
  "a bomb of %s, is stopped by its bound, with the daemon's memory flat",
  async (_, make, bring) => {
    const peak = () => Number.parseInt(statusField(fixture.daemon.pid(), "VmHWM"), 10);
    const { problem } = await bring({ layers: [make()] });
    expect(problem).toMatch(/unpacks to more than \d+ bytes, which only a decompression bomb does/);
    const [, ingest] = store();
    expect(ingest).toEqual([]);
    expect(peak()).toBeLessThan(700 * 1024);
  },
);

test("a whole archive that is a bomb is stopped too", async () => {
  const { daemon } = fixture;
  const path = join(daemon.root, "bomb.tar.gz");
  writeFileSync(path, bomb((bytes) => gzipSync(bytes), "+gzip").bytes);
  const { code, stderr } = await daemon.podrt("import", path);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/inflates to more than \d+ bytes/)]);
  expect(readdirSync(join(daemon.root, "lib/ingest"))).toEqual([]);
});

test("a layer is what its diff id says, or is refused", async () => {
  const tar = tarOf([{ name: "x" }]);
  const layer: PackedLayer = { bytes: tar, suffix: "", diffId: `sha256:${"1".repeat(64)}` };
  for (const bring of [pulled, imported])
    expect((await bring({ layers: [layer] })).problem).toMatch(/diff|digest|sha256/);
});
