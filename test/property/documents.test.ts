// SPDX-License-Identifier: Apache-2.0
import { expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { stringify } from "smol-toml";
import { parseConfig } from "../../src/config.ts";
import { InvalidArgumentError, PodrtError } from "../../src/errors.ts";
import { isDigest } from "../../src/oci/digest.ts";
import { parseImageSpec } from "../../src/oci/image-spec.ts";
import { hostPlatform, parseManifest, selectManifest } from "../../src/oci/manifest.ts";
import { formatReference, parseReference } from "../../src/oci/reference.ts";
import { fuzz, fuzzTimeoutMs, mutatedBytes, mutatedJson } from "../support/fuzz.ts";

setDefaultTimeout(fuzzTimeoutMs);

const digest = `sha256:${"ab".repeat(32)}`;
const OCI = "application/vnd.oci.image";
const layer = {
  mediaType: `${OCI}.layer.v1.tar+gzip`,
  digest,
  size: 5,
  annotations: { a: "b" },
  urls: ["http://x/"],
};
const manifest = {
  schemaVersion: 2,
  mediaType: `${OCI}.manifest.v1+json`,
  config: { mediaType: `${OCI}.config.v1+json`, digest, size: 7 },
  layers: [layer, layer],
  annotations: { title: "x" },
};
const index = {
  schemaVersion: 2,
  mediaType: `${OCI}.index.v1+json`,
  manifests: [
    { mediaType: manifest.mediaType, digest, size: 9, platform: { os: "linux", architecture: "amd64" } },
    {
      mediaType: manifest.mediaType,
      digest,
      size: 9,
      platform: { os: "linux", architecture: "arm64", variant: "v8" },
    },
  ],
};
const image = {
  architecture: "amd64",
  os: "linux",
  config: {
    User: "1000:1000",
    Env: ["PATH=/bin", "A=b"],
    Entrypoint: ["/bin/sh"],
    Cmd: ["-c", "true"],
    WorkingDir: "/srv",
    StopSignal: "SIGTERM",
    Volumes: { "/data": {} },
    ExposedPorts: { "80/tcp": {} },
    Labels: { a: "b" },
  },
  rootfs: { type: "layers", diff_ids: [digest, digest] },
  history: [{ created_by: "x" }],
};
const configuration = {
  network: { bridge: "podrt0", subnet: "10.85.0.0/16", mtu: 1500, masquerade: true },
  registries: { "docker.io": { mirrors: ["http://127.0.0.1:5000"], plain_http: false } },
  image: {
    max_concurrent_downloads: 3,
    stall_timeout_ms: 30_000,
    pinned: ["a.example/x:*"],
    sandbox_image: "a/b:1",
  },
  pods: { restart_backoff_ms: 10, restart_backoff_max_ms: 20 },
  streaming: { address: "127.0.0.1", port: 0 },
  cdi: { spec_dirs: ["/etc/cdi"] },
  checkpoint: { criu: "/usr/sbin/criu" },
  cgroup: { parent: "/podrt" },
};

/** A document's bytes: its text with values changed, or with bytes changed, or any bytes at all. */
function bytesLike(document: object): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    { weight: 5, arbitrary: mutatedJson(document).map((json) => Buffer.from(JSON.stringify(json) ?? "")) },
    { weight: 3, arbitrary: mutatedBytes(Buffer.from(JSON.stringify(document))) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  );
}

/** What `read` makes of it; undefined where that is refused, in one line for a person. */
function readOrRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(PodrtError);
    const { message, kind } = error as PodrtError;
    expect(kind).not.toBe("Internal");
    expect(message).toMatch(/^[^\p{C}]{5,1500}$/u);
    return undefined;
  }
}

