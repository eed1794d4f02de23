// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { Code, ConnectError, type StreamResponse, type UnaryResponse } from "@connectrpc/connect";
import { RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import { currentOperation, pendingOperations } from "../lib/operation.ts";
import { rpcHandled } from "../telemetry/daemon-families.ts";
import { observe } from "./interceptors.ts";

const { getContainerEvents, version } = RuntimeService.method;

/** How often calls of that name have ended with that code. */
function handled(rpc: string, code: string): number {
  const samples = [...rpcHandled.samples()];
  return samples.find(({ labels }) => labels?.["rpc"] === rpc && labels["code"] === code)?.value ?? 0;
}

function call(method: object, stream: boolean, next: () => Promise<unknown>, signal: AbortSignal) {
  const request = { stream, method, signal, header: new Headers(), message: {} };
  return observe({ unary: 0 })(next as never)(request as never);
}

/** How many calls of that name are under way. */
const pending = (name: string) => pendingOperations().filter((operation) => operation.name === name).length;
const never = new AbortController().signal;

test("a call is an operation while it is served, and counted by its code", async () => {
  const pendingBefore = pending("Version");
  const before = [handled("Version", "OK"), handled("Version", "NotFound")];
  const answer = async () => ({ stream: false, message: { seen: currentOperation()?.name } });
  const { message } = (await call(version, false, answer, never)) as UnaryResponse;
  expect(message as object).toEqual({ seen: "Version" });
  const refuse = async () => {
    throw new ConnectError("no", Code.NotFound);
  };
  await expect(call(version, false, refuse, never)).rejects.toThrow("no");
  expect([handled("Version", "OK"), handled("Version", "NotFound")]).toEqual(
    before.map((count) => count + 1),
  );
  expect(pending("Version")).toBe(pendingBefore);
});

test("a stream is under way until it has been read", async () => {
  const before = handled("GetContainerEvents", "OK");
  const pendingBefore = pending("GetContainerEvents");
  const answer = async () => ({
    stream: true,
    message: (async function* () {
      yield pending("GetContainerEvents");
    })(),
  });
  const { message } = (await call(getContainerEvents, true, answer, never)) as StreamResponse;
  const read: unknown[] = [];
  for await (const item of message) read.push(item);
  expect(read).toEqual([pendingBefore + 1]);
  expect(pending("GetContainerEvents")).toBe(pendingBefore);
  expect(handled("GetContainerEvents", "OK")).toBe(before + 1);
});

test("a stream whose client leaves before it is read has ended too", async () => {
  const before = handled("GetContainerEvents", "Canceled");
  const pendingBefore = pending("GetContainerEvents");
  const client = new AbortController();
  await call(getContainerEvents, true, async () => ({ stream: true, message: [] }), client.signal);
  expect(pending("GetContainerEvents")).toBe(pendingBefore + 1);
  client.abort(new ConnectError("left", Code.Canceled));
  expect(pending("GetContainerEvents")).toBe(pendingBefore);
  expect(handled("GetContainerEvents", "Canceled")).toBe(before + 1);
});
