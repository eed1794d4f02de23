// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "./abi/errno.ts";
import {
  AF_UNIX,
  SO_ACCEPTCONN,
  SO_TYPE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./abi/socket.ts";
import { Fd } from "./fd.ts";
import { watchInput } from "./input-signal.ts";
import { syscall, trySyscall } from "./syscall.ts";

/*
 * A listening socket that somebody else has made and passed on: Bun listens at addresses only, so what it would do is
 * done here.
 */

/** After what goes by, such as no descriptor being left, it is tried again. */
const RETRY_MS = 100;

/** The path that a listening unix stream socket is bound to; undefined for a descriptor that is none. */
export function listeningPath(fd: number): string | undefined {
  if (optionOf(fd, SO_TYPE) !== SOCK_STREAM || optionOf(fd, SO_ACCEPTCONN) !== 1) return undefined;
  const address = new Uint8Array(128);
  const length = new Int32Array([address.length]);
  syscall("getsockname", fd, address, new Uint8Array(length.buffer));
  if (new DataView(address.buffer).getUint16(0, true) !== AF_UNIX) return undefined;
  return Buffer.from(address.subarray(2, length[0])).toString().replace(/\0+$/, "");
}

function optionOf(fd: number, option: number): number | undefined {
  const value = new Int32Array(1);
  const length = new Uint8Array(new Int32Array([value.byteLength]).buffer);
  const result = trySyscall("getsockopt", fd, SOL_SOCKET, option, new Uint8Array(value.buffer), length);
  return result < 0 ? undefined : value[0];
}

/**
 * Takes `socket` over and calls `onConnection` with each connection, which is the callee's. Disposing ends that and
 * closes this end of the socket; whoever passed it on still has it.
 */
export function acceptConnections(socket: Fd, onConnection: (connection: Fd) => void): Disposable {
  const { number } = socket;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const acceptAll = () => {
    if (!socket.isOpen) return;
    for (;;) {
      const accepted = trySyscall("accept4", number, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (accepted >= 0) onConnection(new Fd(accepted));
      else if (accepted === -ERRNO.EAGAIN) return;
      else if (accepted !== -ERRNO.ECONNABORTED && accepted !== -ERRNO.EINTR) {
        retry ??= setTimeout(() => {
          retry = undefined;
          acceptAll();
        }, RETRY_MS);
        return;
      }
    }
  };
  const watch = watchInput(socket, acceptAll);
  return {
    [Symbol.dispose]() {
      clearTimeout(retry);
      watch[Symbol.dispose]();
      socket.close();
    },
  };
}
