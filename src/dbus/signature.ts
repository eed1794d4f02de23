// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";

/*
 * Types of D-Bus as signatures write them (D-Bus Specification, "Type System"): `a(sv)` is an array of structures of a
 * string and a variant.
 */

export type BasicCode = "y" | "b" | "n" | "q" | "i" | "u" | "x" | "t" | "d" | "s" | "o" | "g" | "h";

export type Type =
  | { readonly kind: "basic"; readonly code: BasicCode }
  | { readonly kind: "variant" }
  | { readonly kind: "array"; readonly element: Type }
  /** A structure, or an entry of a dictionary, which is one of two members. */
  | { readonly kind: "struct"; readonly members: readonly Type[] };

const ALIGNMENTS: Readonly<Record<BasicCode, number>> = {
  ...{ y: 1, g: 1, n: 2, q: 2, b: 4, i: 4, u: 4, s: 4, o: 4, h: 4, x: 8, t: 8, d: 8 },
};
/** Of arrays, and of structures and dictionary entries, each on its own. */
const MAX_DEPTH = 32;
const MAX_SIGNATURE_BYTES = 255;

/** By how many bytes values of a type are aligned. */
export function alignmentOf(type: Type): number {
  if (type.kind === "basic") return ALIGNMENTS[type.code];
  return { variant: 1, array: 4, struct: 8 }[type.kind];
}

/** The types that a signature lists; InvalidArgumentError for what is none. */
export function parseSignature(signature: string): readonly Type[] {
  const known = parsed.get(signature);
  if (known !== undefined) return known;
  if (signature.length > MAX_SIGNATURE_BYTES) throw malformed(signature);
  const types: Type[] = [];
  for (let at = 0; at < signature.length; ) {
    const [type, end] = parseOne(signature, at, { arrays: 0, structs: 0 });
    types.push(type);
    at = end;
  }
  // A peer could make up any number of them.
  if (parsed.size < KEPT_SIGNATURES) parsed.set(signature, types);
  return types;
}

const KEPT_SIGNATURES = 64;
const parsed = new Map<string, readonly Type[]>();

interface Depth {
  readonly arrays: number;
  readonly structs: number;
}

/** The type that begins at `at`, and where it ends. */
function parseOne(signature: string, at: number, depth: Depth): [Type, number] {
  const code = signature.charAt(at);
  if (Object.hasOwn(ALIGNMENTS, code)) return [{ kind: "basic", code: code as BasicCode }, at + 1];
  if (code === "v") return [{ kind: "variant" }, at + 1];
  if (depth.arrays > MAX_DEPTH || depth.structs > MAX_DEPTH) throw malformed(signature);
  if (code === "(") return parseStruct(signature, at, depth);
  if (code !== "a") throw malformed(signature);
  const below = { ...depth, arrays: depth.arrays + 1 };
  const isEntry = signature.charAt(at + 1) === "{";
  const [element, end] = isEntry ? parseEntry(signature, at + 1, below) : parseOne(signature, at + 1, below);
  return [{ kind: "array", element }, end];
}

function parseStruct(signature: string, at: number, depth: Depth): [Type, number] {
  const members: Type[] = [];
  let end = at + 1;
  while (signature.charAt(end) !== ")") {
    const [member, next] = parseOne(signature, end, { ...depth, structs: depth.structs + 1 });
    members.push(member);
    end = next;
  }
  if (members.length === 0) throw malformed(signature);
  return [{ kind: "struct", members }, end + 1];
}

/** Only an array may be made of these, and their key is of a basic type. */
function parseEntry(signature: string, at: number, depth: Depth): [Type, number] {
  const below = { ...depth, structs: depth.structs + 1 };
  const [key, afterKey] = parseOne(signature, at + 1, below);
  const [value, end] = parseOne(signature, afterKey, below);
  if (key.kind !== "basic" || signature.charAt(end) !== "}") throw malformed(signature);
  return [{ kind: "struct", members: [key, value] }, end + 1];
}

function malformed(signature: string): Error {
  return new InvalidArgumentError("", `${JSON.stringify(signature.slice(0, 300))} is no D-Bus signature`);
}
