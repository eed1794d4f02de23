// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import * as v from "valibot";
import { InternalError, messageOf } from "../errors.ts";

/*
 * What plugins print. They are trusted to run, not to be right: sizes are bounded before this, shapes here.
 */

const LIST_LIMIT = 1024;

const address = v.pipe(v.string(), v.check(ipaddr.isValid, "is no IP address"));
const cidr = v.pipe(v.string(), v.check(ipaddr.isValidCIDR, "is no address with the length of its prefix"));
const list = <T extends v.GenericSchema>(item: T) =>
  v.optional(v.nullable(v.pipe(v.array(item), v.maxLength(LIST_LIMIT))));

// Loose: what a plugin adds is for the next one.
const resultSchema = v.looseObject({
  interfaces: list(
    v.looseObject({ name: v.string(), mac: v.optional(v.string()), sandbox: v.optional(v.string()) }),
  ),
  ips: list(
    v.looseObject({
      address: cidr,
      gateway: v.optional(v.nullable(v.union([v.literal(""), address]))),
      interface: v.optional(v.nullable(v.pipe(v.number(), v.integer()))),
    }),
  ),
  routes: list(v.looseObject({ dst: cidr })),
  dns: v.optional(v.nullable(v.looseObject({}))),
});
const errorSchema = v.looseObject({
  code: v.pipe(v.number(), v.integer()),
  msg: v.string(),
  details: v.optional(v.string(), ""),
});
const versionSchema = v.looseObject({
  supportedVersions: v.pipe(v.array(v.string()), v.maxLength(LIST_LIMIT)),
});

/** The result of ADD: interfaces, addresses, routes, as the plugin printed it. */
export type CniResult = v.InferOutput<typeof resultSchema>;
export type CniError = v.InferOutput<typeof errorSchema>;

/** Reads the output of ADD; InternalError says what is wrong with it. */
export function parseResult(text: string): CniResult {
  return check(resultSchema, text, "result");
}

/** The versions that the output of VERSION names. */
export function parseVersions(text: string): readonly string[] {
  return check(versionSchema, text, "answer").supportedVersions;
}

/** What a plugin that failed printed; undefined when that is no error in the specification's form. */
export function parseError(text: string): CniError | undefined {
  try {
    return check(errorSchema, text, "error");
  } catch {
    return undefined;
  }
}

/**
 * The addresses of `interfaceName` in the pod, in the plugin's order, without the length of their prefix.
 * Addresses that name no interface are its own.
 */
export function addressesOf({ interfaces, ips }: CniResult, interfaceName: string): string[] {
  const names = (interfaces ?? []).map(({ name }) => name);
  return (ips ?? []).flatMap(({ address: text, interface: index }, position) => {
    const isNamed = index !== undefined && index !== null && names.length > 0;
    if (isNamed && names[index] === undefined) {
      throw new InternalError(
        `the result is wrong: ips.${position}.interface is ${index}, of ${names.length} interfaces`,
      );
    }
    const [parsed] = ipaddr.parseCIDR(text);
    return isNamed && names[index] !== interfaceName ? [] : [parsed.toString()];
  });
}

function check<T extends v.GenericSchema>(schema: T, text: string, what: string): v.InferOutput<T> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new InternalError(`the ${what} is no JSON: ${messageOf(error).split("\n")[0]}`);
  }
  const result = v.safeParse(schema, document, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  throw new InternalError(`the ${what} is wrong: ${v.getDotPath(issue) ?? "document"}: ${issue.message}`);
}
