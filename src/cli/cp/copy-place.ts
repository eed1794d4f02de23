// SPDX-License-Identifier: Apache-2.0
import { resolve } from "node:path";
import { UsageError } from "../usage-error.ts";

/** One side of a copy: a path of a container, a path here, or an archive on standard input or output. */
export type CopyPlace =
  | { readonly kind: "container"; readonly container: string; readonly path: string }
  | { readonly kind: "local"; readonly path: string; readonly shown: string }
  | { readonly kind: "stream" };

/** `CONTAINER:PATH`, a path, or `-`. A path with a colon begins with `/` or `.`. */
export function parseCopyPlace(text: string): CopyPlace {
  if (text === "-") return { kind: "stream" };
  const colon = text.indexOf(":");
  if (colon < 0 || /^[./]/.test(text)) {
    if (text === "") throw new UsageError("a path to copy is empty");
    return { kind: "local", path: resolved(text), shown: text };
  }
  const [container, path] = [text.slice(0, colon), text.slice(colon + 1)];
  if (container === "" || path === "") {
    throw new UsageError(
      `${text} is not CONTAINER:PATH, as in web/app:/etc/nginx; a path here with a colon begins with ./`,
    );
  }
  return { kind: "container", container, path };
}

/** What the end of a path says, that it is a directory or its content, is kept. */
function resolved(path: string): string {
  const [ending] = /\/\.?$/.exec(path) ?? [""];
  const whole = resolve(path);
  if (path === ".") return `${whole}/.`;
  return whole === "/" ? "/" : `${whole}${ending}`;
}
