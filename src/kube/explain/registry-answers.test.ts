// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import type { Runtime } from "../../container/runtime.ts";
import { parseManifest } from "../manifest/parse.ts";
import { askRegistries, wantedBy } from "./registry-answers.ts";

const here = ["present:1", "latest", "forced:1"];

/** Images of which those of `here` are, over a registry that has all but `gone`. */
function imagesAsked() {
  const asked: string[] = [];
  const images = {
    find: (reference: string) =>
      here.includes(reference)
        ? { id: "sha256:1", repoDigests: [`docker.io/library/${reference.split(":")[0]}@sha256:same`] }
        : undefined,
    async preview(reference: string) {
      asked.push(reference);
      if (reference.startsWith("gone")) throw new Error("it is gone");
      return { digest: reference === "latest" ? "sha256:same" : "sha256:other", downloadBytes: 7 };
    },
  } as unknown as Runtime["images"];
  return { asked, images };
}

const podsOf = (...images: string[]) => {
  const containers = images.map((image, index) => `{name: c${index}, image: "${image}"}`);
  const volumes =
    "volumes: [{name: v, image: {reference: volume:1}}, {name: w, image: {reference: unused:1}}]";
  const text = `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {${volumes}, containers: [{name: m, image: "present:1", volumeMounts: [{name: v, mountPath: /v}]}, ${containers}]}\n`;
  return parseManifest([{ name: "p.yaml", text }]).pods;
};

test("what a run would ask a registry for is asked for, each once", async () => {
  const { asked, images } = imagesAsked();
  const pods = podsOf("absent:1", "absent:1", "latest", "gone:1");
  const answers = await askRegistries({ images }, pods, new AbortController().signal);
  expect(asked.toSorted()).toEqual(["absent:1", "gone:1", "latest", "volume:1"]);
  const told = wantedBy(pods[0]!).map((wanted) => [wanted.user, answers(pods[0]!, wanted)]);
  const other = { digest: "sha256:other", downloadBytes: 7, isSame: false };
  expect(Object.fromEntries(told)).toEqual({
    m: undefined,
    "volume v": other,
    c0: other,
    c1: other,
    c2: { digest: "sha256:same", downloadBytes: 7, isSame: true },
    c3: { problem: "it is gone" },
  });
});

test("a policy of Never asks nobody, and of very many images the first are asked for", async () => {
  const { asked, images } = imagesAsked();
  const text = `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: "absent:1", imagePullPolicy: Never}, {name: d, image: "forced:1", imagePullPolicy: Always}]}\n`;
  const { pods } = parseManifest([{ name: "p.yaml", text }]);
  await askRegistries({ images }, pods, new AbortController().signal);
  expect(asked).toEqual(["forced:1"]);
  asked.length = 0;
  const many = podsOf(...Array.from({ length: 60 }, (_, index) => `i${index}:1`));
  const answers = await askRegistries({ images }, many, new AbortController().signal);
  expect(asked).toHaveLength(50);
  expect(answers(many[0]!, { user: "", reference: "i59:1", policy: undefined })).toEqual({
    problem: "not asked for: only the first 50 images are",
  });
});
