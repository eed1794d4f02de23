// SPDX-License-Identifier: Apache-2.0
import type { Report } from "./checks.ts";
import type { PodSpec } from "./fields.ts";
import { checkResource } from "./value-checks.ts";
import type { DownwardFileSpec, VolumeSpec } from "./volume-fields.ts";

/** What is wrong with one volume of a pod. */
export function checkVolume(volume: VolumeSpec, path: string, spec: PodSpec, report: Report): void {
  const { name: _, ...sources } = volume;
  const count = Object.values(sources).filter((source) => source !== undefined).length;
  if (count === 0) report(path, "needs a source, as in emptyDir: {}");
  if (count > 1) report(path, "has more than one source");
  const { configMap, secret, downwardAPI, projected } = volume;
  checkPaths(configMap?.items, `${path}.configMap`, report);
  checkPaths(secret?.items, `${path}.secret`, report);
  checkDownward(downwardAPI?.items, `${path}.downwardAPI`, spec, report);
  projected?.sources.forEach((source, index) => {
    const at = `${path}.projected.sources[${index}]`;
    if (Object.keys(source).length !== 1) {
      report(at, "needs one of configMap, secret and downwardAPI, and no more");
    }
    checkPaths(source.configMap?.items, `${at}.configMap`, report);
    checkPaths(source.secret?.items, `${at}.secret`, report);
    checkDownward(source.downwardAPI?.items, `${at}.downwardAPI`, spec, report);
  });
}

function checkDownward(
  items: readonly DownwardFileSpec[] | undefined,
  path: string,
  spec: PodSpec,
  report: Report,
): void {
  checkPaths(items, path, report);
  items?.forEach(({ fieldRef, resourceFieldRef }, index) => {
    const at = `${path}.items[${index}]`;
    if ((fieldRef === undefined) === (resourceFieldRef === undefined)) {
      report(at, "needs one of fieldRef and resourceFieldRef, and no more");
    }
    if (fieldRef !== undefined && !fieldRef.fieldPath.startsWith("metadata.")) {
      report(`${at}.fieldRef.fieldPath`, "is not known yet when volumes are made; use a variable for it");
    }
    if (resourceFieldRef !== undefined && resourceFieldRef.containerName === undefined) {
      report(`${at}.resourceFieldRef.containerName`, "is required in a volume");
    }
    checkResource(resourceFieldRef, `${at}.resourceFieldRef`, spec, report);
  });
}

/** No two files of one path, and none where another needs a directory. */
function checkPaths(
  items: readonly { readonly path: string }[] | undefined,
  path: string,
  report: Report,
): void {
  const paths = (items ?? []).map((item) =>
    item.path
      .split("/")
      .filter((part) => part !== "")
      .join("/"),
  );
  paths.forEach((own, index) => {
    const clash = paths.some(
      (other, at) => (at < index && other === own) || (at !== index && own.startsWith(`${other}/`)),
    );
    if (clash) report(`${path}.items[${index}].path`, `${JSON.stringify(own)} is in the way of another`);
  });
}
