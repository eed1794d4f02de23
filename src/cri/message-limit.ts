// SPDX-License-Identifier: Apache-2.0

/** Clients of the interface accept and send at most this much in one message. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
