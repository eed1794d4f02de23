// SPDX-License-Identifier: Apache-2.0
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Metric,
  type MetricDescriptorSchema,
  MetricSchema,
  MetricType,
} from "../../gen/runtime/v1/api_pb.ts";

/** What the machine must have for a family to have samples. */
export type Requirement = "cpu" | "cpuacct" | "memory" | "pids" | "io" | "hugetlb" | "pressure";

/** One sample of a family. */
export interface Sample {
  /** A whole number, rounded down; a sample without one is left out. */
  readonly value: number | bigint | undefined;
  /** Values of the family's own labels. */
  readonly labels?: readonly string[];
  /** When it was read, in nanoseconds since 1970; absent for what was read for this very call. */
  readonly atNs?: bigint | undefined;
}

/** A metric by name, with how its samples come from what was read. */
export interface MetricFamily<Readings> {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  /** Keys of labels beside those that every family has. */
  readonly labels: readonly string[];
  readonly needs: Requirement | undefined;
  samples(readings: Readings): readonly Sample[];
}

/** Labels of every family, as cAdvisor has them: dashboards and alerts select by these. */
const BASE_LABELS = ["namespace", "pod", "container", "id", "image"] as const;
export type BaseLabels = Readonly<Record<(typeof BASE_LABELS)[number], string>>;

type Source<Readings> = (readings: Readings) => number | bigint | undefined | readonly Sample[];

/** Makes families of one kind of readings that need the same of the machine; names begin with `container_`. */
export function familiesOf<Readings>(needs?: Requirement) {
  const make = (type: MetricFamily<Readings>["type"]) => {
    return (
      name: string,
      help: string,
      source: Source<Readings>,
      labels: readonly string[] = [],
    ): MetricFamily<Readings> => ({
      name: `container_${name}`,
      help,
      type,
      labels,
      needs,
      samples(readings) {
        const found = source(readings);
        return typeof found === "object" ? found : [{ value: found }];
      },
    });
  };
  return { counter: make("counter"), gauge: make("gauge") };
}

export function descriptorOf({
  name,
  help,
  labels,
}: Pick<MetricFamily<never>, "name" | "help" | "labels">): MessageInitShape<typeof MetricDescriptorSchema> {
  return { name, help, labelKeys: [...BASE_LABELS, ...labels] };
}

const TYPES = { counter: MetricType.COUNTER, gauge: MetricType.GAUGE } as const;

/** The samples of all families, each with the values of its labels in the order of the descriptor's keys. */
export function metricsOf<Readings>(
  families: readonly MetricFamily<Readings>[],
  readings: Readings,
  base: BaseLabels,
): Metric[] {
  const baseValues = BASE_LABELS.map((key) => base[key]);
  return families.flatMap((family) =>
    family.samples(readings).flatMap(({ value, labels = [], atNs = 0n }) => {
      if (value === undefined) return [];
      return [
        create(MetricSchema, {
          name: family.name,
          metricType: TYPES[family.type],
          timestamp: atNs,
          labelValues: [...baseValues, ...labels],
          value: { value: toUint64(value) },
        }),
      ];
    }),
  );
}

const MAX_UINT64 = 2n ** 64n - 1n;

/** Some file systems tell more inodes than a number of the interface can hold. */
function toUint64(value: number | bigint): bigint {
  const whole = typeof value === "bigint" ? value : BigInt(Math.floor(value));
  return whole < 0n ? 0n : whole > MAX_UINT64 ? MAX_UINT64 : whole;
}
