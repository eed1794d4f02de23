// SPDX-License-Identifier: Apache-2.0
import { type Document, isAlias, isNode, type Node, visit } from "yaml";
import type { Problems } from "./problems.ts";
import type { Reader, Shape } from "./schema.ts";

/** Aliases let a small text stand for a huge value: so many nodes are read of one document, no more. */
const MAX_NODES = 100_000;

/** Reads one YAML document: resolves aliases, knows where each field stands, bounds the work. */
export class ManifestReader implements Reader {
  readonly around: Shape[] = [];
  readonly #document: Document.Parsed;
  readonly #problems: Problems;
  readonly #offsets = new Map<string, number>();
  #anchors: Map<string, Node[]> | undefined;
  #nodesLeft = MAX_NODES;

  constructor(document: Document.Parsed, problems: Problems) {
    this.#document = document;
    this.#problems = problems;
  }

  problem(node: Node, path: string, message: string): void {
    this.#problems.add(this.#offset(node), path, message);
  }

  note(node: Node, path: string, message: string): void {
    this.#problems.note(this.#offset(node), path, message);
  }

  /** As `note`, once the document has been read. */
  noteAt(path: string, message: string): void {
    this.#problems.note(this.offsetOf(path), path, message);
  }

  seen(node: Node, path: string): void {
    this.#offsets.set(path, this.#offset(node));
  }

  /** Of the whole manifest so far. */
  problemCount(): number {
    return this.#problems.count();
  }

  /** The offset at which `path` stands, or else the nearest field around it. */
  offsetOf(path: string): number {
    for (let around = path; around !== ""; around = parentOf(around)) {
      const offset = this.#offsets.get(around);
      if (offset !== undefined) return offset;
    }
    return this.#offsets.get("") ?? this.#offset(this.#document.contents);
  }

  resolve(node: Node, path: string): Node | undefined {
    if (this.#nodesLeft-- <= 0) {
      if (this.#nodesLeft === -1) this.problem(node, path, `the document has more than ${MAX_NODES} nodes`);
      return undefined;
    }
    if (!isAlias(node)) return node;
    const before = this.#offset(node);
    this.#anchors ??= anchorsOf(this.#document);
    const target = this.#anchors.get(node.source)?.findLast((anchored) => this.#offset(anchored) < before);
    if (target === undefined)
      this.problem(node, path, `there is no anchor &${node.source} before this alias`);
    return target;
  }

  #offset(node: unknown): number {
    return (isNode(node) ? node.range?.[0] : undefined) ?? this.#document.range[0];
  }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("."), path.lastIndexOf("["), 0));
}

function anchorsOf(document: Document.Parsed): Map<string, Node[]> {
  const anchors = new Map<string, Node[]>();
  visit(document, {
    Node(_key, node) {
      if (isAlias(node) || node.anchor === undefined) return;
      anchors.set(node.anchor, [...(anchors.get(node.anchor) ?? []), node]);
    },
  });
  return anchors;
}
