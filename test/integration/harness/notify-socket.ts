// SPDX-License-Identifier: Apache-2.0
import { rmSync } from "node:fs";
import { trySyscall } from "../../../src/linux/syscall.ts";
import { bindUnix, unixDatagramSocket } from "../../../src/linux/unix-socket.ts";

const MSG_DONTWAIT = 0x40;

const READ_EVERY_MS = 20;

/** The end of NOTIFY_SOCKET that a service manager has: what it was told so far. */
export interface NotifySocket extends Disposable {
  messages(): readonly string[];
}

/**
 * Opens it at `path`. It is read all the time: the kernel keeps ten datagrams that nobody reads and refuses the
 * next (net.unix.max_dgram_qlen, unix(7)).
 */
export function openNotifySocket(path: string): NotifySocket {
  const socket = unixDatagramSocket();
  bindUnix(socket.number, path);
  const heard: string[] = [];
  const buffer = Buffer.alloc(4096);
  const read = () => {
    for (;;) {
      const length = trySyscall("recvfrom", socket.number, buffer, buffer.length, MSG_DONTWAIT, null, null);
      if (length < 0) return;
      heard.push(buffer.subarray(0, length).toString());
    }
  };
  const timer = setInterval(read, READ_EVERY_MS);
  return {
    messages() {
      read();
      return heard;
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      socket.close();
      rmSync(path, { force: true });
    },
  };
}
