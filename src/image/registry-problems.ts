// SPDX-License-Identifier: Apache-2.0
import type { Config } from "../config.ts";
import { messageOf } from "../errors.ts";
import { readAuthFile } from "./auth-file.ts";
import { hostDirectories, readDirectory } from "./hosts-dir.ts";
import { directoryPlan } from "./registry-hosts.ts";

/** A host that no directory is for. */
const ANY_HOST = "registry.invalid";

/**
 * What is wrong in the files that configure registries, a sentence for each. A pull fails over those of its own
 * registry alone; a node's owner wants to know of all.
 */
export function registryProblems({ certs_dir, auth_file }: Config["image"]): string[] {
  const problemIn = (check: () => unknown): string[] => {
    try {
      check();
      return [];
    } catch (error) {
      return [messageOf(error)];
    }
  };
  const checkDirectory = (directory: string) => {
    const found = readDirectory(directory);
    if (found !== undefined) directoryPlan(found, ANY_HOST);
  };
  let directories: string[] = [];
  return [
    ...problemIn(() => {
      directories = hostDirectories(certs_dir);
    }),
    ...directories.flatMap((directory) => problemIn(() => checkDirectory(directory))),
    ...problemIn(() => readAuthFile(auth_file)),
  ];
}
