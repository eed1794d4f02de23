// SPDX-License-Identifier: Apache-2.0

/** By container id: how many calls are removing it. */
const removals = new Map<string, number>();

/** Notes that a container is being removed, until the answer is disposed of. */
export function beginRemoval(id: string): Disposable {
  removals.set(id, (removals.get(id) ?? 0) + 1);
  return {
    [Symbol.dispose]() {
      const left = (removals.get(id) ?? 1) - 1;
      if (left === 0) removals.delete(id);
      else removals.set(id, left);
    },
  };
}

export function isBeingRemoved(id: string): boolean {
  return removals.has(id);
}
