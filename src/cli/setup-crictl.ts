// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { FailedPreconditionError, InternalError, messageOf } from "../errors.ts";
import { cannotWrite } from "./file-problem.ts";
import type { Context } from "./program.ts";

/** crictl gives up after two seconds unless told, which a pod's first start on a busy node may exceed. */
const CRICTL_TIMEOUT_SECONDS = 10;

/** Writes a configuration with which crictl finds the daemon; one that is there and says the same is left alone. */
export async function setupCrictl(
  { io, socketPath }: Context,
  { path, force = false }: { readonly path: string; readonly force?: boolean },
): Promise<number> {
  const wanted = configuration(socketPath);
  const present = contentOf(path);
  if (present === wanted) {
    await io.out(`${path} is as it should be\n`);
    return 0;
  }
  if (present !== undefined && !force) {
    throw new FailedPreconditionError(
      `${path} is there and says something else: replace it with --force, or write another with --path`,
    );
  }
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}.podrt`, wanted, { mode: 0o644 });
    renameSync(`${path}.podrt`, path);
  } catch (error) {
    throw cannotWrite("the configuration", path, error);
  }
  await io.out(`${path} is written: crictl uses ${socketPath}\n`);
  return 0;
}

function configuration(socketPath: string): string {
  const endpoint = JSON.stringify(`unix://${socketPath}`);
  return [
    `runtime-endpoint: ${endpoint}`,
    `image-endpoint: ${endpoint}`,
    `timeout: ${CRICTL_TIMEOUT_SECONDS}`,
    "",
  ].join("\n");
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new InternalError(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}
