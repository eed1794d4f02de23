// SPDX-License-Identifier: Apache-2.0
import { isAlias, isMap, isScalar, isSeq, type Node, type Pair } from "yaml";
import { nearMiss } from "./near-miss.ts";

/**
 * What a part of a manifest may hold. A schema reads a YAML node into a value and tells the reader of
 * every problem with the position of the node that has it; what it returns is only meant to be used
 * when there was none.
 */
export interface Schema<T> {
  readonly kind: "schema";
  /** What is expected, in words. */
  readonly expected: string;
  read(node: Node, path: string, reader: Reader): T;
}

/** Where problems go, and what bounds the work that a document can cause. */
export interface Reader {
  /** Notes a problem at a node; past the reader's limit further ones are only counted. */
  problem(node: Node, path: string, message: string): void;
  /** Tells of something that is no problem, past a limit of its own no more. */
  note(node: Node, path: string, message: string): void;
  /** Remembers where `path` stands, for checks that run on the finished value. */
  seen(node: Node, path: string): void;
  /** The records around the one that is read, from the outermost on. */
  readonly around: Shape[];
  /** The node an alias stands for; undefined, with a problem noted, when there is none. */
  resolve(node: Node, path: string): Node | undefined;
}

/** A field that must be present. */
export interface RequiredField<T> {
  readonly kind: "required";
  readonly schema: Schema<T>;
  /** What to do where it is missing. */
  readonly hint?: string | undefined;
}

/** A field that Kubernetes has and podrt refuses by name. */
export interface UnsupportedField {
  readonly kind: "unsupported";
  readonly why: string;
}

/** A field of Kubernetes that is right and of no effect here; who runs the manifest is told. */
export interface MeaninglessField {
  readonly kind: "meaningless";
  readonly why: string;
}

// biome-ignore lint/suspicious/noExplicitAny: the element type is recovered by inference in RecordOf.
type Any = any;
export type Field = Schema<Any> | RequiredField<Any> | UnsupportedField | MeaninglessField;
export type Shape = Readonly<Record<string, Field>>;
type Keys<S extends Shape, F> = { [K in keyof S]: S[K] extends F ? K : never }[keyof S];

/** The TypeScript type of what a record of this shape reads. */
export type RecordOf<S extends Shape> = {
  readonly [K in Keys<S, RequiredField<Any>>]: S[K] extends RequiredField<infer T> ? T : never;
} & {
  readonly [K in Keys<S, Schema<Any>>]?: S[K] extends Schema<infer T> ? T : never;
};
export type TypeOf<S> = S extends Schema<infer T> ? T : never;

interface ListSchema<T> extends Schema<readonly T[]> {
  readonly element: Schema<T>;
}

/** A record also carries its shape, so that the documentation can list its fields. */
export interface RecordSchema<S extends Shape> extends Schema<RecordOf<S>> {
  readonly shape: S;
}

export function required<T>(schema: Schema<T>, hint?: string): RequiredField<T> {
  return { kind: "required", schema, hint };
}

/** A field of Kubernetes that podrt does not honour. */
export function unsupported(why = "is not supported yet"): UnsupportedField {
  return { kind: "unsupported", why };
}

/** A field that speaks of what does not exist here. */
export function meaningless(why: string): MeaninglessField {
  return { kind: "meaningless", why };
}

