// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import pino from "pino";
import { type Answer, type NriPeer, nriPeer } from "../../test/fixtures/nri-peer.ts";
import {
  ConfigureRequestSchema,
  ConfigureResponseSchema,
  CreateContainerResponseSchema,
  EmptySchema,
  Event,
  Plugin as PluginService,
  RegisterPluginRequestSchema,
  StateChangeEventSchema,
  UpdateContainersRequestSchema,
  UpdateContainersResponseSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import { Plugin } from "./plugin.ts";

const dir = mkdtempSync(join(tmpdir(), "podrt-nri-"));
const path = join(dir, "nri.sock");
const sockets: Socket[] = [];
const lines: string[] = [];
const log = pino({ level: "info" }, { write: (line) => lines.push(JSON.parse(line).msg) });
let server: Server;
let updates = 0;
let waiting = Promise.resolve();

beforeAll(async () => {
  server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
});

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

const empty = toBinary(EmptySchema, create(EmptySchema));

interface Options {
  readonly answer?: (method: string, payload: Uint8Array) => Answer | undefined;
  readonly configuration?: MessageInitShape<typeof ConfigureResponseSchema>;
  readonly registration?: MessageInitShape<typeof RegisterPluginRequestSchema> | "none";
  readonly requestTimeoutMs?: number;
  readonly frameBytes?: number;
}

/** A plugin with its other end. */
async function connected(options: Options = {}): Promise<{ peer: NriPeer; accepted: Promise<Plugin> }> {
  const configuration = toBinary(
    ConfigureResponseSchema,
    create(ConfigureResponseSchema, options.configuration ?? {}),
  );
  const before = sockets.length;
  const peer = await nriPeer(
    path,
    (method, payload) =>
      options.answer?.(method, payload) ?? (method === "Configure" ? configuration : empty),
    options.frameBytes,
  );
  while (sockets.length === before) await Bun.sleep(1);
  const accepted = Plugin.accept(sockets.at(-1)!, {
    registrationTimeoutMs: options.registration === "none" ? 50 : 10_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    log,
    updateContainers: async (_plugin, request) => {
      updates = request.update.length;
      await waiting;
      return create(UpdateContainersResponseSchema, { failed: request.update.slice(1) });
    },
  });
  accepted.catch(() => {});
  if (options.registration !== "none") {
    const request = options.registration ?? { pluginName: "test", pluginIdx: "10" };
    void peer.call("RegisterPlugin", RegisterPluginRequestSchema, request);
  }
  return { peer, accepted };
}

const { runPodSandbox, createContainer } = PluginService.method;
const pod = { pod: { id: "1", name: "pod" } };

test("one that registers is configured and asked, whatever the frames are cut into", async () => {
  const adjusted = toBinary(
    CreateContainerResponseSchema,
    create(CreateContainerResponseSchema, { adjust: { args: ["x".repeat(100_000), "y"] } }),
  );
  const answer = (method: string) => (method === "CreateContainer" ? adjusted : undefined);
  for (const frameBytes of [1000, 4096, 5_000_000]) {
    const { peer, accepted } = await connected({ answer, frameBytes });
    const plugin = await accepted;
    expect(plugin.name).toBe("10-test");
    const configure = fromBinary(ConfigureRequestSchema, peer.calls[0]!.payload);
    expect(configure).toMatchObject({
      runtimeName: "podrt",
      registrationTimeout: 10_000n,
      requestTimeout: 10_000n,
    });
    const request = { container: { name: "c".repeat(1_000_000) } };
    const reply = await plugin.relay(Event.CREATE_CONTAINER, createContainer, request);
    expect(reply?.adjust?.args.map(({ length }) => length)).toEqual([100_000, 1]);
    expect(peer.calls[1]!.payload.length).toBeGreaterThan(1_000_000);
    plugin.close(new Error("done"));
  }
});

test("one that does not register, or not properly, is sent away", async () => {
  const silent = await connected({ registration: "none" });
  await expect(silent.accepted).rejects.toThrow(
    "the registration of an NRI plugin did not finish within 50 ms",
  );
  for (const [registration, sentence] of [
    [{ pluginName: "a b", pluginIdx: "10" }, "plugin_name: is not 1 to 128 of letters"],
    [{ pluginName: "test", pluginIdx: "1" }, "plugin_idx: is not two digits"],
  ] as const) {
    const { peer, accepted } = await connected({ registration });
    await expect(accepted).rejects.toThrow(sentence);
    await peer.closed;
  }
  const { peer, accepted } = await connected({ configuration: { events: 1 << 20 } });
  await expect(accepted).rejects.toThrow("events: has bits that are no event: 0x100000");
  await peer.closed;
});

test("one hears of what it subscribed to, of single events by StateChange where it is old", async () => {
  const answer = (method: string) =>
    method === "RunPodSandbox" ? { code: 12, message: "method RunPodSandbox" } : undefined;
  const events = (1 << (Event.RUN_POD_SANDBOX - 1)) | (1 << (Event.START_CONTAINER - 1));
  const { peer, accepted } = await connected({ answer, configuration: { events } });
  const plugin = await accepted;
  await plugin.tell(Event.RUN_POD_SANDBOX, runPodSandbox, pod);
  await plugin.tell(Event.STOP_POD_SANDBOX, PluginService.method.stopPodSandbox, pod);
  await plugin.tell(Event.START_CONTAINER, PluginService.method.startContainer, pod);
  expect(await plugin.relay(Event.CREATE_CONTAINER, createContainer, pod)).toBeUndefined();
  expect(peer.calls.map(({ method }) => method)).toEqual([
    "Configure",
    "RunPodSandbox",
    "StateChange",
    "StateChange",
  ]);
  const change = fromBinary(StateChangeEventSchema, peer.calls[3]!.payload);
  expect(change).toMatchObject({ event: Event.START_CONTAINER, pod: { name: "pod" } });
});

test("one that refuses is kept, one that does not answer is dropped and done without", async () => {
  let silent = false;
  const answer = (method: string): Answer | undefined => {
    if (method !== "RunPodSandbox") return undefined;
    return silent ? "silence" : { code: 2, message: "not this one" };
  };
  const { peer, accepted } = await connected({ answer, requestTimeoutMs: 100 });
  const plugin = await accepted;
  const tell = () => plugin.tell(Event.RUN_POD_SANDBOX, runPodSandbox, pod);
  await expect(tell()).rejects.toThrow("NRI plugin 10-test refuses RunPodSandbox: not this one");
  silent = true;
  await tell();
  expect(plugin.isClosed).toBe(true);
  await peer.closed;
  expect(lines).toContain(
    "NRI plugin 10-test failed to answer RunPodSandbox: RunPodSandbox did not finish within 100 ms; it is dropped",
  );
  await tell();
});

test("its failure policy keeps one that is late, and fails what it did not answer", async () => {
  const answer = (method: string): Answer | undefined => (method === "RunPodSandbox" ? "silence" : undefined);
  const configuration = { failurePolicy: { keepConnected: true, failRequest: true } };
  const { peer, accepted } = await connected({ answer, configuration, requestTimeoutMs: 100 });
  const plugin = await accepted;
  const tell = () => plugin.tell(Event.RUN_POD_SANDBOX, runPodSandbox, pod);
  const sentence =
    "NRI plugin 10-test failed to answer RunPodSandbox: RunPodSandbox did not finish within 100 ms";
  for (let attempt = 0; attempt < 2; attempt++) {
    await tell().then(
      () => expect.unreachable(),
      (error) => expect(error.message).toBe(sentence),
    );
    expect(plugin.isClosed).toBe(false);
  }
  // The answer to a call that was given up is no offence.
  peer.send(1, 3, 2, new Uint8Array());
  await plugin.tell(Event.START_CONTAINER, PluginService.method.startContainer, pod);
  peer.socket.destroy();
  await peer.closed;
  await tell().catch(() => {});
  while (!plugin.isClosed) await Bun.sleep(1);
});

test("it asks for updates, is told which failed, and is dropped when it floods", async () => {
  const { peer, accepted } = await connected();
  const plugin = await accepted;
  const request = { update: [{ containerId: "a" }, { containerId: "b" }] };
  const reply = await peer.call("UpdateContainers", UpdateContainersRequestSchema, request);
  expect(updates).toBe(2);
  expect(fromBinary(UpdateContainersResponseSchema, reply.payload).failed).toMatchObject([
    { containerId: "b" },
  ]);
  expect((await peer.call("NoSuchMethod", EmptySchema, {})).status).toMatchObject({ code: 12 });
  const gate = Promise.withResolvers<void>();
  waiting = gate.promise;
  for (let count = 0; count < 17; count++) {
    void peer.call("UpdateContainers", UpdateContainersRequestSchema, request);
  }
  await peer.closed;
  gate.resolve();
  expect(plugin.isClosed).toBe(true);
  expect(lines).toContain("NRI plugin 10-test is gone: the plugin has more than 16 calls under way");
});
