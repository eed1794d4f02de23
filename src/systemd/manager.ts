// SPDX-License-Identifier: Apache-2.0
import { type BusConnection, type Call, RemoteError, type Reply } from "../dbus/connection.ts";
import { type Value, variant } from "../dbus/values.ts";
import { DeadlineExceededError, FailedPreconditionError, messageOf, UnavailableError } from "../errors.ts";
import { withDeadline } from "../lib/deadline.ts";
import { connectSystemd, MANAGER } from "./connect.ts";
import { watchHealth } from "./health.ts";
import { watchJobs } from "./job-watch.ts";

/*
 * What podrt asks of systemd, over D-Bus (org.freedesktop.systemd1(5)). Units are changed by jobs: a call answers with
 * the job, and a signal tells later what came of it.
 */

/** How long is waited for what, in milliseconds. */
const DEADLINES = {
  /** For a login, and for each call that makes a connection useful. */
  connect: 5_000,
  call: 15_000,
  job: 30_000,
  /** For a sign of life of one that has just not answered, before it is asked for more. */
  suspect: 2_000,
  /** Whether it answers is asked again when the last answer is older; a kubelet wants to know every five seconds. */
  fresh: 4_000,
};

export interface ScopeRequest {
  readonly name: string;
  readonly slice: string;
  readonly description: string;
  /** The process that the scope begins with. */
  readonly pid: number;
}

/** The system's service manager. Nothing is connected before something is asked; a connection that ends is made anew. */
export interface Systemd {
  /**
   * Makes a scope whose cgroup is the caller's to divide, in a slice that systemd makes when it is not there, and puts
   * the process into it. UnavailableError when systemd cannot be reached or does not answer, FailedPreconditionError
   * when it will not.
   */
  startScope(request: ScopeRequest): Promise<void>;
  /** Ends a unit with the processes that are left in it; one that systemd does not know is fine. */
  stopUnit(name: string): Promise<void>;
  /** Why it makes no scopes, as last heard; undefined when it answers. */
  problem(): Promise<string | undefined>;
  close(): void;
}

/** `address` as in DBUS_SYSTEM_BUS_ADDRESS; see `connectSystemd`. */
export function openSystemd(address: string | undefined, deadlines = DEADLINES): Systemd {
  let connecting: Promise<BusConnection> | undefined;

  const connection = async (): Promise<BusConnection> => {
    const current = connecting;
    const isOver = current !== undefined && !(await current).isOpen;
    // Somebody else may have noticed first.
    if (isOver && connecting === current) connecting = undefined;
    connecting ??= connectSystemd(address, deadlines.connect).catch((error) => {
      connecting = undefined;
      health.heard(messageOf(error));
      throw error;
    });
    return connecting;
  };

  const call = async (bus: BusConnection, request: Call, timeoutMs: number): Promise<Reply> => {
    try {
      const reply = await bus.call(request, timeoutMs);
      health.heard(undefined);
      return reply;
    } catch (error) {
      const failure = error instanceof RemoteError ? asAbsence(error) : error;
      health.heard(failure instanceof RemoteError ? undefined : messageOf(failure));
      throw failure;
    }
  };

  /** Resolves when systemd answers, else UnavailableError with the reason. */
  const ping = async (timeoutMs: number): Promise<void> => {
    const request = { ...MANAGER, interface: "org.freedesktop.DBus.Peer", member: "Ping" };
    const answer = connection().then((bus) => call(bus, request, timeoutMs));
    await orUnavailable(withDeadline(answer, timeoutMs, "asking systemd whether it is there"));
  };

  const health = watchHealth(ping, deadlines.fresh);

  /** Has a job done, and waits for its end. */
  const runJob = async (unit: string, member: string, signature: string, body: readonly Value[]) => {
    if (health.last !== undefined) await ping(deadlines.suspect);
    const bus = await connection();
    using jobs = watchJobs(bus, unit);
    const { sender, body: answer } = await call(bus, { ...MANAGER, member, signature, body }, deadlines.call);
    const result = jobs.resultOf(String(answer[0]), sender);
    const how = await orUnavailable(withDeadline(result, deadlines.job, `systemd's job for ${unit}`));
    if (how !== "done") throw new FailedPreconditionError(`systemd's job for ${unit} ended as "${how}"`);
  };

  return {
    problem: () => health.problem(),
    async startScope({ name, slice, description, pid }) {
      const properties: Value = [
        ["Description", variant("s", description)],
        ["Slice", variant("s", slice)],
        ["PIDs", variant("au", [pid])],
        // What is below its cgroup is podrt's own: systemd leaves it alone, and hands all controllers down to it.
        ["Delegate", variant("b", true)],
        // The number of processes is for the slice or for each container to limit.
        ["TasksMax", variant("t", 2n ** 64n - 1n)],
        // As of containers of other runtimes: pods are ended by the kubelet, not by each shutdown.target.
        ["DefaultDependencies", variant("b", false)],
        // A scope that ends as failed is forgotten too.
        ["CollectMode", variant("s", "inactive-or-failed")],
      ];
      await runJob(name, "StartTransientUnit", "ssa(sv)a(sa(sv))", [name, "fail", properties, []]);
    },
    async stopUnit(name) {
      try {
        await runJob(name, "StopUnit", "ss", [name, "replace"]);
      } catch (error) {
        if (!(error instanceof RemoteError) || error.errorName !== `${MANAGER.destination}.NoSuchUnit`)
          throw error;
      }
    },
    close() {
      connecting?.then(
        (opened) => opened.close(),
        () => {},
      );
      connecting = undefined;
    },
  };
}

/** What takes too long is a systemd that does not answer, and nothing that the caller had asked for. */
async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof DeadlineExceededError)) throw error;
    throw new UnavailableError(`systemd does not answer: ${error.message}`, { cause: error });
  }
}

/** Without systemd a bus answers by itself. */
function asAbsence(error: RemoteError): Error {
  const isAbsent =
    /^org\.freedesktop\.DBus\.Error\.(NoReply|ServiceUnknown|NameHasNoOwner|Disconnected|Timeout)$/.test(
      error.errorName,
    );
  return isAbsent
    ? new UnavailableError(`systemd does not answer: ${error.message}`, { cause: error })
    : error;
}
