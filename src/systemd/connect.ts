// SPDX-License-Identifier: Apache-2.0
import { BusConnection } from "../dbus/connection.ts";
import { InvalidArgumentError, messageOf, UnavailableError } from "../errors.ts";
import { quoted } from "../lib/foreign-text.ts";

const BUS = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" };
/** Where systemd answers, and what for (org.freedesktop.systemd1(5)). */
export const MANAGER = {
  destination: "org.freedesktop.systemd1",
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.systemd1.Manager",
} as const;
const SYSTEM_BUS = "/run/dbus/system_bus_socket";
/** systemd's own, for root alone: there is no bus in between, so it is there on machines without one. */
const PRIVATE_SOCKET = "/run/systemd/private";

/**
 * A connection on which systemd tells what comes of its jobs: over the bus of DBUS_SYSTEM_BUS_ADDRESS (`address`), else
 * over the system's, else, where systemd is not reached over that, over systemd's own socket. `timeoutMs` is for each of
 * the handful of steps.
 */
export async function connectSystemd(address: string | undefined, timeoutMs: number): Promise<BusConnection> {
  if (address !== undefined) return overBus(busPath(address), timeoutMs);
  try {
    return await overBus(SYSTEM_BUS, timeoutMs);
  } catch (error) {
    return await BusConnection.open(PRIVATE_SOCKET, timeoutMs).catch((second) => {
      throw new UnavailableError(`${messageOf(error)}; ${messageOf(second)}`, { cause: error });
    });
  }
}

async function overBus(path: string, timeoutMs: number): Promise<BusConnection> {
  const bus = await BusConnection.open(path, timeoutMs);
  try {
    const ofBus = { ...BUS, interface: BUS.destination };
    await bus.call({ ...ofBus, member: "Hello" }, timeoutMs);
    const rule = `type='signal',sender='${MANAGER.destination}',interface='${MANAGER.interface}',member='JobRemoved'`;
    await bus.call({ ...ofBus, member: "AddMatch", signature: "s", body: [rule] }, timeoutMs);
    // systemd sends no signals to a bus where nobody has asked it for them.
    await bus.call({ ...MANAGER, member: "Subscribe" }, timeoutMs);
    return bus;
  } catch (error) {
    bus.close();
    throw new UnavailableError(`cannot talk to systemd over ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** The path of the first unix socket that an address lists (D-Bus Specification, "Server Addresses"). */
export function busPath(address: string): string {
  for (const entry of address.split(";")) {
    const path = /^unix:(?:.*,)?path=([^,]+)/.exec(entry)?.[1];
    if (path !== undefined) return decodeURIComponent(path);
  }
  throw new InvalidArgumentError(
    "DBUS_SYSTEM_BUS_ADDRESS",
    `must name a unix socket, as unix:path=${SYSTEM_BUS} does, but is ${quoted(address, 500)}`,
  );
}
