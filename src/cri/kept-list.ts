// SPDX-License-Identifier: Apache-2.0
import { type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { ListContainersResponseSchema, ListPodSandboxResponseSchema } from "../gen/runtime/v1/api_pb.ts";
import { oncePer } from "../lib/once-per.ts";

/** Answers that are one list of messages, the same objects from one call to the next for as long as nothing changes. */
const KEPT_LISTS: ReadonlySet<string> = new Set(
  [ListContainersResponseSchema, ListPodSandboxResponseSchema].map(({ typeName }) => typeName),
);

/** Encodes such an answer, each item once as long as it lives; undefined for all other types. */
export function keptListEncoder(
  type: DescMessage,
): ((message: Message) => Uint8Array<ArrayBuffer>) | undefined {
  const [list, ...others] = type.fields;
  if (!KEPT_LISTS.has(type.typeName) || others.length > 0) return undefined;
  if (list?.fieldKind !== "list" || list.listKind !== "message") return undefined;
  const { localName, number, message: itemType } = list;
  const encoded = oncePer((item: Message) => toBinary(itemType, item));
  return (message) => {
    const writer = new BinaryWriter();
    for (const item of (message as unknown as Record<string, readonly Message[]>)[localName] ?? []) {
      writer.tag(number, WireType.LengthDelimited).bytes(encoded(item));
    }
    return writer.finish() as Uint8Array<ArrayBuffer>;
  };
}
