// SPDX-License-Identifier: Apache-2.0
import { afterAll, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  archiveMembers,
  containerDocument,
  podDocument,
  writeCheckpoint,
} from "../fixtures/checkpoint-archive.ts";
import { headerBytes, type TarMember, tarOf } from "../fixtures/tar-writer.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { treeDigest } from "./harness/hostile.ts";
import { busybox, secured } from "./harness/pods.ts";
import { memoryOf } from "./harness/proc.ts";

/*
 * A checkpoint is anybody's bytes (CVE-2026-53492, CVE-2026-53489, CVE-2026-50195): it is taken apart within bounds
 * and into its own directory, and nothing that it says of itself is believed. The daemon has no criu, so that one whose
 * form is in order gets as far as that and no further.
 */

const MEMORY_LIMIT_BYTES = 512 * 2 ** 20;
const fixture = useDaemon({ config: '[checkpoint]\ncriu = "/nowhere/criu"\n' });
const scratch = mkdtempSync(join(tmpdir(), "podrt-checkpoints-"));
let turn = 0;
afterAll(() => rmSync(scratch, { recursive: true }));

/** What RestorePod says to a checkpoint that `prepare` has made; nothing of it may be left anywhere. */
async function refusal(prepare: (directory: string) => void, name = "app"): Promise<string> {
  const { daemon } = fixture;
  const directory = join(scratch, String(turn++));
  mkdirSync(directory);
  const outside = join(scratch, "outside");
  mkdirSync(outside, { recursive: true });
  writeFileSync(join(outside, "secret"), "secret");
  const before = treeDigest(outside);
  writeCheckpoint(directory, JSON.stringify(podDocument), tarOf(archiveMembers()));
  prepare(directory);
  const error = await daemon.api
    .restorePod({
      checkpointPath: directory,
      config: { metadata: { name: "restored", namespace: "default", uid: "u" } },
      containerConfigs: [{ metadata: { name }, image: { image: busybox }, ...secured({}) }],
    } as never)
    .catch((thrown: unknown) => ConnectError.from(thrown));
  if (!(error instanceof ConnectError)) throw new Error("it was restored");
  expect(treeDigest(outside)).toBe(before);
  expect(readdirSync(join(daemon.root, "lib/checkpoints"))).toEqual([]);
  expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
  expect(error.rawMessage).not.toMatch(/\p{C}/u);
  return `${Code[error.code]}: ${error.rawMessage}`;
}

const withArchive = (bytes: Uint8Array) => (directory: string) =>
  writeFileSync(join(directory, "containers/0.tar"), bytes);
const withMember = (member: TarMember) => withArchive(tarOf([...archiveMembers(), member]));
const withDocument = (document: unknown) => withArchive(tarOf(archiveMembers(document)));
const withPod = (pod: unknown) => (directory: string) =>
  writeFileSync(join(directory, "pod.json"), typeof pod === "string" ? pod : JSON.stringify(pod));

test("one whose form is in order gets as far as criu, whatever it says of namespaces, processes and mounts", async () => {
  const lies = {
    ...containerDocument,
    pid: 1,
    ociRuntime: "/bin/sh",
    rootfs: "/",
    podrt: {
      ...containerDocument.podrt,
      config: {
        linux: { namespaces: [], resources: {}, cgroupsPath: "/", maskedPaths: [] },
        mounts: [{ source: "/", destination: "/host", type: "bind" }],
        process: { capabilities: { bounding: ["CAP_SYS_ADMIN"] }, args: ["/bin/sh"] },
      },
    },
  };
  for (const document of [containerDocument, lies])
    expect(await refusal(withDocument(document))).toMatch(/^FailedPrecondition: .*criu/);
});

