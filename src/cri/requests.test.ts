// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { PodrtError } from "../errors.ts";
import { ImageService, RuntimeService } from "../gen/runtime/v1/api_pb.ts";
import { messageOfType } from "./message-arbitrary.ts";
import { validateRequest } from "./validate.ts";

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
