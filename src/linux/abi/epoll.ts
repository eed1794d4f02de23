// SPDX-License-Identifier: Apache-2.0
// Constants and structures of include/uapi/linux/eventpoll.h.
import { ARCHITECTURE } from "../architecture.ts";

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLLIN = 1;
export const EPOLL_CLOEXEC = 0o2000000;

/** Size of struct epoll_event: u32 events and u64 data, which x86-64 alone packs. */
export const EPOLL_EVENT_BYTES: number = { x86_64: 12, aarch64: 16 }[ARCHITECTURE];
/** Where its fields are. */
export const EPOLL_EVENT = { events: 0, data: EPOLL_EVENT_BYTES - 8 } as const;
