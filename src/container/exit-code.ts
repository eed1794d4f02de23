// SPDX-License-Identifier: Apache-2.0

/** The exit code that a shell would show: 128 plus the signal for a killed process (wait(2)). */
export function exitCodeOf(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}
