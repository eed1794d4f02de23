// SPDX-License-Identifier: Apache-2.0
import { renameSync, rmSync, writeFileSync } from "node:fs";
import manifest from "../../package.json" with { type: "json" };
import { PAUSE_ARCHITECTURES, pauseArchive } from "../image/pause-image.ts";
import { formatReference, parseReference } from "../oci/reference.ts";
import { cannotWrite } from "./file-problem.ts";
import type { Context } from "./program.ts";
import { UsageError } from "./usage-error.ts";

const DEFAULT_NAME = `localhost/podrt/pause:${manifest.version}`;

/** Writes the pause alone as an OCI archive, for other runtimes to use as their sandbox image; `-` is standard output. */
export async function writePauseImage(
  { io }: Context,
  options: { readonly image?: string; readonly name?: string; readonly v?: boolean },
): Promise<number> {
  const { image, name = DEFAULT_NAME } = options;
  if (image === undefined)
    throw new UsageError("--name goes with --image <file>; say where to write the image");
  if (options.v === true) throw new UsageError("-v goes without --image and --name");
  const reference = parseReference(name, "--name");
  if (reference.tag === undefined)
    throw new UsageError("--name names the image that is written, and cannot know its digest: give it a tag");
  const fullName = formatReference(reference);
  const archive = pauseArchive(fullName);
  if (image === "-") {
    if (io.isTerminal) {
      throw new UsageError(
        "an archive is nothing for a terminal; name a file, or pass standard output to one",
      );
    }
    await io.out(archive);
    return 0;
  }
  writeWhole(image, archive);
  const platforms = PAUSE_ARCHITECTURES.map((architecture) => `linux/${architecture}`).join(" and ");
  await io.out(`${image} is written: ${fullName} for ${platforms}, ${archive.length} bytes\n`);
  return 0;
}

/** A file that was there before stays until all of the new one is written. */
function writeWhole(path: string, content: Uint8Array): void {
  const unfinished = `${path}.${process.pid}.part`;
  try {
    writeFileSync(unfinished, content, { flag: "wx", mode: 0o644 });
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw cannotWrite("the image", path, error);
  }
}
