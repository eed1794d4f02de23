// SPDX-License-Identifier: Apache-2.0
import { isIP } from "node:net";
import { InvalidArgumentError, UnimplementedError } from "../errors.ts";

/** A name of Kubernetes is a DNS subdomain at most (RFC 1123). */
const MAX_NAME_BYTES = 253;
/** PATH_MAX and NAME_MAX (linux/limits.h), the final NUL not counted. */
const MAX_PATH_BYTES = 4095;
const MAX_COMPONENT_BYTES = 255;
/** MAX_ARG_STRLEN less the final NUL (execve(2)). */
const MAX_ARGUMENT_BYTES = 131_071;
/** A quarter of the usual stack limit of 8 MiB, what execve(2) allows arguments and environment together. */
const MAX_ARGUMENTS_BYTES = 2 * 1024 * 1024;
/** (uid_t) -1 and (gid_t) -1 mean "leave as it is" to the kernel. */
const MAX_USER_ID = 2n ** 32n - 2n;
const MAX_IMAGE_BYTES = 4096;

/** Kubernetes bounds the annotations of a pod so; the kubelet adds some of its own, hence the second. */
const MAX_LABELS_BYTES = 256 * 1024;
const MAX_ANNOTATIONS_BYTES = 288 * 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is its purpose.
const CONTROL = /[\u0000-\u001f\u007f]/;

export function invalid(path: string, problem: string): never {
  throw new InvalidArgumentError(path, problem);
}

/** A field that podrt does not honour yet is refused by name, never ignored. */
export function unsupported(path: string, what: string): never {
  throw new UnimplementedError(`${path}: ${what} not supported yet`);
}

/** A value for a message, at most 80 characters of it. */
export function shown(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 79)}…` : value);
}

export function required<T>(path: string, value: T | undefined): T {
  return value ?? invalid(path, "must be set");
}

export function checkNotEmpty(path: string, value: string): void {
  if (value === "") invalid(path, "must not be empty");
}

export function checkPrintable(path: string, value: string): void {
  if (CONTROL.test(value)) invalid(path, "must not contain control characters");
}

export function checkName(path: string, name: string): void {
  checkNotEmpty(path, name);
  checkPrintable(path, name);
  if (name.includes("/")) invalid(path, `must not contain a slash, but is ${shown(name)}`);
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) invalid(path, `must not exceed ${MAX_NAME_BYTES} bytes`);
}

/** Checks length and characters of any path, and that no component of it is `..`. */
export function checkPath(path: string, value: string): void {
  checkPrintable(path, value);
  if (Buffer.byteLength(value) > MAX_PATH_BYTES) invalid(path, `must not exceed ${MAX_PATH_BYTES} bytes`);
  for (const component of value.split("/")) {
    if (component === "..") invalid(path, `must not contain "..", but is ${shown(value)}`);
    if (Buffer.byteLength(component) > MAX_COMPONENT_BYTES) {
      invalid(path, `must not have a component of more than ${MAX_COMPONENT_BYTES} bytes`);
    }
  }
}

export function checkAbsolutePath(path: string, value: string): void {
  checkNotEmpty(path, value);
  if (!value.startsWith("/")) invalid(path, `must be an absolute path, but is ${shown(value)}`);
  checkPath(path, value);
}

export function checkOptionalAbsolutePath(path: string, value: string): void {
  if (value !== "") checkAbsolutePath(path, value);
}

export function checkInteger(path: string, value: bigint | number, min: number, max: number): void {
  if (value < min || value > max) invalid(path, `must be between ${min} and ${max}, but is ${value}`);
}

export function checkAddress(path: string, value: string): void {
  if (isIP(value) === 0) invalid(path, `must be an IP address, but is ${shown(value)}`);
}

export function checkUserId(path: string, value: bigint): void {
  if (value < 0n || value > MAX_USER_ID) {
    invalid(path, `must be between 0 and ${MAX_USER_ID}, but is ${value}`);
  }
}

/** The image that a request names, by id or reference; what its text means is for the image store to say. */
export function checkImageName(path: string, image: string): void {
  checkNotEmpty(path, image);
  if (CONTROL.test(image) || image.includes(" ")) {
    invalid(path, "must not contain spaces or control characters");
  }
  if (Buffer.byteLength(image) > MAX_IMAGE_BYTES) invalid(path, `must not exceed ${MAX_IMAGE_BYTES} bytes`);
}

/** The size of one argument, or of one variable of the environment as `KEY=VALUE`. */
export function checkArgumentSize(path: string, bytes: number): void {
  if (bytes > MAX_ARGUMENT_BYTES) invalid(path, `must not exceed ${MAX_ARGUMENT_BYTES} bytes`);
}

export function checkArguments(path: string, values: readonly string[]): void {
  for (const [index, value] of values.entries()) {
    checkArgumentSize(`${path}[${index}]`, Buffer.byteLength(value));
  }
}

/** Arguments and environment travel together in one execve; `sizes` are the bytes of each string. */
export function checkArgumentSpace(path: string, sizes: Iterable<number>): void {
  let total = 0;
  for (const size of sizes) total += size + 1;
  if (total > MAX_ARGUMENTS_BYTES) {
    invalid(path, `arguments and environment must not exceed ${MAX_ARGUMENTS_BYTES} bytes together`);
  }
}

/** A command as given to an exec: a program, then its arguments. */
export function checkCommand(path: string, command: readonly string[]): void {
  if (command.length === 0) invalid(path, "must name a program");
  checkNotEmpty(`${path}[0]`, command[0]!);
  checkArguments(path, command);
  checkArgumentSpace(
    path,
    command.map((word) => Buffer.byteLength(word)),
  );
}

/** Up to 63 letters, digits, "-", "_" and ".", with a domain and a slash before them or none. */
function isQualifiedName(key: string): boolean {
  return (
    key.indexOf("/") <= MAX_NAME_BYTES &&
    key.length <= MAX_NAME_BYTES + 64 &&
    /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(
      key,
    )
  );
}

interface Labelled {
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}

/**
 * A label is a name of Kubernetes with a value on one line. Values are not held to what a manifest may say, since
 * the kubelet labels with names of pods, which are longer, and other clients with what they have.
 */
export function checkLabels(path: string, config: Labelled): void {
  checkMap(`${path}.labels`, config.labels, MAX_LABELS_BYTES);
  for (const [key, value] of Object.entries(config.labels)) {
    if (!isQualifiedName(key)) {
      invalid(`${path}.labels`, `must have keys as in app or example.com/app, but has ${shown(key)}`);
    }
    checkPrintable(`${path}.labels[${key}]`, value);
  }
  checkAnnotations(`${path}.annotations`, config.annotations);
}

export function checkAnnotations(path: string, annotations: Record<string, string>): void {
  checkMap(path, annotations, MAX_ANNOTATIONS_BYTES);
}

function checkMap(path: string, map: Record<string, string>, limitBytes: number): void {
  let total = 0;
  for (const [key, value] of Object.entries(map)) {
    checkNotEmpty(`${path} key`, key);
    checkPrintable(`${path} key`, key);
    total += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (total > limitBytes) invalid(path, `must not exceed ${limitBytes} bytes together, but has ${total}`);
}
