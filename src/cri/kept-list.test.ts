// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  ContainerSchema,
  ListContainersResponseSchema,
  ListImagesResponseSchema,
} from "../gen/runtime/v1/api_pb.ts";
import { keptListEncoder } from "./kept-list.ts";

test("a list is encoded as it would be otherwise, and each item once", () => {
  const encode = keptListEncoder(ListContainersResponseSchema)!;
  const containers = ["a", "b"].map((id) =>
    create(ContainerSchema, { id, labels: { app: "x".repeat(200) } }),
  );
  const answer = create(ListContainersResponseSchema, { containers });
  const first = encode(answer);
  expect(Buffer.from(first)).toEqual(Buffer.from(toBinary(ListContainersResponseSchema, answer)));
  // Nobody may change an item that is kept; that this one still looks as before shows that it was not encoded again.
  containers[0]!.id = "c";
  expect(Buffer.from(encode(answer))).toEqual(Buffer.from(first));
  expect(encode(create(ListContainersResponseSchema)).length).toBe(0);
});

test("other answers are encoded as ever", () => {
  expect(keptListEncoder(ListImagesResponseSchema)).toBeUndefined();
  expect(keptListEncoder(ContainerSchema)).toBeUndefined();
});
