// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";

export interface VolumeFile {
  readonly bytes: Uint8Array;
  /** Permission bits. */
  readonly mode: number;
}

/** Where the name of the present contents is, as kubelets have it; programs watch it for changes. */
const DATA = "..data";

/**
 * Makes `directory` show `files`, by paths relative to it, all at once: a reader sees the old contents or
 * the new, never a mixture. The files are in a directory of their own behind the link `..data`, and each
 * name at the top is a link through that. With `group`, all of it is that group's to read.
 *
 * Nothing is touched when the contents are the same. What was left by a run that was cut short is removed.
 */
export async function writeAtomically(
  directory: string,
  files: ReadonlyMap<string, VolumeFile>,
  group: number | undefined,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  if (group === undefined) await chmod(directory, 0o755);
  else await own(directory, group);
  const before = await readlink(join(directory, DATA)).catch(() => undefined);
  const fingerprint = digestOf(files, group);
  if (before !== undefined && (await isWhole(join(directory, before), fingerprint))) return;
  const name = `..${Date.now()}-${randomBytes(4).toString("hex")}`;
  const contents = join(directory, name);
  await mkdir(contents, { mode: 0o755 });
  if (group !== undefined) await own(contents, group);
  for (const [path, file] of files) await writeOne(contents, path, file, group);
  await writeFile(join(contents, MARK), fingerprint, { mode: 0o600 });
  await symlink(name, join(directory, `${DATA}.new`)).catch(async (error) => {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    await rm(join(directory, `${DATA}.new`));
    await symlink(name, join(directory, `${DATA}.new`));
  });
  await rename(join(directory, `${DATA}.new`), join(directory, DATA));
  await linkNames(directory, new Set([...files.keys()].map((path) => path.split("/")[0]!)));
  for (const entry of await readdir(directory)) {
    if (entry.startsWith("..") && entry !== DATA && entry !== name) {
      await rm(join(directory, entry), { recursive: true, force: true });
    }
  }
}

/** Says of which files a directory of contents is; only root reads it. */
const MARK = "..podrt";

async function isWhole(contents: string, fingerprint: string): Promise<boolean> {
  const found = await readFile(join(contents, MARK), "utf8").catch(() => "");
  return found === fingerprint;
}

function digestOf(files: ReadonlyMap<string, VolumeFile>, group: number | undefined): string {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(`${group}\n`);
  for (const [path, { bytes, mode }] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${path.length} ${path} ${mode} ${bytes.length}\n`);
    hash.update(bytes);
  }
  return hash.digest("hex");
}

async function writeOne(
  contents: string,
  path: string,
  { bytes, mode }: VolumeFile,
  group: number | undefined,
): Promise<void> {
  const file = join(contents, path);
  const above = dirname(path);
  if (above !== ".") {
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    const parts = above.split("/");
    for (let depth = 1; group !== undefined && depth <= parts.length; depth++) {
      await own(join(contents, ...parts.slice(0, depth)), group);
    }
  }
  await writeFile(file, bytes, { mode: 0o600 });
  if (group !== undefined) await chown(file, 0, group);
  // What is a group's can be read by it, whatever its mode says; the umask has no say.
  await chmod(file, group === undefined ? mode : mode | 0o440);
}

async function own(path: string, group: number): Promise<void> {
  await chown(path, 0, group);
  await chmod(path, 0o2755);
}

/** Links for the names at the top that are new; those of names that are gone are removed. */
async function linkNames(directory: string, names: ReadonlySet<string>): Promise<void> {
  const present = new Set((await readdir(directory)).filter((entry) => !entry.startsWith("..")));
  for (const name of names) {
    if (!present.has(name)) await symlink(join(DATA, name), join(directory, name));
  }
  for (const name of present) {
    if (!names.has(name)) await rm(join(directory, name), { force: true });
  }
}
