// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/linux/keyctl.h.

export const KEYCTL_JOIN_SESSION_KEYRING = 1;