const refused: readonly (readonly [string, (directory: string) => void, RegExp])[] = [
  ["a link", withMember({ name: "checkpoint/x.img", type: "2", linkName: "/etc/passwd" }), /symlink/],
  ["a hard link", withMember({ name: "checkpoint/x.img", type: "1", linkName: "/etc/passwd" }), /hardlink/],
  [
    "a hard link to its own",
    withMember({ name: "checkpoint/x", type: "1", linkName: "config.dump" }),
    /hardlink/,
  ],
  ["a device", withMember({ name: "checkpoint/x.img", type: "3", deviceMajor: 1, deviceMinor: 1 }), /char/],
  ["a block device", withMember({ name: "checkpoint/x.img", type: "4", deviceMajor: 8 }), /block/],
  ["a pipe", withMember({ name: "checkpoint/x.img", type: "6" }), /fifo/],
  ["a name that climbs", withMember({ name: "../outside/secret", content: "x" }), /no place/],
  ["a name that climbs later", withMember({ name: "checkpoint/../../x", content: "x" }), /no place/],
  ["an absolute name", withMember({ name: "/etc/cron.d/x", content: "x" }), /no place|absolute/],
  ["a long name that climbs", withMember({ name: `checkpoint/${"../".repeat(60)}x` }), /no place/],
  ["a pax path that climbs", withMember({ name: "checkpoint/a", pax: { path: "../outside/a" } }), /no place/],
  [
    "a pax size",
    withMember({ name: "checkpoint/a", pax: { size: "99999999999999999999" } }),
    /size|too large|number/i,
  ],
  ["a directory of its own", withMember({ name: "checkpoint/d/", type: "5" }), /no place/],
  [
    "a directory in the place of a file",
    withArchive(tarOf([{ name: "config.dump", type: "5" }])),
    /no place/,
  ],
  ["a name that is not UTF-8", withMember({ name: "checkpoint/\xff\xfe" }), /no place/],
  ["a name that speaks to terminals", withMember({ name: "checkpoint/\x1b[2J\x9b" }), /no place/],
  ["an unknown type", withMember({ name: "checkpoint/a", type: "Z" }), /type/],
  ["a sparse file", withMember({ name: "checkpoint/a", type: "S" }), /sparse/],
  ["the same name twice", withMember({ name: "config.dump", content: "{}" }), /no place/],
  [
    "a file of exabytes",
    withMember({ name: "checkpoint/a", statedSize: 2 ** 33 - 1 }),
    /ends|truncated|too large/,
  ],
  [
    "a file larger than all may be",
    withArchive(headerBytes({ name: "checkpoint/a", pax: {} }, 2 ** 33 - 1)),
    /ends|truncated|too large/,
  ],
  ["a configuration larger than it may be", withDocument("x".repeat(5 << 20)), /too large/],
  ["a configuration that is no JSON", withDocument("{"), /JSON/],
  ["a deep configuration", withDocument("[".repeat(2_000_000)), /nested/],
  [
    "a deep configuration that is closed",
    withDocument(`${"[".repeat(900_000)}${"]".repeat(900_000)}`),
    /nested/,
  ],
  [
    "a configuration of another version",
    withDocument({ ...containerDocument, podrt: { version: 2 } }),
    /version/,
  ],
  [
    "a configuration of another container",
    withDocument({ ...containerDocument, name: "b" }),
    /not of container/,
  ],
  [
    "an argument in the place of a pipe",
    withDocument({
      ...containerDocument,
      podrt: { ...containerDocument.podrt, stdio: { stdout: "pipe:[1] --action-script=/x" } },
    }),
    /stdout/,
  ],
  ["nothing", withArchive(new Uint8Array()), /ends|no config\.dump|empty|truncated/],
  ["zeros", withArchive(new Uint8Array(20_480)), /no config\.dump/],
  ["a compressed archive", withArchive(gzipSync(tarOf(archiveMembers()))), /tar|checksum|header/],
  ["half of one", withArchive(tarOf(archiveMembers()).subarray(0, 3000)), /ends|truncated/],
  ["only a configuration", withArchive(tarOf(archiveMembers().slice(0, 1))), /rootfs-diff\.tar/],
  [
    "a link as archive",
    (directory) => relink(directory, "containers/0.tar", "../../outside/secret"),
    /regular file/,
  ],
  ["a pipe as archive", (directory) => pipeAt(directory, "containers/0.tar"), /regular file/],
  ["a directory as archive", (directory) => directoryAt(directory, "containers/0.tar"), /regular file/],
  ["a link as pod.json", (directory) => relink(directory, "pod.json", "/etc/passwd"), /regular file/],
  ["a pipe as pod.json", (directory) => pipeAt(directory, "pod.json"), /regular file/],
  ["no pod.json", (directory) => rmSync(join(directory, "pod.json")), /regular file/],
  [
    "a pod.json of a terabyte",
    (directory) => truncateSync(join(directory, "pod.json"), 2 ** 40),
    /too large/,
  ],
  ["a pod.json that is no JSON", withPod("\xff\xfe"), /pod\.json/],
  ["a deep pod.json", withPod("[".repeat(10_000_000)), /pod\.json/],
  ["a pod.json of another version", withPod({ ...podDocument, version: 99 }), /version/],
  ["a pod of no container", withPod({ ...podDocument, containers: [] }), /containers/],
  [
    "a pod with one name twice",
    withPod({ ...podDocument, containers: [podDocument.containers[0], podDocument.containers[0]] }),
    /twice/,
  ],
  [
    "a pod of ten thousand",
    withPod({ ...podDocument, containers: Array(10_000).fill(podDocument.containers[0]) }),
    /containers/,
  ],
  [
    "an archive elsewhere",
    withPod({ ...podDocument, containers: [{ name: "app", archive: "../outside/secret" }] }),
    /elsewhere/,
  ],
  [
    "an archive by a way round",
    withPod({ ...podDocument, containers: [{ name: "app", archive: "containers/../containers/0.tar" }] }),
    /elsewhere/,
  ],
  [
    "an absolute archive",
    withPod({ ...podDocument, containers: [{ name: "app", archive: "/etc/passwd" }] }),
    /elsewhere/,
  ],
  [
    "shared memory that is a link",
    (directory) => {
      withPod({ ...podDocument, hasSharedMemory: true })(directory);
      symlinkSync("/dev/zero", join(directory, "shm.tar"));
    },
    /regular file/,
  ],
];

test.each(refused.map(([what, prepare, reason]) => [what, prepare, reason] as const))(
  "%s is refused by name, and nothing of it is left",
  async (_, prepare, reason) => {
    const said = await refusal(prepare);
    expect(said).toMatch(/^(InvalidArgument: checkpoint_path: |ResourceExhausted: |Unimplemented: )/);
    expect(said).toMatch(reason);
  },
);

test("a name of its that speaks to terminals is not repeated to them", async () => {
  const name = "\x1b[2Japp\x9b\u202e";
  const pod = withPod({ ...podDocument, containers: [{ name, archive: "containers/0.tar" }] });
  expect(await refusal(pod)).toStartWith("InvalidArgument: ");
});

test("none of them has cost memory that stays", async () => {
  // Garbage may lie about for a moment.
  await eventually("the daemon's memory is bounded", async () => {
    await fixture.daemon.api.version({});
    return memoryOf(fixture.daemon.pid())["Pss"]! < MEMORY_LIMIT_BYTES;
  });
});

function relink(directory: string, name: string, target: string): void {
  rmSync(join(directory, name));
  symlinkSync(target, join(directory, name));
}

function pipeAt(directory: string, name: string): void {
  rmSync(join(directory, name));
  execFileSync("mkfifo", [join(directory, name)]);
}

function directoryAt(directory: string, name: string): void {
  rmSync(join(directory, name));
  mkdirSync(join(directory, name));
}
