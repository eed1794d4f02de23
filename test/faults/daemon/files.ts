// SPDX-License-Identifier: Apache-2.0
import * as fs from "node:fs";
import * as promises from "node:fs/promises";
import { errnoName } from "../../../src/linux/abi/errno.ts";
import { atPoint, atPointLater } from "./points.ts";

// The modules node:fs and node:fs/promises of a daemon that was built for the sweeps: what changes files is a point.

type Call = (...args: never[]) => unknown;

const CHANGES =
  /^(append|chmod|chown|copyFile|cp|fchmod|fchown|fdatasync|fsync|ftruncate|lchown|link|mkdir|mkdtemp|rename|rm|symlink|truncate|unlink|utimes|write)/;

function failed(errno: number, name: string): Error {
  const code = errnoName(errno);
  return Object.assign(new Error(`${code}: injected, ${name}`), { code, errno: -errno, syscall: name });
}

function shown(name: string, args: readonly unknown[]): string {
  return `${name} ${typeof args[0] === "string" ? args[0] : ""}`;
}

function hookedSync(name: string, real: Call): Call {
  return (...args) =>
    atPoint(
      "changes",
      shown(name, args),
      () => real(...args),
      (errno) => {
        throw failed(errno, name);
      },
    );
}

function hookedLater(name: string, real: Call): Call {
  return (...args) =>
    atPointLater(
      "changes",
      shown(name, args),
      () => real(...args) as Promise<unknown>,
      (errno) => failed(errno, name),
    );
}

/** fs.write: the last argument is told of the outcome. */
function hookedWrite(real: typeof fs.write): Call {
  return ((...args: unknown[]) => {
    const done = args.pop() as (error: Error | null, written: number) => void;
    atPointLater(
      "changes",
      "write (off the thread)",
      () =>
        new Promise<number>((resolve, reject) => {
          const told = (error: Error | null, written: number) =>
            error === null ? resolve(written) : reject(error);
          (real as unknown as (...all: unknown[]) => void)(...args, told);
        }),
      (errno) => failed(errno, "write"),
    ).then(
      (written) => done(null, written),
      (error: Error) => done(error, 0),
    );
  }) as Call;
}

async function openHooked(...args: Parameters<typeof promises.open>): Promise<promises.FileHandle> {
  const handle = await atPointLater(
    String(args[1] ?? "r").startsWith("r") ? "takes" : "changes",
    shown("open", args),
    () => promises.open(...args),
    (errno) => failed(errno, "open"),
  );
  const methods = handle as unknown as Record<string, Call>;
  for (const name of ["write", "writev", "sync", "datasync", "truncate", "chmod", "chown"]) {
    const real = methods[name];
    if (real !== undefined) methods[name] = hookedLater(`FileHandle.${name}`, real.bind(handle) as Call);
  }
  return handle;
}

function hooked(name: string, real: Call): Call {
  if (name === "write") return hookedWrite(real as typeof fs.write);
  if (!name.endsWith("Sync") || !CHANGES.test(name)) return real;
  return hookedSync(name, real);
}

/** node:fs with points. */
export const hookedFs = Object.fromEntries(
  Object.entries(fs).map(([name, value]) => [
    name,
    typeof value === "function" && /^[a-z]/.test(name) ? hooked(name, value as Call) : value,
  ]),
) as unknown as typeof fs;

/** node:fs/promises with points. */
export const hookedPromises = Object.fromEntries(
  Object.entries(promises).map(([name, value]) => {
    if (name === "open") return [name, openHooked];
    return [
      name,
      typeof value === "function" && CHANGES.test(name) ? hookedLater(name, value as Call) : value,
    ];
  }),
) as unknown as typeof promises;
