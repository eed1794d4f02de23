// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
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
import { Code, ConnectError } from "@connectrpc/connect";
import { readTree } from "../../copy/read-tree.ts";
import type { CopyFromRequest, CopyToRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { O_DIRECTORY, O_PATH } from "../../linux/abi/fcntl.ts";
import { open } from "../../linux/fd.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate } from "../fake-pods.ts";
import { parseCopyPlace } from "./copy-place.ts";

let top: string;
let inside: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "podrt-cp-"));
  inside = join(top, "inside");
  mkdirSync(join(inside, "etc"), { recursive: true });
  writeFileSync(join(inside, "etc/conf"), "x".repeat(300_000));
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

const asked: CopyFromRequest[] = [];

/** As the daemon does it, with a directory in the place of a container's root. */
async function* copyFrom(request: CopyFromRequest) {
  asked.push(request);
  const chunks: Uint8Array[] = [];
  using root = open(inside, O_PATH | O_DIRECTORY);
  const source = { ...request, rootFd: root.number, shown: request.path };
  const { files, bytes, leftOut } = await readTree(source, (chunk) => void chunks.push(chunk.slice()));
  for (const value of chunks) yield { message: { case: "archive" as const, value } };
  const done = { files: BigInt(files), bytes: BigInt(bytes), leftOut: BigInt(leftOut) };
  yield { message: { case: "done" as const, value: done } };
}

describe("cp out of a container", () => {
  test("puts a directory where it is to be, and an archive on standard output", async () => {
    await using daemon = await startFakeDaemon({ pods: { copyFrom } });
    populate(daemon);
    const outcome = await runCommand(daemon.socketPath, ["cp", "demo/app1:/etc", top]);
    expect(outcome).toEqual({ exitCode: 0, out: "", err: "" });
    expect(readFileSync(join(top, "etc/conf"), "utf8")).toBe("x".repeat(300_000));
    expect(asked.at(-1)).toMatchObject({ containerId: id("b"), path: "/etc", followLink: false });
    const { out } = await runCommand(daemon.socketPath, ["cp", "-L", "etcd:/etc/conf", "-"]);
    expect(out).toContain("conf\0");
    expect(out.length % 512).toBe(0);
    expect(asked.at(-1)).toMatchObject({ containerId: id("e"), followLink: true });
  });

  test("leaves out what would run with another's rights, and says so", async () => {
    chmodSync(join(inside, "etc/conf"), 0o6755);
    await using daemon = await startFakeDaemon({ pods: { copyFrom } });
    populate(daemon);
    const { err } = await runCommand(daemon.socketPath, ["cp", "demo/app1:/etc/conf", join(top, "tool")]);
    expect(statSync(join(top, "tool")).mode & 0o7777).toBe(0o755);
    expect(err).toContain("podrt: 1 would run with another's rights");
  });

  test("is a failure when the daemon says nothing of its end, or fails", async () => {
    const half = async function* () {
      for await (const reply of copyFrom({ path: "/etc", followLink: false } as CopyFromRequest)) {
        if (reply.message.case === "archive") yield reply;
      }
    };
    await using daemon = await startFakeDaemon({ pods: { copyFrom: half } });
    populate(daemon);
    const cut = await runCommand(daemon.socketPath, ["cp", "demo/app1:/etc", top]);
    expect(cut.exitCode).toBe(1);
    expect(cut.err).toContain("the daemon ended the copy before all of it was there");
    await using broken = await startFakeDaemon({
      pods: {
        // biome-ignore lint/correctness/useYield: it fails before it says anything.
        async *copyFrom() {
          throw new ConnectError("there is no /none", Code.NotFound);
        },
      },
    });
    populate(broken);
    const none = await runCommand(broken.socketPath, ["cp", "demo/app1:/none", top]);
    expect(none).toEqual({ exitCode: 1, out: "", err: "podrt: there is no /none\n" });
  });
});

