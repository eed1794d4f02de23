// SPDX-License-Identifier: Apache-2.0
// Constants and structures of include/linux/socket.h, include/uapi/linux/{un,in,in6}.h, socket(7), ip(7) and ipv6(7) (x86-64 layout).

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const SOL_SOCKET = 1;
export const SOL_IP = 0;
export const SOL_IPV6 = 41;
export const IP_FREEBIND = 15;
export const IPV6_V6ONLY = 26;
export const IPV6_FREEBIND = 78;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_ACCEPTCONN = 30;
export const SO_SNDBUFFORCE = 32;
export const SCM_RIGHTS = 1;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

/** struct sockaddr_un; the path with its NUL fits in 108 bytes or the kernel could not name it. */
export function unixAddress(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > 107) throw new RangeError(`socket path ${path} is longer than 107 bytes`);
  const address = new Uint8Array(2 + bytes.length + 1);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}

/** struct sockaddr_un of the abstract name that is written `@name` (unix(7)): a NUL in front, and none behind. */
export function abstractAddress(name: string): Uint8Array {
  return unixAddress(name.replace(/^@/, "\0")).subarray(0, -1);
}

/** struct sockaddr_in, `address` being four bytes; port and address are in network byte order. */
export function socketAddress4(address: ArrayLike<number>, port: number): Uint8Array {
  const result = new Uint8Array(16);
  const view = new DataView(result.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port, false);
  result.set(address, 4);
  return result;
}

/** struct sockaddr_in6: family, port, flow label, sixteen bytes of address, scope. */
export function socketAddress6(address: ArrayLike<number>, port: number): Uint8Array {
  const result = new Uint8Array(28);
  const view = new DataView(result.buffer);
  view.setUint16(0, AF_INET6, true);
  view.setUint16(2, port, false);
  result.set(address, 8);
  return result;
}

/** Size of struct msghdr. */
export const MSGHDR_BYTES = 56;
/** Offset and size of the header of a control message; the descriptors follow it. */
export const CMSGHDR_BYTES = 16;

/** A control message that passes descriptors: struct cmsghdr with SCM_RIGHTS, see unix(7). */
export function rightsMessage(fds: readonly number[]): Uint8Array {
  const length = CMSGHDR_BYTES + fds.length * 4;
  const message = new Uint8Array((length + 7) & ~7);
  const view = new DataView(message.buffer);
  view.setBigUint64(0, BigInt(length), true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  fds.forEach((fd, index) => {
    view.setInt32(CMSGHDR_BYTES + index * 4, fd, true);
  });
  return message;
}
