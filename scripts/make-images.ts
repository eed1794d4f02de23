// SPDX-License-Identifier: Apache-2.0

/**
 * Makes images, and prints where they are.
 *
 * usage: bun scripts/make-images.ts [big]   those of the tests and the demo, or one of over 200 MB for measuring pulls
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bigImages, prepareImages, testImages } from "../test/fixtures/images/prepare.ts";

const { layoutDir, storageDir } = await prepareImages(process.argv[2] === "big" ? bigImages : testImages);
const index = JSON.parse(readFileSync(join(layoutDir, "index.json"), "utf8")) as { manifests: unknown[] };
console.log(`${index.manifests.length} image names in ${layoutDir}; registry storage in ${storageDir}`);
