// SPDX-License-Identifier: Apache-2.0

/** The `info` map of a verbose reply: one key whose value is a JSON object, as crictl unfolds it. */
export function verboseInfo(verbose: boolean, key: string, value: () => object): Record<string, string> {
  if (!verbose) return {};
  return {
    [key]: JSON.stringify(value(), (_key, part: unknown) =>
      typeof part === "bigint" ? part.toString() : part,
    ),
  };
}
