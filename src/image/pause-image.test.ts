// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { version } from "../../package.json";
import { MACHINE_CODE } from "../linux/machine-code.ts";
import { pauseArchive, pauseImage } from "./pause-image.ts";
import { createTarReader } from "./tar-reader.ts";

const NAME = "registry.test/infra/pause:1";

function filesOf(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let path = "";
  let content: Uint8Array[] = [];
  const reader = createTarReader({
    entry: (entry) => {
      expect(entry).toMatchObject({ type: "file", uid: 0, gid: 0, mtimeSeconds: 0 });
      path = entry.path;
      content = [];
    },
    data: (bytes) => void content.push(Uint8Array.from(bytes)),
    end: () => void files.set(path, Buffer.concat(content)),
  });
  reader.push(archive);
  reader.finish();
  return files;
}

const { x86_64, aarch64 } = MACHINE_CODE;
const parsed = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString());

test("the archive is an OCI layout whose index has the pause of each machine", () => {
  const files = filesOf(pauseArchive(NAME));
  const blob = ({ digest, size }: { digest: string; size: number }) => {
    const bytes = files.get(`blobs/${digest.replace(":", "/")}`)!;
    expect(bytes.length).toBe(size);
    expect(`sha256:${createHash("sha256").update(bytes).digest("hex")}`).toBe(digest);
    return bytes;
  };
  expect(parsed(files.get("oci-layout")!)).toEqual({ imageLayoutVersion: "1.0.0" });
  const [entry] = parsed(files.get("index.json")!).manifests;
  expect(entry.annotations).toEqual({
    "io.containerd.image.name": NAME,
    "org.opencontainers.image.ref.name": NAME,
  });
  const { manifests } = parsed(blob(entry));
  expect(manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
    { architecture: "amd64", os: "linux" },
    { architecture: "arm64", os: "linux" },
  ]);
  for (const [position, program] of [x86_64.PAUSE_ELF, aarch64.PAUSE_ELF].entries()) {
    const manifest = parsed(blob(manifests[position]));
    const config = parsed(blob(manifest.config));
    expect(config.architecture).toBe(manifests[position].platform.architecture);
    expect(config.config).toMatchObject({ Entrypoint: ["/pause"], User: "65535:65535" });
    expect(config.rootfs.diff_ids).toEqual([manifest.layers[0].digest]);
    expect([...filesOf(blob(manifest.layers[0]))]).toEqual([["pause", Buffer.from(program)]]);
  }
  // oci-layout, index.json, the index, and three blobs of each image: nothing that nobody refers to.
  expect(files.size).toBe(9);
});

test("it has a few kilobytes, and the same ones each time", () => {
  const archive = pauseArchive(NAME);
  expect(archive.length).toBeLessThan(16 * 1024);
  expect(pauseArchive(NAME)).toEqual(archive);
});

test("each program is a static ELF file of its machine, and of this version", () => {
  const EM_X86_64 = 62;
  const EM_AARCH64 = 183;
  for (const [elf, machine] of [
    [x86_64.PAUSE_ELF, EM_X86_64],
    [aarch64.PAUSE_ELF, EM_AARCH64],
  ] as const) {
    const view = new DataView(elf.buffer, elf.byteOffset);
    expect(view.getUint32(0)).toBe(0x7f454c46);
    expect(view.getUint16(18, true)).toBe(machine);
    expect(elf.length).toBeLessThanOrEqual(1024);
    // Where the assembler is missing, the code of before a change of the version would stay.
    expect(Buffer.from(elf).toString("latin1")).toContain(`podrt pause ${version}\n`);
  }
});

test("there is none for other machines", () => {
  expect(() => pauseImage({ os: "linux", architecture: "riscv64" })).toThrow("no pause for linux/riscv64");
  expect(() => pauseImage({ os: "windows", architecture: "amd64" })).toThrow("no pause for windows/amd64");
});
