// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../errors.ts";
import { logger } from "../lib/logger.ts";
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { open } from "../linux/fd.ts";
import { measureTree } from "../linux/tree.ts";
import { isDirectory, makeUpperDirectory, UNFINISHED_PREFIX } from "./snapshot-directory.ts";
import type { CommonLayer, LayerUsage } from "./snapshotter.ts";

/** Ends the names of their directories, for people who look there. */
const SUFFIX = "-common";
/** Names that are known for the same layers; once that many have been made, others do without. */
const MOST_FOR_LAYERS = 16;

/**
 * The common layers of snapshots, as directories beside those of layers. They are known to this process alone: what
 * an earlier one has made is used by the snapshots that stand on it, and gone with the last of them.
 */
export interface CommonLayers {
  /**
   * The directory, by its name, of `asked` above the layers `chainIds`, whose directories are `lowerDirs`, top first.
   * It is made when it is asked for the second time: that costs as much as several snapshots save, and most that are
   * asked for once are never asked for again. Undefined until then, where the layers have too many, and where it could
   * not be made, which is tried again when it has been asked for twice more.
   */
  directory(
    asked: CommonLayer,
    chainIds: readonly string[],
    lowerDirs: readonly string[],
  ): string | undefined;
  /** Gives up all that stand on the layer `chainId`; their directories are the caller's to delete. */
  forget(chainId: string): string[];
  directories(): string[];
  usage(): LayerUsage[];
}

interface Known extends LayerUsage {
  readonly directory: string;
}

interface Stack {
  readonly chainIds: readonly string[];
  /** By their names, in the order in which they were first asked for. */
  readonly known: Map<string, "asked for once" | Known>;
}

/** Below `layersDir`, in directories with names from `nextNumber`; `remove` deletes one, now or later. */
export function newCommonLayers(
  layersDir: string,
  nextNumber: () => number,
  remove: (name: string) => void,
): CommonLayers {
  /** By the chain id of the top layer, which stands for all that are below it. */
  const stacks = new Map<string, Stack>();

  function make({ make: fill }: CommonLayer, lowerDirs: readonly string[]): Known | undefined {
    const directory = `${nextNumber()}${SUFFIX}`;
    const unfinished = `${UNFINISHED_PREFIX}${directory}-${randomBytes(6).toString("hex")}`;
    const [upperDir, workDir] = [join(layersDir, unfinished, "upper"), join(layersDir, unfinished, "work")];
    try {
      mkdirSync(join(layersDir, unfinished), { mode: 0o700 });
      mkdirSync(workDir, { mode: 0o700 });
      makeUpperDirectory(upperDir, lowerDirs[0] ?? "");
      fill({ lowerDirs, upperDir, workDir });
      using made = open(upperDir, O_PATH | O_DIRECTORY);
      const { usedBytes: sizeBytes, inodes } = measureTree(made);
      renameSync(upperDir, join(layersDir, directory));
      return { directory, sizeBytes, inodes };
    } catch (error) {
      logger.debug({ layers: lowerDirs[0], error: messageOf(error) }, "no common layer");
      return undefined;
    } finally {
      remove(unfinished);
    }
  }

  return {
    directory(asked, chainIds, lowerDirs) {
      const top = chainIds.at(-1) ?? "";
      const stack = stacks.get(top) ?? { chainIds, known: new Map() };
      stacks.set(top, stack);
      const { known } = stack;
      const found = known.get(asked.name);
      if (found === undefined) {
        const unmade = oldestUnmade(known);
        if (known.size === MOST_FOR_LAYERS && unmade !== undefined) known.delete(unmade);
        if (known.size < MOST_FOR_LAYERS) known.set(asked.name, "asked for once");
        return undefined;
      }
      const isThere = found !== "asked for once" && isDirectory(join(layersDir, found.directory));
      if (isThere) return found.directory;
      const made = make(asked, lowerDirs);
      if (made === undefined) known.delete(asked.name);
      else known.set(asked.name, made);
      return made?.directory;
    },
    forget(chainId) {
      const gone = [...stacks].filter(([, { chainIds }]) => chainIds.includes(chainId));
      for (const [top] of gone) stacks.delete(top);
      return gone.flatMap(([, { known }]) => all(known).map(({ directory }) => directory));
    },
    directories: () =>
      [...stacks.values()].flatMap(({ known }) => all(known).map(({ directory }) => directory)),
    usage: () => [...stacks.values()].flatMap(({ known }) => all(known)),
  };
}

function oldestUnmade(known: Stack["known"]): string | undefined {
  return [...known].find(([, state]) => state === "asked for once")?.[0];
}

function all(known: Stack["known"]): Known[] {
  return [...known.values()].filter((state) => typeof state !== "string");
}
