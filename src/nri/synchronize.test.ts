// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Runtime } from "../container/runtime.ts";
import {
  SynchronizeRequestSchema,
  type SynchronizeResponse,
  SynchronizeResponseSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import { JsonText } from "../lib/json-text.ts";
import { MESSAGE_LIMIT_BYTES } from "./connection.ts";
import type { Plugin } from "./plugin.ts";
import { synchronize } from "./synchronize.ts";

type Sent = MessageInitShape<typeof SynchronizeRequestSchema>;

function runtimeWith(pods: number, annotationBytes: number): Runtime {
  const config = new JsonText({ annotations: { big: "x".repeat(annotationBytes) } });
  const record = { readyAtNs: "1", addresses: [], name: "pod", config };
  const list = Array.from({ length: pods }, (_, index) => ({ ...record, id: String(index) }));
  return {
    sandboxes: { list: () => [...list, { ...record, id: "unfinished", readyAtNs: undefined }] },
    containers: { list: () => [{ created: false }, { created: true, finishedAtNs: "1" }] },
  } as unknown as Runtime;
}

function pluginThat(answers: (sent: Sent) => MessageInitShape<typeof SynchronizeResponseSchema>) {
  const sent: Sent[] = [];
  const call = async (_method: unknown, request: Sent): Promise<SynchronizeResponse> => {
    sent.push(request);
    return create(SynchronizeResponseSchema, answers(request));
  };
  return { sent, plugin: { call } as unknown as Plugin };
}

test("what is there goes in one message, also when it is nothing", async () => {
  for (const pods of [0, 3]) {
    const { sent, plugin } = pluginThat(() => ({ update: [{ containerId: "1" }] }));
    expect(await synchronize(runtimeWith(pods, 10), plugin)).toMatchObject([{ containerId: "1" }]);
    expect(sent.map((request) => [request.pods?.length, request.containers?.length, request.more])).toEqual([
      [pods, 0, false],
    ]);
  }
});

test("what is too long for one message goes in several, each within the bound", async () => {
  const { sent, plugin } = pluginThat(({ more }) => ({ more: more ?? false }));
  await synchronize(runtimeWith(40, 250_000), plugin);
  expect(sent.flatMap(({ pods = [] }) => pods.map(({ id }) => id))).toEqual(
    Array.from({ length: 40 }, (_, index) => String(index)),
  );
  expect(sent.map(({ more }) => more)).toEqual([true, true, false]);
  for (const request of sent) {
    const { length } = toBinary(SynchronizeRequestSchema, create(SynchronizeRequestSchema, request));
    expect(length).toBeLessThan(MESSAGE_LIMIT_BYTES);
  }
});

test("a plugin that takes one message for all is told no half", async () => {
  const { plugin } = pluginThat(() => ({}));
  await expect(synchronize(runtimeWith(40, 250_000), plugin)).rejects.toThrow(
    "does not take the state of the machine in several messages",
  );
});
