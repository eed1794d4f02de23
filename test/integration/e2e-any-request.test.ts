// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type Message, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { ImageService, RuntimeService } from "../../src/gen/runtime/v1/api_pb.ts";
import { anyValueOf, messageOfType } from "../fixtures/message-arbitrary.ts";
import { tame } from "../fixtures/tame-message.ts";
import { placesIn, validRequests, withValue } from "../fixtures/valid-requests.ts";
import { unixTransport } from "./harness/api.ts";
import { daemonState } from "./harness/daemon-state.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { busybox, createContainer, runContainer, runSandbox } from "./harness/pods.ts";

type Method = (typeof RuntimeService | typeof ImageService)["methods"][number];

/** These may end what the others need. */
const LAST = ["StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox", "RemoveImage"];
const all: readonly Method[] = [...RuntimeService.methods, ...ImageService.methods];
const methods = [
  ...all.filter(({ name }) => !LAST.includes(name)),
  ...all.filter(({ name }) => LAST.includes(name)),
];
const RUNS = 12;
/** Events go on until the client leaves. */
const EVENTS_MS = 100;

const fixture = useDaemon();
let directory: string;
let sandboxId: string;
let containerId: string;
let descriptors: number;
let made = 0;

beforeAll(async () => {
  const { daemon } = fixture;
  directory = mkdtempSync(join(tmpdir(), "podrt-any-"));
  sandboxId = await runSandbox(daemon, "subject");
  containerId = await runContainer(daemon, sandboxId, { name: "runs" });
  await createContainer(daemon, sandboxId, { name: "created" });
  descriptors = await settledDescriptors();
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A request that will do, one that would but for one field with any value, or one of nothing but random values. */
function anyRequest(method: Method): fc.Arbitrary<Message> {
  const { input } = method;
  const places = placesIn(input);
  if (places.length === 0) return fc.constant(create(input));
  const nearlyValid = fc
    .constantFrom(...places)
    .chain((place) => anyValueOf(place.field).map((value) => ({ place, value })))
    .map(({ place, value }) => create(input, withValue(validRequest(method.name), place, value) as never));
  const valid = fc.constant(method.name).map((name) => create(input, validRequest(name) as never));
  return fc.oneof(
    { weight: 3, arbitrary: nearlyValid },
    valid,
    messageOfType(input) as fc.Arbitrary<Message>,
  );
}

/** As `validRequests` has it, for what there is here, and each time for a new pod or container. */
function validRequest(name: string): object {
  const request = structuredClone(validRequests[name] ?? {}) as Record<string, unknown>;
  if ("podSandboxId" in request) request["podSandboxId"] = sandboxId;
  if ("containerId" in request) request["containerId"] = containerId;
  if ("image" in request) request["image"] = { image: busybox };
  const unique = `any-${made++}`;
  if (name === "RunPodSandbox") {
    request["config"] = { metadata: { name: unique, namespace: "default", uid: unique } };
  }
  if (name === "CreateContainer") {
    request["config"] = { metadata: { name: unique }, image: { image: busybox }, command: ["sleep", "60"] };
  }
  return request;
}

/** Undefined for an answer, which is read to its end. */
async function call(method: Method, request: Message): Promise<{ error?: ConnectError; answer?: Message }> {
  const transport = unixTransport(fixture.daemon.socket);
  try {
    if (method.methodKind === "unary") {
      const args = [undefined, 30_000, undefined, request as never] as const;
      return { answer: (await transport.unary(method as never, ...args)).message as Message };
    }
    const signal = method.name === "GetContainerEvents" ? AbortSignal.timeout(EVENTS_MS) : undefined;
    const input = (async function* () {
      yield request as never;
    })();
    const reply = await transport.stream(method as never, signal, 30_000, undefined, input);
    for await (const _ of reply.message);
    return {};
  } catch (error) {
    return { error: ConnectError.from(error) };
  }
}

/** Removes what an accepted request has made, of which nothing may remain. */
async function removeMade(method: Method, answer: Message | undefined): Promise<void> {
  const { api } = fixture.daemon;
  const ids = answer as { podSandboxId?: string; containerId?: string } | undefined;
  if (method.name === "CreateContainer" && ids?.containerId !== undefined) {
    await api.removeContainer({ containerId: ids.containerId });
  }
  if (/^(RunPodSandbox|RestorePod)$/.test(method.name) && ids?.podSandboxId !== undefined) {
    await api.removePodSandbox({ podSandboxId: ids.podSandboxId });
  }
}

function checkClean(method: Method, error: ConnectError): void {
  const isRegistry = method.name === "PullImage" && error.rawMessage.startsWith("RegistryUnavailable: ");
  const isOurs = method.name === "GetContainerEvents";
  const unclean = [
    Code.Internal,
    Code.DataLoss,
    ...(isRegistry ? [] : [Code.Unknown]),
    ...(isOurs ? [] : [Code.DeadlineExceeded]),
  ];
  expect(Code[error.code]).not.toBeOneOf(unclean.map((code) => Code[code]));
  expect(error.rawMessage).not.toBe("");
  expect(error.rawMessage).not.toMatch(/\n\s+at |undefined|\[object /);
}

describe("any request to a running daemon gets an answer or a clean error, and a refused one changes nothing", () => {
  for (const [index, method] of methods.entries()) {
    test(method.name, async () => {
      const runs = method.name === "GetContainerEvents" ? 2 : RUNS;
      let before = await settledState();
      for (const request of fc.sample(anyRequest(method), { seed: 4000 + index, numRuns: runs })) {
        tame(method.input, request, { directory, images: [busybox] });
        const { error, answer } = await call(method, request);
        const shown = toJsonString(method.input, request).slice(0, 2000);
        try {
          if (error !== undefined) checkClean(method, error);
          await removeMade(method, answer);
          if (error !== undefined || /^(Run|Create|Restore)/.test(method.name)) await toBe(before);
          else before = await settledState();
        } catch (failure) {
          throw new Error(`${method.name} ${shown}: ${error?.message ?? "accepted"}`, { cause: failure });
        }
      }
    }, 120_000);
  }

  test("and afterwards it has no more descriptors open than before", async () => {
    await eventually("as many descriptors as before", async () => (await openDescriptors()) <= descriptors);
    expect((await fixture.daemon.api.version({})).runtimeName).toBe("podrt");
  });
});

async function toBe(state: readonly string[]): Promise<void> {
  let found = await daemonState(fixture.daemon);
  // What was made for a moment may still be on its way out.
  for (let attempt = 0; attempt < 50 && !Bun.deepEquals(found, state); attempt++) {
    await Bun.sleep(20);
    found = await daemonState(fixture.daemon);
  }
  expect(found).toEqual([...state]);
}

/** The state once it does not change by itself any more. */
async function settledState(): Promise<readonly string[]> {
  let last = await daemonState(fixture.daemon);
  return eventually("a settled state", async () => {
    const next = await daemonState(fixture.daemon);
    const isSettled = Bun.deepEquals(next, last);
    last = next;
    return isSettled ? next : undefined;
  });
}

function openDescriptors(): number {
  return readdirSync(`/proc/${fixture.daemon.pid()}/fd`).length;
}

async function settledDescriptors(): Promise<number> {
  let last = -1;
  return eventually("settled descriptors", async () => {
    const next = openDescriptors();
    await Bun.sleep(100);
    const isSettled = next === last;
    last = next;
    return isSettled ? next : undefined;
  });
}
