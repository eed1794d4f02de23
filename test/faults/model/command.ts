// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import type { Container, Model, Pod, Real } from "./model.ts";

/** One thing that an actor does, with what fast-check has chosen for it. */
export type ModelCommand = fc.AsyncCommand<Model, Real>;

/** A command on something that the model has, chosen by a number from among what is fit for it. */
export function onOneOf<Thing, Arguments extends object>(
  name: string,
  fit: (model: Readonly<Model>) => readonly Thing[],
  options: { [Key in keyof Arguments]: fc.Arbitrary<Arguments[Key]> },
  run: (real: Real, thing: Thing, chosen: Arguments, model: Model) => Promise<void>,
): fc.Arbitrary<ModelCommand> {
  return fc.record({ which: fc.nat(1000), chosen: fc.record(options) }).map(({ which, chosen }) => ({
    check: (model) => fit(model).length > 0,
    run(model, real) {
      const things = fit(model);
      return run(real, things[which % things.length] as Thing, chosen as Arguments, model);
    },
    toString: () => `${name} ${which} ${JSON.stringify(chosen)}`,
  }));
}

export const podsThat =
  (isFit: (pod: Pod) => boolean) =>
  ({ pods }: Readonly<Model>): Pod[] =>
    pods.filter(isFit);

export const containersThat =
  (isFit: (container: Container) => boolean) =>
  ({ pods }: Readonly<Model>): Container[] =>
    pods.flatMap(({ containers }) => containers).filter(isFit);

export const isHealthy = ({ isDying, isStopped }: Pod): boolean => !isDying && !isStopped;
