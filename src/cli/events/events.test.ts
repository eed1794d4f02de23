// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { EventSchema, type EventsRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { isOf } from "./event-text.ts";

type Fields = Omit<MessageInitShape<typeof EventSchema>, "$typeName">;

const START_NS = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n;
const at = (second: number) => START_NS + BigInt(second) * 1_000_000_000n;
const IMAGE = "docker.io/library/nginx:1.27";

const REMEMBERED: Fields[] = [
  { atNs: at(1), kind: "image", type: "pulled", id: "sha256:abcd", image: IMAGE },
  {
    atNs: at(2),
    kind: "pod",
    type: "started",
    namespace: "default",
    pod: "web",
    id: "aaaa",
    message: "10.85.0.2",
  },
  {
    ...{
      atNs: at(3),
      kind: "container",
      type: "created",
      namespace: "default",
      pod: "web",
      container: "nginx",
    },
    ...{ id: "bbbb", image: IMAGE, attempt: 2 },
  },
  {
    ...{ atNs: at(4), kind: "container", type: "stopped", namespace: "shop", pod: "db", container: "sql" },
    ...{ id: "cccc", reason: "OOMKilled", exitCode: 137, message: "first\nsecond\u001b[31m" },
  },
];

/** A daemon that remembers these, and then sends `later`, one list for each call that follows. */
async function daemonWith(later: (readonly Fields[] | ConnectError)[] = []) {
  const requests: EventsRequest[] = [];
  const daemon = await startFakeDaemon({
    images: { listImages: () => ({ images: [] }) },
    pods: {
      async *events(request, { signal }) {
        requests.push(request);
        const since = request.sinceNs ?? 0n;
        if (request.rememberedOnly) {
          for (const event of REMEMBERED) if (event.atNs! >= since) yield create(EventSchema, event);
          return;
        }
        const next = later.shift();
        if (next instanceof ConnectError) throw next;
        for (const event of next ?? []) yield create(EventSchema, event);
        if (later.length > 0) throw new ConnectError("podrt serve is shutting down", Code.Unavailable);
        await new Promise((resolve) => void signal.addEventListener("abort", resolve));
      },
    },
  });
  return { daemon, requests };
}

test("what is remembered is printed in lines with names and reasons, nothing in them that moves a cursor", async () => {
  const { daemon } = await daemonWith();
  await using _ = daemon;
  const { exitCode, out } = await runCommand(daemon.socketPath, ["events", "--no-follow"]);
  expect(exitCode).toBe(0);
  expect(out.split("\n")).toEqual([
    `2026-01-01T00:00:01.000Z  image      pulled     ${IMAGE}`,
    "2026-01-01T00:00:02.000Z  pod        started    web  10.85.0.2",
    `2026-01-01T00:00:03.000Z  container  created    web/nginx  ${IMAGE}, attempt 3`,
    "2026-01-01T00:00:04.000Z  container  stopped    shop/db/sql  OOMKilled, exit code 137: first second [31m",
    "",
  ]);
});

test("names choose, and formats are as of lists, one event each", async () => {
  const { daemon } = await daemonWith();
  await using _ = daemon;
  const of = async (...args: string[]) =>
    (await runCommand(daemon.socketPath, ["events", "--no-follow", ...args])).out;
  expect(await of("web", "-o", "name")).toBe("web\nweb/nginx\n");
  expect(await of("nginx:1.27", "sql", "-o", "name")).toBe(`${IMAGE}\nshop/db/sql\n`);
  expect(JSON.parse(await of("db/sql", "-o", "json"))).toEqual({
    ...{ at: "2026-01-01T00:00:04.000Z", kind: "container", type: "stopped" },
    ...{ namespace: "shop", pod: "db", container: "sql", id: "cccc", image: "", attempt: 0 },
    ...{ reason: "OOMKilled", exitCode: 137, message: "first\nsecond\u001b[31m" },
  });
  expect(await of("cccc", "-o", "template={.type} {.exitCode}")).toBe("stopped 137\n");
  expect((await of("web", "-o", "yaml")).match(/^---$/gm)).toHaveLength(2);
  expect(await of("--since", "2026-01-01T00:00:03Z", "-o", "name")).toBe("web/nginx\nshop/db/sql\n");
});

test("a name of which nothing is known is told of; one that may come is waited for", async () => {
  const { daemon } = await daemonWith([[{ ...REMEMBERED[1], atNs: at(5), pod: "later" }]]);
  await using _ = daemon;
  const none = await runCommand(daemon.socketPath, ["events", "--no-follow", "web", "none"]);
  expect(none).toMatchObject({ exitCode: 1, out: "" });
  expect(none.err).toStartWith("podrt: there is no pod, container or image none; `podrt pods`");
  const stop = new AbortController();
  const { out, err } = await runCommand(daemon.socketPath, ["events", "later", "-o", "name"], {
    interrupted: stop.signal,
    onOut: (text) => text === "later\n" && stop.abort(),
  });
  expect(out).toBe("later\n");
  expect(err).toContain("image later");
  expect(err).toEndWith("; waiting for it\n");
});

test("what happens is printed as it happens, across a restart of the daemon, until Ctrl-C", async () => {
  const next = { kind: "pod", type: "stopped", namespace: "default", pod: "web" };
  const away = new ConnectError("no daemon", Code.Unavailable);
  const { daemon, requests } = await daemonWith([
    [{ ...next, atNs: at(5), message: "before" }],
    away,
    [{ ...next, atNs: at(6), message: "after" }],
  ]);
  await using _ = daemon;
  const stop = new AbortController();
  const { exitCode, out } = await runCommand(
    daemon.socketPath,
    ["events", "--since", "2026-01-01T00:00:04Z"],
    {
      interrupted: stop.signal,
      onOut: (text) => text.includes("after") && stop.abort(),
    },
  );
  expect(exitCode).toBe(0);
  expect(out.match(/sql|before|after/g)).toEqual(["sql", "before", "after"]);
  expect(requests.map(({ sinceNs }) => sinceNs)).toEqual([at(4), at(4) + 1n, at(5) + 1n, at(5) + 1n]);
});

test("what the daemon complains of is an error, and so is a daemon that is not there", async () => {
  const full = new ConnectError("events are already followed by 64 clients", Code.ResourceExhausted);
  const { daemon } = await daemonWith([full]);
  await using _ = daemon;
  const refused = await runCommand(daemon.socketPath, ["events"]);
  expect([refused.exitCode, refused.err]).toEqual([1, expect.stringContaining("64 clients")]);
  const absent = await runCommand("/nonexistent/podrt.sock", ["events"]);
  expect([absent.exitCode, absent.err]).toEqual([1, expect.stringContaining("no daemon answers")]);
});

test("an image goes by its name with and without host, tag and digest", () => {
  const image = (name: string) => create(EventSchema, { kind: "image", image: name, id: "sha256:12345" });
  for (const name of [IMAGE, "nginx:1.27", "nginx", "library/nginx"])
    expect(isOf(image(IMAGE), name)).toBe(true);
  for (const name of ["ginx", "1.27", "nginx:1"]) expect(isOf(image(IMAGE), name)).toBe(false);
  expect(isOf(image("localhost:5000/x@sha256:12"), "x")).toBe(true);
  expect(isOf(image("localhost:5000/x"), "x")).toBe(true);
  expect(isOf(image("y"), "12345")).toBe(true);
});
