// SPDX-License-Identifier: Apache-2.0
import { lstatSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import type { Runtime } from "../container/runtime.ts";
import { InvalidArgumentError, messageOf, PodrtError } from "../errors.ts";
import { parseJson, problemOf } from "../oci/manifest.ts";
import type { RestoreRecord } from "../state/containers.ts";
import { readMembers } from "./archive-pool.ts";
import { METADATA_VERSION } from "./metadata.ts";
import { CONTAINERS_DIRECTORY, POD_FILE, POD_VERSION, SHM_FILE } from "./pod-layout.ts";
import { newWorkDir } from "./work-dir.ts";

const POD_LIMIT_BYTES = 16 << 20;
const CONTAINERS_LIMIT = 1000;

/** It is repeated in messages. */
const containerName = v.pipe(v.string(), v.regex(/^[^\p{C}]{1,255}$/u, "is no name of a container"));

const podSchema = v.object({
  version: v.literal(POD_VERSION),
  hasSharedMemory: v.boolean(),
  containers: v.pipe(
    v.array(v.object({ name: containerName, archive: v.string() })),
    v.minLength(1),
    v.maxLength(CONTAINERS_LIMIT),
  ),
});

// They become arguments of criu's.
const pipeKey = v.pipe(v.string(), v.regex(/^pipe:\[\d{1,20}\]$/));
const fileKey = v.pipe(v.string(), v.regex(/^file\[[0-9a-f]{1,16}:[0-9a-f]{1,16}\]$/));

const containerSchema = v.object({
  name: v.string(),
  podrt: v.object({
    version: v.literal(METADATA_VERSION),
    stdio: v.object({
      stdin: v.optional(v.union([pipeKey, fileKey])),
      stdout: v.optional(pipeKey),
      stderr: v.optional(pipeKey),
    }),
  }),
});

export interface CheckpointedContainer {
  readonly name: string;
  readonly restore: RestoreRecord;
  /** criu's images. */
  readonly imagesDir: string;
  /** What it had written to its root, as a layer. */
  readonly layer: string;
}

/** A checkpoint of a pod, copied: the one that it was made from is not needed any more. */
export interface OpenedCheckpoint extends AsyncDisposable {
  readonly workDir: string;
  readonly containers: readonly CheckpointedContainer[];
  /** What was in the shared memory, as a layer. */
  readonly sharedMemory: string | undefined;
}

/** Reads the checkpoint in the directory `path`, whose bytes are anybody's; InvalidArgumentError where it is none. */
export async function openCheckpoint(
  runtime: Runtime,
  path: string,
  signal: AbortSignal,
): Promise<OpenedCheckpoint> {
  const pod = parse(podSchema, readRegular(join(path, POD_FILE)), POD_FILE);
  const names = pod.containers.map(({ name }) => name);
  if (new Set(names).size < names.length) throw malformed(`${POD_FILE} names a container twice`);
  const workDir = newWorkDir(runtime);
  try {
    const containers: CheckpointedContainer[] = [];
    for (const [index, { name, archive }] of pod.containers.entries()) {
      if (archive !== `${CONTAINERS_DIRECTORY}/${index}.tar`)
        throw malformed(`${POD_FILE} names an archive elsewhere`);
      const directory = join(workDir.path, String(index));
      mkdirSync(directory, { mode: 0o700 });
      const file = requireRegular(join(path, archive));
      const { config } = await readMembers(file, directory, signal).catch((error: unknown) => {
        throw error instanceof PodrtError && error.kind !== "InvalidArgument"
          ? error
          : malformed(`${archive}: ${messageOf(error)}`);
      });
      const document = parse(containerSchema, config, archive);
      if (document.name !== name) throw malformed(`${archive} is not of container ${name}`);
      containers.push({
        name,
        restore: document.podrt.stdio,
        imagesDir: join(directory, "checkpoint"),
        layer: join(directory, "rootfs-diff.tar"),
      });
    }
    return {
      workDir: workDir.path,
      containers,
      sharedMemory: pod.hasSharedMemory ? requireRegular(join(path, SHM_FILE)) : undefined,
      [Symbol.asyncDispose]: () => workDir[Symbol.asyncDispose](),
    };
  } catch (error) {
    await workDir[Symbol.asyncDispose]();
    throw error;
  }
}

function readRegular(path: string): Uint8Array {
  requireRegular(path);
  if (lstatSync(path).size > POD_LIMIT_BYTES) throw malformed(`${path} is too large`);
  return readFileSync(path);
}

function requireRegular(path: string): string {
  if (lstatSync(path, { throwIfNoEntry: false })?.isFile() === true) return path;
  throw malformed(`${path} is not there, or no regular file`);
}

function parse<T extends v.GenericSchema>(schema: T, bytes: Uint8Array, what: string): v.InferOutput<T> {
  let document: unknown;
  try {
    document = parseJson(bytes, what);
  } catch (error) {
    throw malformed(messageOf(error));
  }
  const result = v.safeParse(schema, document, { abortEarly: true });
  if (result.success) return result.output;
  throw malformed(`${what}: ${problemOf(result.issues[0])}`);
}

function malformed(problem: string): InvalidArgumentError {
  return new InvalidArgumentError("checkpoint_path", `is no checkpoint that podrt can read: ${problem}`);
}
