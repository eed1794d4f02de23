// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../errors.ts";
import { CMSGHDR_BYTES, MSG_CMSG_CLOEXEC } from "../linux/abi/socket.ts";
import type { Fd } from "../linux/fd.ts";
import { isErrno } from "../linux/syscall.ts";
import { sendFd, setSendBuffer, unixStreamPair } from "../linux/unix-socket.ts";
import { messageWith } from "./message.ts";
import { passedFd } from "./monitor.ts";
import type { Operand, Program, Table } from "./program.ts";

/** The child that a descriptor is for: its program, and the table it runs. */
export interface Recipient {
  readonly program: Program;
  readonly table: Table;
}

/** The descriptors that go with one launch, and the numbers under which the monitor will have them. */
export interface PassedFds extends Disposable {
  /** Takes over `fd`, which is closed with the collection; answers it, for a program that may pass it. */
  own(fd: Fd): Fd;
  /** Takes over `fd` and passes it; answers its number in the monitor. */
  add(fd: Fd): number;
  /**
   * Takes over `fd` and passes it to a child; answers what the child has it as from this step on. A request
   * carries some ninety descriptors: when most of that is used, the others wait in a socket that goes along,
   * from which the child receives each by a step of its own.
   */
  give(fd: Fd, recipient: Recipient): Operand;
  readonly fds: readonly Fd[];
}

/** What `add` leaves to the request itself; the rest of its room is for what is added later. */
const GIVEN_DIRECTLY = 64;
/** Room for the messages of some thousand descriptors, each of which counts as the kernel's 768 bytes. */
const SEND_BUFFER_BYTES = 4 * 1024 * 1024;

export function newPassedFds(): PassedFds {
  const fds: Fd[] = [];
  const owned: Fd[] = [];
  let parcel: { readonly near: Fd; readonly far: number } | undefined;
  const add = (fd: Fd) => {
    fds.push(fd);
    return passedFd(fds.length - 1);
  };
  const openParcel = () => {
    const [near, far] = unixStreamPair();
    owned.push(near);
    const number = add(far);
    setSendBuffer(near.number, SEND_BUFFER_BYTES);
    return { near, far: number };
  };
  return {
    fds,
    own(fd) {
      owned.push(fd);
      return fd;
    },
    add,
    give(fd, recipient) {
      if (fds.length < GIVEN_DIRECTLY) return add(fd);
      using sent = fd;
      parcel ??= openParcel();
      enclose(parcel.near, sent);
      return receive(recipient, parcel.far);
    },
    [Symbol.dispose]() {
      for (const fd of [...owned, ...fds]) fd.close();
    },
  };
}

function enclose(socket: Fd, fd: Fd): void {
  try {
    sendFd(socket.number, fd.number);
  } catch (error) {
    if (!isErrno(error, "EAGAIN", "ETOOMANYREFS")) throw error;
    throw new ResourceExhaustedError(`a launch needs too many descriptors (${error.code}): use fewer mounts`);
  }
}

/** Appends recvmsg(2) of one byte and one descriptor, which lands in the control message that is given for it. */
function receive({ program, table }: Recipient, socket: number): Operand {
  // The kernel writes four bytes of the last eight: with zeroes after them they are a whole word.
  const control = program.data(new Uint8Array(CMSGHDR_BYTES + 8));
  table.step("receive a descriptor", "recvmsg", [socket, messageWith(control, program), MSG_CMSG_CLOEXEC]);
  return { block: program.part(control, CMSGHDR_BYTES), cell: true };
}