describe("cp into a container", () => {
  const received: { start?: unknown; bytes: number }[] = [];
  async function copyTo(requests: AsyncIterable<CopyToRequest>) {
    const got = { start: undefined as unknown, bytes: 0 };
    received.push(got);
    for await (const { message } of requests) {
      if (message.case === "start") {
        const { containerId, path, topName } = message.value;
        got.start = { containerId, path, topName };
      } else if (message.case === "archive") got.bytes += message.value.length;
    }
    return { done: { files: 2n, bytes: BigInt(got.bytes), leftOut: 1n } };
  }

  test("sends a directory, its content, or an archive from standard input", async () => {
    await using daemon = await startFakeDaemon({ pods: { copyTo } });
    populate(daemon);
    const sent = async (from: string, stdin = "") => {
      const words = ["cp", from, "demo/app1:/srv"];
      const input = (async function* () {
        if (stdin !== "") yield new TextEncoder().encode(stdin);
      })();
      const { exitCode, err } = await runCommand(daemon.socketPath, words, { stdin: input });
      expect({ exitCode, err: err.slice(0, 18) }).toEqual({ exitCode: 0, err: "podrt: 1 left out:" });
      return received.at(-1)!;
    };
    const start = { containerId: id("b"), path: "/srv" };
    const directory = await sent(join(inside, "etc"));
    expect(directory.start).toEqual({ ...start, topName: "etc" });
    expect(directory.bytes).toBeGreaterThan(300_000);
    expect((await sent(`${inside}/etc/.`)).start).toEqual({ ...start, topName: "." });
    expect(await sent("-", "archive")).toEqual({ start: { ...start, topName: "" }, bytes: 7 });
  });

  test("tells what is wrong here rather than that the call was ended", async () => {
    await using daemon = await startFakeDaemon({ pods: { copyTo } });
    populate(daemon);
    const none = await runCommand(daemon.socketPath, ["cp", "./none", "demo/app1:/srv"]);
    expect(none).toEqual({ exitCode: 1, out: "", err: "podrt: there is no ./none\n" });
    await using full = await startFakeDaemon({
      pods: {
        async copyTo() {
          throw new ConnectError("no space left", Code.ResourceExhausted);
        },
      },
    });
    populate(full);
    const refused = await runCommand(full.socketPath, ["cp", inside, "demo/app1:/srv"]);
    expect(refused).toEqual({ exitCode: 1, out: "", err: "podrt: no space left\n" });
    expect(readdirSync(inside)).toEqual(["etc"]);
  });
});

test("one side is a container's, and a pod of several wants its name", async () => {
  await using daemon = await startFakeDaemon();
  populate(daemon);
  const said = async (...words: string[]) => {
    const { exitCode, err } = await runCommand(daemon.socketPath, ["cp", ...words]);
    return `${exitCode} ${err}`;
  };
  expect(await said("web/a", "b")).toBe(
    "2 podrt: name a container on one side, as in `podrt cp POD/CONTAINER:/PATH b`\n",
  );
  expect(await said("a:/x", "b:/y")).toContain("2 podrt: one side of a copy is on this machine");
  expect(await said("a:", "b")).toContain("2 podrt: a: is not CONTAINER:PATH");
  expect(await said("none:/x", ".")).toContain("1 podrt: there is no container none");
  const [app] = daemon.containers;
  daemon.containers.push({ ...app!, id: id("9"), metadata: { name: "sidecar", attempt: 0 } });
  expect(await said("demo:/x", ".")).toContain("1 podrt: pod demo has several containers");
});

test("a path with a colon is told from a container's by how it begins", () => {
  expect(parseCopyPlace("./a:b")).toMatchObject({ kind: "local", path: join(process.cwd(), "a:b") });
  expect(parseCopyPlace("/a:b")).toMatchObject({ kind: "local", path: "/a:b" });
  expect(parseCopyPlace("a:b:c")).toEqual({ kind: "container", container: "a", path: "b:c" });
  expect(parseCopyPlace(".")).toMatchObject({ path: `${process.cwd()}/.` });
  expect(parseCopyPlace("d/")).toMatchObject({ path: `${process.cwd()}/d/` });
});