/** A mapping with these fields and no others. */
export function record<S extends Shape>(shape: S): RecordSchema<S> {
  const read = (node: Node, path: string, reader: Reader) => {
    const result: Record<string, unknown> = {};
    if (!isMap(node)) {
      reader.problem(node, path, `expected a mapping${fieldOf(shape)}, got ${describe(node)}`);
      return result as RecordOf<S>;
    }
    const empty = new Map<string, Node>();
    const present = new Set<string>();
    eachPair(node.items, path, reader, (key, keyNode, valueNode) => {
      const fieldPath = join(path, key);
      const field = Object.hasOwn(shape, key) ? shape[key] : undefined;
      if (field === undefined)
        return reader.problem(keyNode, fieldPath, unknownField(key, shape, reader.around));
      // What says nothing asks for nothing: programs that write manifests leave such fields behind.
      if (isNothing(valueNode) && (field.kind === "unsupported" || field.kind === "meaningless")) return;
      if (field.kind === "unsupported") return reader.problem(keyNode, fieldPath, field.why);
      if (field.kind === "meaningless") return reader.note(keyNode, fieldPath, field.why);
      const value = valueNode === null ? undefined : reader.resolve(valueNode, fieldPath);
      if (value === undefined || isNull(value)) return void empty.set(key, keyNode);
      present.add(key);
      reader.seen(value, fieldPath);
      reader.around.push(shape);
      result[key] = schemaOf(field).read(value, fieldPath, reader);
      reader.around.pop();
    });
    for (const [key, field] of Object.entries(shape)) {
      if (field.kind !== "required" || present.has(key)) continue;
      const at = empty.get(key);
      if (at === undefined) reader.problem(node, join(path, key), `is required${requiredHint(field)}`);
      else
        reader.problem(
          at,
          join(path, key),
          "is required, and has no value; what belongs to it is indented below it",
        );
    }
    return result as RecordOf<S>;
  };
  return { kind: "schema", expected: "a mapping", shape, read };
}

/** A mapping from names of the author's choice to `value`; `checkKey` says what is wrong with a name. */
export function mapOf<T>(
  value: Schema<T>,
  max: number,
  checkKey: (key: string) => string | undefined = () => undefined,
): Schema<Readonly<Record<string, T>>> {
  const read = (node: Node, path: string, reader: Reader) => {
    const result: Record<string, T> = Object.create(null);
    if (!isMap(node)) {
      reader.problem(node, path, `expected a mapping, got ${describe(node)}`);
      return result;
    }
    if (node.items.length > max) reader.problem(node, path, `has more than ${max} entries`);
    eachPair(node.items.slice(0, max), path, reader, (key, keyNode, valueNode) => {
      const fieldPath = `${path}[${JSON.stringify(key)}]`;
      const wrong = checkKey(key);
      if (wrong !== undefined) return reader.problem(keyNode, fieldPath, wrong);
      const resolved = reader.resolve(valueNode ?? keyNode, fieldPath);
      if (resolved === undefined) return;
      reader.seen(resolved, fieldPath);
      result[key] = value.read(resolved, fieldPath, reader);
    });
    return result;
  };
  return { kind: "schema", expected: `a mapping of names to ${value.expected}`, read };
}

/** A list of `element`s, between `min` and `max` of them. */
export function list<T>(element: Schema<T>, max: number, min = 0): ListSchema<T> {
  const read = (node: Node, path: string, reader: Reader) => {
    const result: T[] = [];
    if (!isSeq(node)) {
      reader.problem(node, path, `expected a list, got ${describe(node)}${listHint(node)}`);
      return result;
    }
    if (node.items.length < min) reader.problem(node, path, `needs at least ${min} entry`);
    if (node.items.length > max) reader.problem(node, path, `has more than ${max} entries`);
    node.items.slice(0, max).forEach((item, index) => {
      const itemPath = `${path}[${index}]`;
      const resolved = reader.resolve(item as Node, itemPath);
      if (resolved === undefined) return;
      reader.seen(resolved, itemPath);
      result.push(element.read(resolved, itemPath, reader));
    });
    return result;
  };
  return { kind: "schema", expected: `a list, each ${element.expected}`, element, read };
}

/** Calls `visit` once for each key, having refused keys that are no strings and keys given twice. */
function eachPair(
  pairs: readonly Pair[],
  path: string,
  reader: Reader,
  visit: (key: string, keyNode: Node, value: Node | null) => void,
): void {
  const seen = new Set<string>();
  for (const pair of pairs) {
    const keyNode = pair.key as Node;
    const key = isScalar(keyNode) ? (keyNode.source ?? String(keyNode.value)) : undefined;
    if (key === undefined || isNull(keyNode)) {
      reader.problem(keyNode, path, `expected a field name, got ${describe(keyNode)}`);
    } else if (seen.has(key)) {
      reader.problem(keyNode, join(path, key), "is given twice");
    } else {
      seen.add(key);
      visit(key, keyNode, pair.value as Node | null);
    }
  }
}

