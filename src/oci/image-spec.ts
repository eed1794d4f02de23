// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { FailedPreconditionError } from "../errors.ts";
import { isDigest } from "./digest.ts";
import { parseJson, problemOf } from "./manifest.ts";

/** An image configuration larger than this is refused. */
export const CONFIG_LIMIT_BYTES = 8 * 2 ** 20;
/** More layers than this do not fit one overlay mount of older kernels, and no builder makes them. */
export const LAYERS_LIMIT = 127;

// The kernel refuses a single argument or variable past 128 KiB (MAX_ARG_STRLEN, execve(2)).
const ARGUMENT_LIMIT_CHARACTERS = 131_072;
const NAME_LIMIT_CHARACTERS = 4096;
const ENTRIES_LIMIT = 4096;

/** Text from an image: untrusted, bounded, and free of NUL, at which the kernel would cut it. */
const text = (limit: number) =>
  v.pipe(
    v.string(),
    v.maxLength(limit, `is longer than ${limit} characters`),
    v.check((value) => !value.includes("\0"), "contains a NUL character"),
  );
/** One line of text: these end up in generated files and messages. */
const line = (limit: number) =>
  v.pipe(
    text(limit),
    v.check((value) => !/\p{Cc}/u.test(value), "contains a control character"),
  );
const TOO_MANY_ENTRIES = `has more than ${ENTRIES_LIMIT} entries`;
const strings = v.nullish(
  v.pipe(v.array(text(ARGUMENT_LIMIT_CHARACTERS)), v.maxLength(ENTRIES_LIMIT, TOO_MANY_ENTRIES)),
  [],
);
const keys = v.nullish(
  v.pipe(
    v.record(line(NAME_LIMIT_CHARACTERS), v.nullish(v.object({}))),
    v.maxEntries(ENTRIES_LIMIT, TOO_MANY_ENTRIES),
    v.transform((value): Record<string, object> => {
      return Object.fromEntries(Object.keys(value).map((key) => [key, {}]));
    }),
  ),
  {},
);

const configSchema = v.object({
  User: v.nullish(line(NAME_LIMIT_CHARACTERS), ""),
  Env: strings,
  Entrypoint: strings,
  Cmd: strings,
  WorkingDir: v.nullish(line(NAME_LIMIT_CHARACTERS), ""),
  StopSignal: v.nullish(line(64), ""),
  Volumes: keys,
  ExposedPorts: keys,
  Labels: v.nullish(
    v.pipe(
      v.record(text(NAME_LIMIT_CHARACTERS), text(CONFIG_LIMIT_BYTES)),
      v.maxEntries(ENTRIES_LIMIT, TOO_MANY_ENTRIES),
    ),
    {},
  ),
});

const specSchema = v.object({
  architecture: v.nullish(line(64), ""),
  os: v.nullish(line(64), ""),
  variant: v.nullish(line(64), ""),
  config: v.nullish(configSchema, {}),
  rootfs: v.object({
    type: v.literal("layers", 'is not "layers"'),
    diff_ids: v.nullish(
      v.pipe(
        v.array(v.pipe(v.string(), v.check(isDigest, "is no digest"))),
        v.maxLength(LAYERS_LIMIT, `has more than ${LAYERS_LIMIT} layers`),
      ),
      [],
    ),
  }),
});

/**
 * The `config` object of an OCI or Docker image configuration (image-spec, config.md), with what is
 * absent or null filled in as empty. Every string was chosen by whoever made the image.
 */
export type ImageConfig = Readonly<v.InferOutput<typeof configSchema>>;

/** The parts of an image configuration that podrt uses. */
export type ImageSpec = Readonly<v.InferOutput<typeof specSchema>>;

/** Checks an image configuration; FailedPreconditionError with the path of the first bad field. */
export function parseImageSpec(bytes: Uint8Array): ImageSpec {
  const result = v.safeParse(specSchema, parseJson(bytes, "the image configuration"), { abortEarly: true });
  if (result.success) return result.output;
  throw new FailedPreconditionError(`the image configuration is invalid: ${problemOf(result.issues[0])}`);
}
