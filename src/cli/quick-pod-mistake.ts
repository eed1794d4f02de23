// SPDX-License-Identifier: Apache-2.0
import { Code, ConnectError } from "@connectrpc/connect";
import { UsageError } from "./usage-error.ts";

/** The options of `run IMAGE`, by the fields that they set in the manifest which the daemon is sent. */
const OPTIONS: readonly (readonly [path: RegExp, option: string])[] = [
  [/^metadata\.name/, "--name"],
  [/\.ports\[/, "--publish"],
  [/\.env\[/, "--env"],
  [/\.limits\.memory/, "--memory"],
  [/\.limits\.cpu/, "--cpus"],
  [/\.capabilities\.add/, "--cap-add"],
  [/\.capabilities\.drop/, "--cap-drop"],
  [/\.workingDir/, "--workdir"],
  [/^spec\.volumes|\.volumeMounts/, "--volume"],
  [/\.image$/, "the image"],
];

/** Throws what the daemon says of fields in terms of the options, since nobody has written the manifest. */
export function inOptions(error: unknown): never {
  const { code, rawMessage } = ConnectError.from(error);
  if (code !== Code.InvalidArgument) throw error;
  const lines = rawMessage.split("\n").map((line) => {
    const [, path, problem] = /^command line:\d+:\d+: ([^:\s]+): (.*)$/.exec(line) ?? [];
    const option = OPTIONS.find(([pattern]) => path !== undefined && pattern.test(path))?.[1];
    return option === undefined ? line : `${option}: ${problem}`;
  });
  throw new UsageError(lines.join("\n"));
}
