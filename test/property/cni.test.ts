// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { type NetworkConf, parseList, parseSingle } from "../../src/cni/conf.ts";
import { addressesOf, parseError, parseResult, parseVersions } from "../../src/cni/result.ts";
import { PodrtError } from "../../src/errors.ts";

// What plugins print and vendors leave on the machine: whatever it is, it is read, or refused in a sentence.

const options = { seed: 20_261_123, numRuns: Number(process.env["PODRT_FUZZ_RUNS"] ?? 1000) };
const SENTENCE_LIMIT = 2000;

/** The answer, or the words of a refusal; anything else that is thrown is a defect. */
function answerOf<T>(work: () => T): { readonly value: T } | { readonly refusal: string } {
  try {
    return { value: work() };
  } catch (error) {
    if (!(error instanceof PodrtError)) throw error;
    expect(error.message.length).toBeLessThan(SENTENCE_LIMIT);
    return { refusal: error.message };
  }
}

/** A document in which a few bytes are others, gone or doubled. */
function damaged(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const change = fc.tuple(
    fc.nat(),
    fc.constantFrom("", "{", "[", '"', "null", "-1", "\0", "1e999", ",", "é"),
    fc.nat(20),
  );
  return fc.tuple(text, fc.array(change, { minLength: 1, maxLength: 4 })).map(([whole, changes]) =>
    changes.reduce((before, [position, inserted, removed]) => {
      const at = position % (before.length + 1);
      return before.slice(0, at) + inserted + before.slice(at + removed);
    }, whole),
  );
}

const ipv4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
const ipv6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }));
const cidr = fc.oneof(ipv4, ipv6).map(([address, length]) => `${address}/${length}`);
const interfaces = fc.uniqueArray(fc.constantFrom("eth0", "veth1", "br0", "lo", "net1"), { minLength: 1 });
const validResult = interfaces.chain((names) =>
  fc.record({
    cniVersion: fc.constant("1.0.0"),
    interfaces: fc.constant(names.map((name) => ({ name, mac: "02:00:00:00:00:01", sandbox: "/x" }))),
    ips: fc.array(
      fc.record(
        { address: cidr, interface: fc.nat({ max: names.length - 1 }) },
        { requiredKeys: ["address"] },
      ),
      { maxLength: 8 },
    ),
    routes: fc.array(fc.record({ dst: cidr })),
    dns: fc.record({ nameservers: fc.array(fc.ipV4()) }),
  }),
);
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.json({ maxDepth: 4 }),
  damaged(validResult.map((result) => JSON.stringify(result))),
);

test("any output is a result, an error, versions, or a refusal", () => {
  fc.assert(
    fc.property(text, (output) => {
      const result = answerOf(() => parseResult(output));
      if ("value" in result) {
        const addresses = answerOf(() => addressesOf(result.value, "eth0"));
        if ("value" in addresses) {
          for (const address of addresses.value) expect(address).toMatch(/^[0-9a-f.:]+$/);
        }
      }
      answerOf(() => parseVersions(output));
      parseError(output);
    }),
    options,
  );
});

test("of a result, the addresses of the pod's interface are found, in their order, and no others", () => {
  fc.assert(
    fc.property(validResult, (result) => {
      const wanted = result.ips.filter(
        (ip) => ip.interface === undefined || result.interfaces[ip.interface]?.name === "eth0",
      );
      const found = addressesOf(parseResult(JSON.stringify(result)), "eth0");
      expect(found).toHaveLength(wanted.length);
      const sameFamily = found.every(
        (address, index) => address.includes(":") === wanted[index]!.address.includes(":"),
      );
      expect(sameFamily).toBe(true);
    }),
    options,
  );
});

const listed = {
  cniVersion: "1.0.0",
  cniVersions: ["0.4.0", "1.1.0"],
  name: "net.1",
  disableCheck: "false",
  plugins: [
    { type: "bridge", capabilities: { portMappings: true }, ipam: { type: "host-local" } },
    { type: "portmap" },
  ],
};
const single = { cniVersion: "0.3.1", name: "one", type: "ptp", ipam: { type: "static" } };
const hostileName = fc.constantFrom("../sh", "/bin/sh", "a/b", "", ".", "..", "a\0b", "...", "bridge");

test("whatever a configuration says, its plugins are names of executables in the directories for them", () => {
  const hostile = fc
    .tuple(hostileName, hostileName)
    .map(([type, ipam]) => JSON.stringify({ ...listed, plugins: [{ type, ipam: { type: ipam } }] }));
  const configuration = fc.oneof(
    text,
    hostile,
    damaged(fc.constantFrom(listed, single).map((conf) => JSON.stringify(conf))),
  );
  fc.assert(
    fc.property(configuration, (content) => {
      const readers: (() => NetworkConf)[] = [() => parseList(content, () => []), () => parseSingle(content)];
      for (const read of readers) {
        const conf = answerOf(read);
        if (!("value" in conf)) continue;
        expect(conf.value.plugins.length).toBeGreaterThan(0);
        for (const { type, ipam } of conf.value.plugins) {
          expect(join("/opt/cni/bin", type)).toBe(`/opt/cni/bin/${type}`);
          const delegate = (ipam as { type?: string } | undefined)?.type ?? "host-local";
          expect(delegate === "" || join("/opt/cni/bin", delegate) === `/opt/cni/bin/${delegate}`).toBe(true);
        }
      }
    }),
    options,
  );
});
