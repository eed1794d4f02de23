// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BusConnection } from "./connection.ts";
import type { Message } from "./message.ts";
import { variant } from "./values.ts";

/** A bus that whoever runs the test may use, with no service on it. */
const configuration = (socket: string) => `<busconfig>
  <type>session</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow own="*"/><allow receive_sender="*"/><allow user="*"/>
  </policy>
</busconfig>`;

const daemon = "/usr/bin/dbus-daemon";
const timeoutMs = 30_000;

// A real bus is Debian's package dbus, which not every machine has.
test.skipIf(!existsSync(daemon))(
  "a real bus lets podrt in, answers its calls, passes signals on and names its errors",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "prt-dbus-"));
    const socket = join(directory, "bus");
    writeFileSync(join(directory, "bus.conf"), configuration(socket));
    const bus = spawn(
      daemon,
      [`--config-file=${join(directory, "bus.conf")}`, "--nofork", "--print-address"],
      {
        stdio: ["ignore", "pipe", "ignore"],
      },
    );
    try {
      await new Promise((resolve) => bus.stdout.once("data", resolve));
      const first = await BusConnection.open(socket, timeoutMs);
      const second = await BusConnection.open(socket, timeoutMs);
      const ofBus = { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" };
      const call = (
        connection: BusConnection,
        member: string,
        signature = "",
        body: readonly never[] | string[] = [],
      ) => connection.call({ ...ofBus, interface: ofBus.destination, member, signature, body }, timeoutMs);
      const signals: Message[] = [];
      first.onSignal((signal) => signals.push(signal));
      const names = [(await call(first, "Hello")).body[0], (await call(second, "Hello")).body[0]];
      expect((await call(first, "ListNames")).body).toEqual([expect.arrayContaining(names as string[])]);
      expect(await call(first, "GetNameOwner", "s", ["org.freedesktop.DBus"])).toEqual({
        body: ["org.freedesktop.DBus"],
        sender: "org.freedesktop.DBus",
      });
      // A dictionary of variants, as systemd's properties come.
      const { body } = await call(first, "GetConnectionCredentials", "s", [names[1] as string]);
      expect(body[0]).toContainEqual(["ProcessID", variant("u", process.pid)]);
      await expect(call(first, "GetNameOwner", "s", ["org.example.Nobody"])).rejects.toMatchObject({
        errorName: "org.freedesktop.DBus.Error.NameHasNoOwner",
        message: expect.stringContaining("org.example.Nobody"),
      });
      await call(first, "AddMatch", "s", ["type='signal',member='NameOwnerChanged'"]);
      second.close();
      // The bus tells of it before it answers what is asked later.
      while (!signals.some(({ body: [name] }) => name === names[1])) await call(first, "GetId");
      expect(signals.find(({ body: [name] }) => name === names[1])).toMatchObject({
        member: "NameOwnerChanged",
        sender: "org.freedesktop.DBus",
        body: [names[1], names[1], ""],
      });
      const ended = new Promise<Error>((resolve) => first.onEnd(resolve));
      bus.kill("SIGKILL");
      expect((await ended).message).toContain("closed from the other side");
      await expect(call(first, "GetId")).rejects.toThrow("closed from the other side");
    } finally {
      bus.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    }
  },
  60_000,
);
