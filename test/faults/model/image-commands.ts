// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { nginx } from "../../integration/harness/pods.ts";
import { must, type Real } from "./model.ts";

/** Images that nobody's pods are made from, and which of them are there. */
export interface ImageModel {
  readonly present: Set<string>;
  /** An image in a file, and the name that it is imported by. */
  readonly archive: string;
}

export const importedImage = "docker.io/podrt/volume-content:latest";

async function pull({ daemon, call }: Real, isTwice: boolean): Promise<void> {
  const make = () => call("pull nginx", () => daemon.api.pullImage({ image: { image: nginx } }));
  await Promise.all([make(), ...(isTwice ? [make()] : [])]);
}

async function importFile({ daemon, call }: Real, path: string): Promise<void> {
  await call("import an image", async () => {
    for await (const _ of daemon.pods.import({ path, name: importedImage }));
  });
}

/** Every image that the model knows is there, and none of the others. */
export async function lookAtImages({ daemon, call }: Real, { present }: ImageModel): Promise<void> {
  for (const image of [nginx, importedImage]) {
    const { image: known } = await call(`status of ${image}`, () =>
      daemon.api.imageStatus({ image: { image } }),
    );
    must(
      (known !== undefined) === present.has(image),
      () => `${image} is ${known === undefined ? "not " : ""}there`,
    );
  }
}

function command(
  name: string,
  chosen: object,
  run: (real: Real, model: ImageModel) => Promise<void>,
): fc.AsyncCommand<ImageModel, Real> {
  return {
    check: () => true,
    async run(model, real) {
      await run(real, model);
      await lookAtImages(real, model);
    },
    toString: () => `${name} ${JSON.stringify(chosen)}`,
  };
}

export const imageCommands: readonly fc.Arbitrary<fc.AsyncCommand<ImageModel, Real>>[] = [
  fc.boolean().map((isTwice) =>
    command("pull", { isTwice }, async (real, { present }) => {
      await pull(real, isTwice);
      present.add(nginx);
    }),
  ),
  fc.constantFrom(nginx, importedImage).map((image) =>
    command("remove image", { image }, async ({ daemon, call }, { present }) => {
      await call(`remove ${image}`, () => daemon.api.removeImage({ image: { image } }));
      present.delete(image);
    }),
  ),
  fc.constant(
    command("import", {}, async (real, { present, archive }) => {
      await importFile(real, archive);
      present.add(importedImage);
    }),
  ),
  fc.constant(
    command("image file system", {}, async ({ daemon, call }) => {
      await call("image file system", () => daemon.api.imageFsInfo({}));
    }),
  ),
];