test("manifests and indexes are read as what they are, or refused", () => {
  let taken = 0;
  fc.assert(
    fc.property(
      fc.oneof(bytesLike(manifest), bytesLike(index)),
      fc.constantFrom(undefined, manifest.mediaType, index.mediaType, "text/html", ""),
      (bytes, type) => {
        const document = readOrRefused(() => parseManifest(bytes, type));
        if (document === undefined) return;
        taken++;
        const parts = document.kind === "index" ? document.manifests : [document.config, ...document.layers];
        for (const part of parts) {
          expect(isDigest(part.digest)).toBe(true);
          expect(Number.isSafeInteger(part.size) && part.size >= 0).toBe(true);
        }
        if (document.kind === "index") readOrRefused(() => selectManifest(document, hostPlatform("x86_64")));
      },
    ),
    fuzz(400),
  );
  expect(taken).toBeGreaterThan(30);
});

test("image configurations are read with every field in its bounds, or refused", () => {
  let taken = 0;
  fc.assert(
    fc.property(bytesLike(image), (bytes) => {
      const spec = readOrRefused(() => parseImageSpec(bytes));
      if (spec === undefined) return;
      taken++;
      const { config, rootfs } = spec;
      for (const text of [...(config?.Env ?? []), ...(config?.Cmd ?? []), ...(config?.Entrypoint ?? [])])
        expect(text).not.toContain("\0");
      for (const line of [config?.User, config?.WorkingDir, ...Object.keys(config?.Volumes ?? {})])
        expect(line ?? "").not.toMatch(/\p{Cc}/u);
      expect((rootfs.diff_ids ?? []).every(isDigest)).toBe(true);
    }),
    fuzz(400),
  );
  expect(taken).toBeGreaterThan(30);
});

const referenceText = fc.oneof(
  mutatedBytes(Buffer.from(`registry.example:5000/team/app:v1@${digest}`)).map((bytes) =>
    bytes.toString("latin1"),
  ),
  mutatedBytes(Buffer.from("nginx:1.27")).map((bytes) => bytes.toString("latin1")),
  fc
    .array(
      fc.constantFrom(
        "a",
        "B",
        ".",
        "..",
        "/",
        ":",
        "@",
        "-",
        "_",
        "[::1]",
        "%2f",
        "\\",
        "localhost",
        "#",
        "?",
      ),
      {
        maxLength: 12,
      },
    )
    .map((parts) => parts.join("")),
  fc.string({ unit: "binary", maxLength: 60 }),
);

test("a reference names one place, the same when written out again, and its address leads nowhere else", () => {
  let taken = 0;
  fc.assert(
    fc.property(referenceText, (text) => {
      const reference = readOrRefused(() => parseReference(text));
      if (reference === undefined) return;
      taken++;
      const written = formatReference(reference);
      expect(parseReference(written)).toEqual(reference);
      const target = reference.digest ?? reference.tag;
      const url = URL.parse(`https://${reference.host}/v2/${reference.path}/manifests/${target}`);
      // A port may have too many digits for an address; then there is none to be led astray by.
      if (url === null) return;
      expect(url.pathname).toBe(`/v2/${reference.path}/manifests/${target}`);
      expect([url.username, url.search, url.hash]).toEqual(["", "", ""]);
    }),
    fuzz(600),
  );
  expect(taken).toBeGreaterThan(60);
});

test("a configuration file is taken whole or refused by name", () => {
  const text = stringify(configuration);
  const texts = fc.oneof(
    mutatedBytes(Buffer.from(text)).map((bytes) => bytes.toString("utf8")),
    mutatedJson(configuration).map((document) => {
      try {
        return stringify(document as object);
      } catch {
        // What TOML has no form for.
        return text;
      }
    }),
    fc.string({ unit: "binary", maxLength: 100 }),
  );
  let taken = 0;
  fc.assert(
    fc.property(texts, (toml) => {
      try {
        const { network, image } = parseConfig(toml, "0123abcd", "config.toml");
        taken++;
        expect(network.bridge).not.toBe("");
        expect(image.max_concurrent_downloads).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidArgumentError);
        expect((error as Error).message).toMatch(/^config\.toml[^\n]{3,}$/);
      }
    }),
    fuzz(200),
  );
  expect(taken).toBeGreaterThan(20);
});
