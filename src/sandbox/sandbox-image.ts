// SPDX-License-Identifier: Apache-2.0
import type { Runtime } from "../container/runtime.ts";
import { readUserDatabase, resolveUser } from "../container/user.ts";
import { checkMapped, mountRoot, ownAsMapped, podIdMappings, shownIds } from "../container/user-namespace.ts";
import { FailedPreconditionError, messageOf } from "../errors.ts";
import type { PodSandboxConfig } from "../gen/runtime/v1/api_pb.ts";
import type { ImageRecord } from "../image/images.ts";
import type { Identity } from "../launch/identity.ts";
import type { SandboxImageProcess } from "../launch/sandbox-image.ts";
import { DEFAULT_PATH } from "../lib/executable.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";

/** The image whose process is to be the pause of pods, pulled where it is not there; undefined for the embedded one. */
export async function findSandboxImage(runtime: Runtime): Promise<ImageRecord | undefined> {
  const name = runtime.config.image.sandbox_image;
  if (name === undefined) return undefined;
  try {
    return runtime.images.find(name) ?? (await runtime.images.pull(name));
  } catch (error) {
    throw new FailedPreconditionError(
      `the sandbox image is not there: ${messageOf(error)}; import it, or take image.sandbox_image out of the configuration`,
      { cause: error },
    );
  }
}

/**
 * What the image of a sandbox runs, in the snapshot that is named after the sandbox, and as whom: user and groups
 * are the pod's where it names them, else the image's. The caller owns the root.
 */
export function sandboxImageProcess(
  runtime: Runtime,
  record: SandboxRecord,
  image: ImageRecord,
  config: PodSandboxConfig,
  pause: Identity,
): { process: SandboxImageProcess; identity: Identity } {
  const { User, Entrypoint, Cmd, Env, WorkingDir } = image.config;
  const command = [...(Entrypoint ?? []), ...(Cmd ?? [])];
  if (command.length === 0) {
    throw new FailedPreconditionError(`the sandbox image ${record.image?.name} has no command to run`);
  }
  const snapshot = runtime.snapshotter.get(record.id);
  if (snapshot === undefined)
    throw new FailedPreconditionError(`the snapshot of sandbox ${record.id} is gone`);
  const mappings = podIdMappings(config);
  if (mappings !== undefined) ownAsMapped(snapshot.upperDir, mappings);
  const root = mountRoot(snapshot, shownIds(runtime, mappings), record.selinux?.file);
  try {
    const security = config.linux?.securityContext;
    const user = resolveUser(
      {
        runAsUser: security?.runAsUser === undefined ? undefined : Number(security.runAsUser.value),
        runAsGroup: security?.runAsGroup === undefined ? undefined : Number(security.runAsGroup.value),
        supplementalGroups: (security?.supplementalGroups ?? []).map(Number),
        mergesImageGroups: false,
        imageUser: User ?? "",
      },
      readUserDatabase(root),
    );
    if (mappings !== undefined) checkMapped(user, mappings, `sandbox ${record.name}`);
    return {
      process: {
        root,
        command,
        environment: [`PATH=${DEFAULT_PATH}`, ...(Env ?? [])],
        cwd: WorkingDir || "/",
      },
      identity: { ...pause, uid: user.uid, gid: user.gid, groups: user.groups },
    };
  } catch (error) {
    root.close();
    throw error;
  }
}
