// SPDX-License-Identifier: Apache-2.0

/** Makes the images of the tests and the demo in .build/images, and prints where they are. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { prepareImages } from "../test/fixtures/images/prepare.ts";

const { layoutDir, storageDir } = await prepareImages();
const index = JSON.parse(readFileSync(join(layoutDir, "index.json"), "utf8")) as { manifests: unknown[] };
console.log(`${index.manifests.length} image names in ${layoutDir}; registry storage in ${storageDir}`);
