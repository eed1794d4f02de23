// SPDX-License-Identifier: Apache-2.0
import { FailedPreconditionError, InvalidArgumentError } from "../errors.ts";
import { O_PATH, O_RDONLY } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { openInRoot, statFd } from "../linux/path.ts";
import { isErrno, syscall } from "../linux/syscall.ts";

/** A line of passwd(5). */
export interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** A line of group(5). */
export interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** The users and groups that a root file system knows. */
export interface UserDatabase {
  readonly users: readonly PasswdEntry[];
  readonly groups: readonly GroupEntry[];
}

/** Whom a container asks to run as; what is left out comes from the image. */
export interface UserRequest {
  readonly runAsUser?: number | undefined;
  readonly runAsUsername?: string | undefined;
  readonly runAsGroup?: number | undefined;
  readonly supplementalGroups: readonly number[];
  /** Merge adds the groups in which the image's /etc/group has the user. */
  readonly mergesImageGroups: boolean;
  /** `USER` of the image: name or uid, optionally `:` and group name or gid. */
  readonly imageUser: string;
}

export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Ascending, the primary group among them. */
  readonly groups: readonly number[];
  readonly home: string;
}

/** The largest id: 2^32-1 means "none" to the kernel. */
const MAX_ID = 0xffff_fffe;
const DIGITS = /^\d+$/;
const FILE_LIMIT_BYTES = 1024 * 1024;

/** Reads /etc/passwd and /etc/group below `root`; a missing file is an empty one. */
export function readUserDatabase(root: Fd): UserDatabase {
  return {
    users: parsePasswd(readSmallFile(root, "etc/passwd")),
    groups: parseGroup(readSmallFile(root, "etc/group")),
  };
}

/** Lines that are no entries, or name ids out of range, are passed over: the files are an image's. */
export function parsePasswd(text: string): PasswdEntry[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , uid = "", gid = "", , home = ""] = line.split(":");
    const [user, group] = [parseId(uid), parseId(gid)];
    if (name === "" || user === undefined || group === undefined) return [];
    return [{ name, uid: user, gid: group, home }];
  });
}

export function parseGroup(text: string): GroupEntry[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , gid = "", members = ""] = line.split(":");
    const group = parseId(gid);
    if (name === "" || group === undefined) return [];
    return [{ name, gid: group, members: members.split(",").filter((member) => member !== "") }];
  });
}

/** Decides uid, gid and groups; a name that the image does not know is an error that says so. */
export function resolveUser(request: UserRequest, database: UserDatabase): ResolvedUser {
  const [imageUser = "", imageGroup = ""] = request.imageUser.split(":", 2);
  const asked = request.runAsUser ?? request.runAsUsername;
  const user = asked === undefined ? (imageUser === "" ? "0" : imageUser) : String(asked);
  const entry = findUser(user, database);
  const uid = entry?.uid ?? parseId(user);
  if (uid === undefined) {
    throw new FailedPreconditionError(
      `user ${JSON.stringify(user)} is neither a uid nor in the image's /etc/passwd`,
    );
  }
  const group = request.runAsGroup ?? (asked === undefined && imageGroup !== "" ? imageGroup : undefined);
  const gid = group === undefined ? (entry?.gid ?? 0) : resolveGroup(group, database);
  const fromImage = request.mergesImageGroups && entry !== undefined ? groupsOf(entry.name, database) : [];
  const groups = [...new Set([gid, ...request.supplementalGroups, ...fromImage])].sort((a, b) => a - b);
  return { uid, gid, groups, home: homeOf(entry) };
}

/** Digits are a uid, never a name, which could be root's: whoever allowed that uid has not allowed root. */
function findUser(user: string, database: UserDatabase): PasswdEntry | undefined {
  const uid = parseId(user);
  return database.users.find((entry) => (DIGITS.test(user) ? entry.uid === uid : entry.name === user));
}

function resolveGroup(group: string | number, database: UserDatabase): number {
  if (typeof group === "number") return group;
  const gid = DIGITS.test(group)
    ? parseId(group)
    : database.groups.find((entry) => entry.name === group)?.gid;
  if (gid === undefined) {
    throw new FailedPreconditionError(
      `group ${JSON.stringify(group)} is neither a gid nor in the image's /etc/group`,
    );
  }
  return gid;
}

function groupsOf(name: string, database: UserDatabase): number[] {
  return database.groups.filter((group) => group.members.includes(name)).map((group) => group.gid);
}

// A home with control characters would smuggle lines into what reads the environment.
function homeOf(entry: PasswdEntry | undefined): string {
  const home = entry?.home ?? "/";
  return home.startsWith("/") && !/\p{Cc}/u.test(home) ? home : "/";
}

/** A decimal id from 0 to 2^32-2; undefined for anything else, so that nothing wraps around to root. */
export function parseId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function readSmallFile(root: Fd, path: string): string {
  let file: Fd;
  try {
    file = openInRoot(root.number, path, O_PATH);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) return "";
    throw error;
  }
  using place = file;
  const S_IFMT = 0o170000;
  const S_IFREG = 0o100000;
  const { mode, size } = statFd(place.number);
  // Looked at before it is opened: to open a device, which an image may have here, is to use it.
  if ((mode & S_IFMT) !== S_IFREG) return "";
  if (Number(size) > FILE_LIMIT_BYTES) {
    throw new InvalidArgumentError("", `the image's /${path} is larger than ${FILE_LIMIT_BYTES} bytes`);
  }
  using fd = open(`/proc/self/fd/${place.number}`, O_RDONLY);
  const bytes = new Uint8Array(Number(size));
  let length = 0;
  while (length < bytes.length) {
    const count = syscall("pread64", fd.number, bytes.subarray(length), bytes.length - length, length);
    if (count === 0) break;
    length += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}