function unknownField(key: string, shape: Shape, around: readonly Shape[]): string {
  if (key === "<<") return "merge keys are not supported, write the fields out";
  const [inner, ...others] = Object.keys(shape).filter(
    (name) => shapeWithin(shape[name]!)?.[key] !== undefined,
  );
  // What several have is nothing to go by, but for what both kinds of containers have.
  if (inner !== undefined && key !== "name" && (others.length === 0 || inner === "containers")) {
    return `there is no such field here; it belongs ${isList(shape[inner]!) ? "into an entry of" : "below"} ${inner}: indent it`;
  }
  const outer = around.findLast((candidate) => Object.hasOwn(candidate, key) && key !== "name");
  const meant = nearMiss(key, Object.keys(shape));
  if (outer !== undefined && meant === undefined) {
    const [parent] = around
      .slice(around.indexOf(outer) + 1)
      .concat(shape)
      .flatMap((below) => nameOf(below, outer));
    return `there is no such field here; it belongs beside ${parent ?? "what is around"}: indent it less`;
  }
  return meant === undefined ? "there is no such field" : `there is no such field; did you mean ${meant}?`;
}

function schemaOf(field: Schema<Any> | RequiredField<Any>): Schema<Any> {
  return field.kind === "required" ? field.schema : field;
}

/** One that can only have one value is told with it. */
function requiredHint({ schema, hint }: RequiredField<Any>): string {
  if (hint !== undefined) return `; ${hint}`;
  return /^[\w./]+$/.test(schema.expected) ? `; write ${schema.expected}` : "";
}

function isList(field: Field): boolean {
  return (field.kind === "schema" || field.kind === "required") && "element" in schemaOf(field);
}

/** The fields of what a field holds, or of its entries. */
function shapeWithin(field: Field): Shape | undefined {
  if (field.kind !== "schema" && field.kind !== "required") return undefined;
  const schema = schemaOf(field) as Partial<RecordSchema<Shape>> & Partial<ListSchema<Any>>;
  const held = (schema.element ?? schema) as Partial<RecordSchema<Shape>>;
  return held.shape;
}

/** By which field `outer` holds a record of this shape. */
function nameOf(shape: Shape, outer: Shape): string[] {
  return Object.keys(outer).filter((name) => shapeWithin(outer[name]!) === shape);
}

/** As in ` with name: …`, by the first field that must be there. */
function fieldOf(shape: Shape): string {
  const name = Object.keys(shape).find((key) => shape[key]?.kind === "required");
  return name === undefined ? "" : ` as in \`${name}: ...\``;
}

function listHint(node: Node): string {
  if (isMap(node)) return "; begin each entry with '- '";
  if (!isScalar(node) || typeof node.value !== "string") return "";
  const words = node.value.split(/\s+/).filter((word) => word !== "");
  return words.length === 0 || words.length > 8
    ? ""
    : `; write ${JSON.stringify(words).replaceAll('","', '", "')}`;
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function isNull(node: Node): boolean {
  return isScalar(node) && node.value === null;
}

/** No value, or a list or mapping with nothing in it, which to Kubernetes is the same; a source of a volume may be such a mapping. */
function isNothing(node: Node | null): boolean {
  return node === null || isNull(node) || ((isSeq(node) || isMap(node)) && node.items.length === 0);
}

/** What a node is, in the words of a person: `the number 8080`, `a list`, `nothing`. */
export function describe(node: Node): string {
  if (isMap(node)) return "a mapping";
  if (isSeq(node)) return "a list";
  if (isAlias(node)) return `the alias *${node.source}`;
  if (!isScalar(node) || node.value === null) return "nothing";
  const text = String(node.source ?? node.value);
  const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  if (typeof node.value === "number") return `the number ${shown}`;
  if (typeof node.value === "boolean") return shown;
  return JSON.stringify(shown);
}
