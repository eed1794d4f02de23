// SPDX-License-Identifier: Apache-2.0
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Runtime } from "../../container/runtime.ts";
import { parseId } from "../../container/user.ts";
import type { ImageFilter, ImageSchema } from "../../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../../image/images.ts";
import { isPinned } from "../../image/pinned.ts";

type ImageInit = MessageInitShape<typeof ImageSchema>;

/** An image as the interface shows it. */
export function imageItem({ config }: Pick<Runtime, "config">, record: ImageRecord): ImageInit {
  return {
    id: record.id,
    repoTags: [...record.repoTags],
    repoDigests: [...record.repoDigests],
    size: BigInt(record.sizeBytes),
    spec: {},
    pinned: isPinned(record, config.image),
    ...userOf(record.config.User ?? ""),
  };
}

/** A filter names one image as a lookup would; none selects all. */
export function selectImages(runtime: Runtime, filter: ImageFilter | undefined): ImageInit[] {
  const name = filter?.image?.image ?? "";
  if (name === "") return runtime.images.list().map((record) => imageItem(runtime, record));
  const record = runtime.images.find(name);
  return record === undefined ? [] : [imageItem(runtime, record)];
}

/** The kubelet's runAsNonRoot reads a number as uid, anything else as a name; the group does not count. */
function userOf(user: string): Pick<ImageInit, "uid" | "username"> {
  const name = user.split(":", 1)[0]!;
  if (name === "") return {};
  const uid = parseId(name);
  return uid === undefined ? { username: name } : { uid: { value: BigInt(uid) } };
}
