// SPDX-License-Identifier: Apache-2.0

/** What the work of a flight gets: an end when nobody waits any more, and a way to tell all who do. */
export interface FlightContext<Progress> {
  readonly signal: AbortSignal;
  report(progress: Progress): void;
}

export interface Passenger<Progress> {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

interface Flight<Result, Progress> {
  readonly result: Promise<Result>;
  readonly controller: AbortController;
  readonly passengers: Set<Passenger<Progress>>;
}

/**
 * Work shared by all who ask for it under the same key while it runs. One who gives up leaves the
 * others alone; when the last gives up the work is aborted, and that one waits until it has ended.
 */
export class SingleFlight<Result, Progress = never> {
  readonly #flights = new Map<string, Flight<Result, Progress>>();

  async run(
    key: string,
    work: (context: FlightContext<Progress>) => Promise<Result>,
    passenger: Passenger<Progress> = {},
  ): Promise<Result> {
    passenger.signal?.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    // A copy, since one object may be passed by two callers.
    const seat = { ...passenger };
    flight.passengers.add(seat);
    const gaveUp = Promise.withResolvers<never>();
    const onAbort = () => {
      const reason: unknown = passenger.signal?.reason;
      flight.passengers.delete(seat);
      if (flight.passengers.size > 0) return gaveUp.reject(reason);
      this.#forget(key, flight);
      flight.controller.abort(reason);
      const end = () => gaveUp.reject(reason);
      flight.result.then(end, end);
    };
    passenger.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([gaveUp.promise, this.#landing(flight, passenger.signal)]);
    } finally {
      flight.passengers.delete(seat);
      passenger.signal?.removeEventListener("abort", onAbort);
    }
  }

  #start(key: string, work: (context: FlightContext<Progress>) => Promise<Result>) {
    const controller = new AbortController();
    const passengers = new Set<Passenger<Progress>>();
    const report = (progress: Progress) => {
      for (const passenger of passengers) passenger.onProgress?.(progress);
    };
    // Begins once the first passenger is seated, so that none misses the first report.
    const result = Promise.resolve().then(() => {
      controller.signal.throwIfAborted();
      return work({ signal: controller.signal, report });
    });
    const flight: Flight<Result, Progress> = { result, controller, passengers };
    this.#flights.set(key, flight);
    const forget = () => this.#forget(key, flight);
    result.then(forget, forget);
    return flight;
  }

  /** The result, unless the passenger gives up: then `gaveUp` decides what it hears. */
  async #landing(flight: Flight<Result, Progress>, signal: AbortSignal | undefined): Promise<Result> {
    try {
      return await flight.result;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error;
    }
  }

  #forget(key: string, flight: Flight<Result, Progress>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
