// SPDX-License-Identifier: Apache-2.0
import { tryRead } from "./files.ts";
import {
  type CgroupDirectories,
  type CgroupResources,
  checkLimit,
  directoryFor,
  isSet,
  type Setting,
} from "./resources.ts";

const LEAST_SHARES = 2;
const MOST_SHARES = 262_144;
/** What the powers and logarithms may lose. */
const ROUNDING = 1e-6;
const DEFAULT_PERIOD_US = 100_000;
const LEAST_QUOTA_US = 1000;

/** The files that make the cpu controller follow `resources`. */
export function cpuSettings(cgroup: CgroupDirectories, resources: CgroupResources): Setting[] {
  const { cpuShares, cpuQuota, cpuPeriod } = resources;
  if (isSet(cpuShares)) checkLimit("cpuShares", cpuShares, 1);
  if (isSet(cpuQuota)) checkLimit("cpuQuota", cpuQuota, LEAST_QUOTA_US);
  if (isSet(cpuPeriod)) checkLimit("cpuPeriod", cpuPeriod, 1000);
  if (!isSet(cpuShares) && !isSet(cpuQuota) && !isSet(cpuPeriod)) return [];
  const directory = directoryFor(cgroup, "cpu", isSet(cpuShares) ? "cpuShares" : "cpuQuota");
  return cgroup.version === "v1" ? v1(directory, resources) : v2(directory, resources);
}

function v1(directory: string, { cpuShares, cpuQuota, cpuPeriod }: CgroupResources): Setting[] {
  const settings: Setting[] = [];
  if (isSet(cpuShares)) settings.push({ file: `${directory}/cpu.shares`, value: `${cpuShares}` });
  const quotaFile = `${directory}/cpu.cfs_quota_us`;
  if (isSet(cpuPeriod)) {
    const formerQuota = tryRead(quotaFile);
    // The kernel checks quota against period at each write: with no quota in force any period will do.
    if (formerQuota !== "-1") settings.push({ file: quotaFile, value: "-1" });
    settings.push({ file: `${directory}/cpu.cfs_period_us`, value: `${cpuPeriod}` });
    if (!isSet(cpuQuota) && formerQuota !== undefined && formerQuota !== "-1") {
      settings.push({ file: quotaFile, value: formerQuota });
    }
  }
  if (isSet(cpuQuota)) settings.push({ file: quotaFile, value: `${cpuQuota}` });
  return settings;
}

function v2(directory: string, { cpuShares, cpuQuota, cpuPeriod }: CgroupResources): Setting[] {
  const settings: Setting[] = [];
  if (isSet(cpuShares)) {
    settings.push({ file: `${directory}/cpu.weight`, value: `${weightOfShares(cpuShares)}` });
  }
  if (isSet(cpuQuota) || isSet(cpuPeriod)) {
    const file = `${directory}/cpu.max`;
    const [formerQuota = "max", formerPeriod = `${DEFAULT_PERIOD_US}`] = (tryRead(file) ?? "").split(" ");
    const quota = isSet(cpuQuota) ? limitText(cpuQuota) : formerQuota || "max";
    settings.push({ file, value: `${quota} ${isSet(cpuPeriod) ? cpuPeriod : formerPeriod}` });
  }
  return settings;
}

/**
 * cpu.weight for v1 shares: a curve through 2 to 1, 1024 to 100 and 262144 to 10000, so that the usual
 * value of one stays the usual value of the other (the formula of the OCI runtimes since 2025).
 */
export function weightOfShares(shares: number): number {
  if (shares <= LEAST_SHARES) return 1;
  if (shares >= MOST_SHARES) return 10_000;
  const doublings = Math.log2(shares);
  const exponent = (doublings * doublings + 125 * doublings) / 612 - 7 / 34;
  return Math.ceil(10 ** exponent);
}

/** The inverse: of the shares that have this weight the most. */
export function sharesOfWeight(weight: number): number {
  const exponent = Math.log10(weight) + 7 / 34;
  const doublings = (Math.sqrt(125 * 125 + 4 * 612 * exponent) - 125) / 2;
  return Math.min(MOST_SHARES, Math.max(LEAST_SHARES, Math.floor(2 ** doublings + ROUNDING)));
}

function limitText(limit: number): string {
  return limit === -1 ? "max" : `${limit}`;
}
