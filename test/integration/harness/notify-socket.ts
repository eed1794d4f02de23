// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { trySyscall } from "../../../src/linux/syscall.ts";
import { bindUnix, unixDatagramSocket } from "../../../src/linux/unix-socket.ts";

const MSG_DONTWAIT = 0x40;

/** The end of NOTIFY_SOCKET that a service manager has: what it was told so far. */
export interface NotifySocket extends Disposable {
  messages(): readonly string[];
}

export function openNotifySocket(path: string): NotifySocket {
  const socket = unixDatagramSocket();
  bindUnix(socket.number, path);
  const heard: string[] = [];
  return {
    messages() {
      const buffer = Buffer.alloc(4096);
      for (;;) {
        const length = trySyscall("recvfrom", socket.number, buffer, buffer.length, MSG_DONTWAIT, null, null);
        if (length < 0) return heard;
        heard.push(buffer.subarray(0, length).toString());
      }
    },
    [Symbol.dispose]() {
      socket.close();
      rmSync(path, { force: true });
    },
  };
}
