// SPDX-License-Identifier: Apache-2.0

/** A door to a registry that counts who fetches which blob. */
export interface CountedRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** How often each blob was asked for, by digest, since this was called last. */
  takeBlobRequests(): ReadonlyMap<string, number>;
}

/** Hands every request on to the registry at `behind`. */
export function openCountedRegistry(behind: string): CountedRegistry {
  let requests = new Map<string, number>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 120,
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      const digest = /\/blobs\/(sha256:[0-9a-f]+)$/.exec(pathname)?.[1];
      if (digest !== undefined && request.method === "GET")
        requests.set(digest, (requests.get(digest) ?? 0) + 1);
      const headers = new Headers(request.headers);
      headers.delete("host");
      const options = { method: request.method, headers, decompress: false };
      return fetch(`http://${behind}${pathname}${search}`, options);
    },
  });
  return {
    host: `127.0.0.1:${server.port}`,
    takeBlobRequests() {
      const taken = requests;
      requests = new Map();
      return taken;
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}
