// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { answer, containerTable, type Method, newRuntime, table } from "../../test/fixtures/cri-clients.ts";
import { messageOfType } from "../../test/fixtures/message-arbitrary.ts";
import type { Runtime } from "../container/runtime.ts";
import { PodrtError } from "../errors.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import { logger } from "../lib/logger.ts";
import { validateRequest } from "./validate.ts";

const { level } = logger;

beforeAll(() => {
  logger.level = "silent";
});

afterAll(() => {
  logger.level = level;
});

/** What validation says: accepted, or the kind of a clean error. Anything else it throws is a defect. */
function kindOf(type: DescMessage, request: Message): string {
  try {
    validateRequest(type, request);
    return "accepted";
  } catch (error) {
    if (!(error instanceof PodrtError)) throw error;
    expect(error.message).not.toBe("");
    return error.kind;
  }
}

describe("any request", () => {
  for (const { name, input } of [...RuntimeService.methods, ...ImageService.methods]) {
    test(`of ${name} is accepted, or refused with a clean error`, () => {
      fc.assert(
        fc.property(messageOfType(input), (request) => {
          const kinds = ["accepted", "InvalidArgument", "Unimplemented", "FailedPrecondition"];
          expect(kinds).toContain(kindOf(input, request));
        }),
        { numRuns: 200 },
      );
    });

    test(`of ${name} is judged alike before and after its way over the wire`, () => {
      fc.assert(
        fc.property(messageOfType(input), (request) => {
          const bytes = toBinary(input, request);
          const arrived = fromBinary(input, bytes);
          // Text that UTF-8 cannot carry changes on the way; nothing is promised for it.
          fc.pre(Buffer.from(toBinary(input, arrived)).equals(bytes) && !hasLoneSurrogates(request));
          expect(kindOf(input, arrived)).toBe(kindOf(input, request));
        }),
        { numRuns: 100 },
      );
    });
  }
});

function hasLoneSurrogates(request: Message): boolean {
  let found = false;
  JSON.stringify(request, (key, part: unknown) => {
    found ||= !key.isWellFormed() || (typeof part === "string" && !part.isWellFormed());
    return typeof part === "bigint" ? "" : part;
  });
  return found;
}

describe("on its way to the runtime any request gets an answer or a clean error", () => {
  const dirty = [Code.Internal, Code.DataLoss, Code.Aborted, Code.Unavailable];
  for (const method of [...RuntimeService.methods, ...ImageService.methods]) {
    test(`from ${method.name}`, async () => {
      await fc.assert(
        fc.asyncProperty(messageOfType(method.input), async (message) => {
          // Nothing here has a kernel: no sandbox can be made, and only what reads finds objects.
          fc.pre(method.name !== "RunPodSandbox" || !isAccepted(method, message));
          const { runtime } = newRuntime();
          const empty = {
            ...runtime,
            sandboxes: table(new Map()),
            containers: containerTable(new Map()),
          } as unknown as Runtime;
          try {
            await answer(method, message, /^(List|Stream)|Status$/.test(method.name) ? runtime : empty);
          } catch (error) {
            const { code, rawMessage } = ConnectError.from(error);
            expect(dirty).not.toContain(code);
            expect(rawMessage).not.toBe("");
          }
        }),
        { numRuns: 100 },
      );
    });
  }
});

function isAccepted(method: Method, message: Parameters<typeof validateRequest>[1]): boolean {
  try {
    toBinary(method.input, message as never);
    validateRequest(method.input, message);
    return true;
  } catch {
    return false;
  }
}
