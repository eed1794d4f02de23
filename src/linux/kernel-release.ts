// SPDX-License-Identifier: Apache-2.0

/** Whether a kernel of this release (`6.18.1-amd64`, as uname(2) gives it) is `wanted` (`6.5`) or later. */
export function isAtLeast(release: string, wanted: string): boolean {
  const [major = 0, minor = 0] = release.split(".").map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split(".").map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
