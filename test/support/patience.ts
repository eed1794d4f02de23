// SPDX-License-Identifier: Apache-2.0

/** By what tests multiply their deadlines: PODRT_TEST_PATIENCE, for machines much slower than most. */
export const patience = Number(process.env["PODRT_TEST_PATIENCE"] ?? "1");
