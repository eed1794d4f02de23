// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The value of a variable that has to be one of a few. */
export function oneOf<T extends string>(
  env: Environment,
  name: string,
  values: readonly T[],
  otherwise: T,
): T {
  const text = env[name];
  if (text === undefined || text === "") return otherwise;
  const value = values.find((known) => known === text);
  if (value !== undefined) return value;
  throw new InvalidArgumentError(name, `${JSON.stringify(text)} is not supported, only ${values.join(", ")}`);
}

/** The value of a variable that is a number from `least` to `most`. */
export function numberFrom(
  env: Environment,
  name: string,
  [least, most]: readonly [number, number],
  otherwise: number,
): number {
  const text = env[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (value >= least && value <= most) return value;
  throw new InvalidArgumentError(
    name,
    `${JSON.stringify(text)} is not supported, only a number from ${least} to ${most}`,
  );
}
