// SPDX-License-Identifier: Apache-2.0
import { isScalar, type Node } from "yaml";
import { nearMiss } from "./near-miss.ts";
import { describe, type Reader, type Schema } from "./schema.ts";

/** Says what is wrong with a string, in words that go on from "got …": undefined when nothing is. */
export type Check = (text: string) => string | undefined;

/** Text that must match `pattern`; `expected` says in words what that is. */
export function pattern(expression: RegExp, expected: string, maxLength = 4096): Check {
  return (text) => {
    if (text.length > maxLength) return `expected at most ${maxLength} characters, got ${text.length}`;
    return expression.test(text) ? undefined : `expected ${expected}, got ${JSON.stringify(text)}`;
  };
}

/**
 * A string; a number or boolean that was not quoted is refused, as Kubernetes does, but for the numbers
 * of `numbersToo`: what may be a quantity.
 */
export function string(
  check: Check = pattern(/^[^\0]*$/su, "text without a NUL character", 131_072),
  { numbersToo = false } = {},
): Schema<string> {
  return scalar(
    "a string",
    (value, node) => {
      if (typeof value === "string") return value;
      if (numbersToo && typeof value === "number") return node.source ?? String(value);
      if (typeof value !== "number" && typeof value !== "boolean") return undefined;
      return new Wrong(`expected a string, got ${describe(node)}; write ${JSON.stringify(node.source)}`);
    },
    check,
  );
}

export function boolean(): Schema<boolean> {
  return scalar("true or false", (value) => (typeof value === "boolean" ? value : undefined));
}

/** One with a leading zero is octal, as in YAML 1.1, which Kubernetes reads: modes are written so. */
export function integer(min: number, max: number): Schema<number> {
  const expected = `a whole number from ${min} to ${max}`;
  return scalar(expected, (given, node) => {
    const value = /^0[0-7]+$/.test(node.source ?? "") ? Number.parseInt(node.source!, 8) : given;
    const isWhole = typeof value === "number" && Number.isSafeInteger(value);
    if (typeof given === "string" && /^\d{1,15}$/.test(given)) {
      return new Wrong(`expected ${expected}, got ${describe(node)}; write ${Number(given)} without quotes`);
    }
    return typeof given === "number" && isWhole && value >= min && value <= max ? value : undefined;
  });
}

/** Permission bits, in octal with a leading zero or in decimal as JSON has them. */
export function fileMode(): Schema<number> {
  return { ...integer(0, 0o777), expected: "permissions from 0 to 0777" };
}

/** A number of a port or, as text, its name. */
export function portReference(check: Check): Schema<number | string> {
  return scalar<number | string>(
    "a port from 1 to 65535 or the name of one",
    (value) =>
      typeof value === "string" || (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535)
        ? (value as number | string)
        : undefined,
    (value) => (typeof value === "string" ? check(value) : undefined),
  );
}

/** One of a few words; a near miss is suggested. */
export function oneOf<const T extends string>(...words: T[]): Schema<T> {
  const expected = words.length === 1 ? words[0]! : `one of ${words.join(", ")}`;
  return scalar(expected, (value, node) => {
    if (words.includes(value as T)) return value as T;
    const meant = typeof value === "string" ? nearMiss(value, words) : undefined;
    return meant === undefined
      ? undefined
      : new Wrong(`expected ${expected}, got ${describe(node)}; did you mean ${meant}?`);
  });
}

/** A field of which podrt honours one value only: that which is also the default of Kubernetes. */
export function only<const T extends string | boolean>(value: T): Schema<T> {
  return scalar(`only ${value}`, (given, node) =>
    given === value ? value : new Wrong(`${describe(node)} is not supported yet, only ${value}`),
  );
}

/** Text or a number, as quantities may be written; `parse` throws nothing and answers undefined. */
export function quantity(expected: string, parse: (text: string) => number | undefined): Schema<number> {
  return scalar(expected, (value, node) => {
    if (typeof value !== "string" && typeof value !== "number") return undefined;
    const text = typeof value === "string" ? value : (node.source ?? String(value));
    const parsed = parse(text);
    const meant =
      parsed === undefined ? meantUnit(text).find((other) => parse(other) !== undefined) : undefined;
    if (meant === undefined) return parsed;
    return new Wrong(`expected ${expected}, got ${describe(node)}; did you mean ${meant}?`);
  });
}

/** What somebody may mean who writes units as they are written elsewhere: `64MB`, `1 GiB`, `512mb`. */
function meantUnit(text: string): string[] {
  const [, number, unit, binary] = /^([\d.]+)\s*([kmgtpe])(i?)b?$/i.exec(text) ?? [];
  if (number === undefined || unit === undefined) return [];
  const prefix = unit.toUpperCase();
  return binary === "" ? [`${number}${prefix === "K" ? "k" : prefix}`] : [`${number}${prefix}i`];
}

class Wrong {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

type ScalarNode = Node & { readonly value: unknown; readonly source?: string };

function scalar<T>(
  expected: string,
  convert: (value: unknown, node: ScalarNode) => T | Wrong | undefined,
  check?: (value: T) => string | undefined,
): Schema<T> {
  const read = (node: Node, path: string, reader: Reader): T => {
    const value = isScalar(node) ? convert(node.value, node as ScalarNode) : undefined;
    if (value === undefined) reader.problem(node, path, `expected ${expected}, got ${describe(node)}`);
    else if (value instanceof Wrong) reader.problem(node, path, value.message);
    else {
      const wrong = check?.(value);
      if (wrong !== undefined) reader.problem(node, path, wrong);
    }
    return value as T;
  };
  return { kind: "schema", expected, read };
}
