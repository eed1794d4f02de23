// SPDX-License-Identifier: Apache-2.0

/** Measuring what containers have written takes long where that is much; each is given half a minute. */
export const MEASURE_TIMEOUT_MS = 300_000;
