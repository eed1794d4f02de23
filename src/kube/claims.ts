// SPDX-License-Identifier: Apache-2.0
import { statSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FailedPreconditionError, NotFoundError } from "../errors.ts";
import { directoriesIn } from "../lib/directory.ts";
import { NO_OBJECTS } from "./manifest/objects.ts";
import { claimPath, claimsDir, type Pod, podKey } from "./pod.ts";

/** A directory that stands for a PersistentVolumeClaim. */
export interface Claim {
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
  readonly createdAtMs: number;
  /** Keys of the kept pods whose volumes it is. */
  readonly pods: readonly string[];
}

type Home = { readonly stateDir: string };

/** All of them, by namespace and name; what a pod of `pods` asks for and was never made is not among them. */
export function listClaims(home: Home, pods: readonly Pod[]): Claim[] {
  const top = claimsDir(home);
  return directoriesIn(top).flatMap((namespace) =>
    directoriesIn(join(top, namespace))
      // Of one that is being made, or being removed.
      .filter((name) => !name.startsWith("."))
      .map((name) => {
        const path = claimPath(home, namespace, name);
        const users = pods.filter(
          (pod) => pod.namespace === namespace && (pod.objects ?? NO_OBJECTS).claims.includes(name),
        );
        return { namespace, name, path, createdAtMs: statSync(path).birthtimeMs, pods: users.map(podKey) };
      }),
  );
}

/** Deletes a claim with all that is in it. NotFoundError, or FailedPreconditionError while a kept pod has it. */
export async function removeClaim(
  home: Home,
  pods: readonly Pod[],
  namespace: string,
  name: string,
): Promise<void> {
  const claim = listClaims(home, pods).find((other) => other.namespace === namespace && other.name === name);
  if (claim === undefined) throw new NotFoundError(`there is no volume ${name} in namespace ${namespace}`);
  if (claim.pods.length > 0) {
    throw new FailedPreconditionError(
      `volume ${name} belongs to pod ${claim.pods.join(", ")}; remove the pod first`,
    );
  }
  // A pod that asks for it meanwhile gets a new one.
  const gone = join(dirname(claim.path), `.${name}.gone`);
  await rm(gone, { recursive: true, force: true });
  await rename(claim.path, gone);
  await rm(gone, { recursive: true, force: true });
}
