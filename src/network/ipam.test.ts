// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { InvalidArgumentError, ResourceExhaustedError } from "../errors.ts";
import { addressBytes, contains, macOf, nextAddress, overlaps, parseSubnet } from "./ipam.ts";

describe("parseSubnet", () => {
  test("gives the first address to the bridge", () => {
    expect(parseSubnet("10.85.0.0/16")).toMatchObject({ gateway: "10.85.0.1", prefixLength: 16 });
    expect(parseSubnet("192.168.255.252/30").gateway).toBe("192.168.255.253");
  });

  test.each([
    ["10.85.0.0", "no IPv4 subnet"],
    ["10.85.0.0/33", "no IPv4 subnet"],
    ["300.1.1.0/24", "no IPv4 subnet"],
    ["fd00::/64", "no IPv4 subnet"],
    ["10.0.0.0/7", "from /8 to /30"],
    ["10.0.0.0/31", "from /8 to /30"],
    ["224.1.0.0/16", "multicast"],
    ["127.0.0.0/16", "loopback"],
    ["169.254.0.0/16", "linkLocal"],
    ["10.85.1.1/16", "its subnet is 10.85.0.0/16"],
  ])("refuses %s by the name of the key", (text, reason) => {
    expect(() => parseSubnet(text)).toThrow(InvalidArgumentError);
    expect(() => parseSubnet(text)).toThrow(/^network\.subnet: /);
    expect(() => parseSubnet(text)).toThrow(reason);
  });
});

describe("nextAddress", () => {
  const small = parseSubnet("10.1.2.0/29");

  test("goes round, so that a freed address rests longest", () => {
    expect(nextAddress(small, new Set(), undefined)).toBe("10.1.2.2");
    expect(nextAddress(small, new Set(), "10.1.2.2")).toBe("10.1.2.3");
    expect(nextAddress(small, new Set(), "10.1.2.6")).toBe("10.1.2.2");
    expect(nextAddress(small, new Set(["10.1.2.2", "10.1.2.3"]), "10.1.2.6")).toBe("10.1.2.4");
  });

  test("starts anew after a last address of another subnet", () => {
    expect(nextAddress(small, new Set(), "10.9.9.9")).toBe("10.1.2.2");
    expect(nextAddress(small, new Set(), "10.1.2.0")).toBe("10.1.2.6");
  });

  test("says what is exhausted and what to set", () => {
    const all = new Set(["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
    expect(() => nextAddress(small, all, "10.1.2.4")).toThrow(ResourceExhaustedError);
    expect(() => nextAddress(small, all, "10.1.2.4")).toThrow(/all 5 are leased.*network\.subnet/);
  });

  test("over any course of leases and returns, no address is handed out twice and none is lost", () => {
    const subnets = fc.constantFrom("10.1.2.0/29", "10.1.2.248/30", "192.168.7.0/27").map(parseSubnet);
    fc.assert(
      fc.property(subnets, fc.array(fc.nat({ max: 99 }), { maxLength: 300 }), (subnet, choices) => {
        const held: string[] = [];
        const size = subnet.broadcast - subnet.network - 2;
        let last: string | undefined;
        for (const choice of choices) {
          if (choice < 50 && held.length > 0) {
            held.splice(choice % held.length, 1);
          } else if (held.length === size) {
            expect(() => nextAddress(subnet, new Set(held), last)).toThrow(ResourceExhaustedError);
          } else {
            last = nextAddress(subnet, new Set(held), last);
            expect(held).not.toContain(last);
            expect(contains(subnet, last)).toBe(true);
            expect(last).not.toBe(subnet.gateway);
            held.push(last);
          }
        }
      }),
    );
  });

  test("an address that was given back comes again only after all other free ones", () => {
    const subnet = parseSubnet("10.1.2.0/27");
    const given = [nextAddress(subnet, new Set(), undefined)];
    for (let turn = 1; turn < 29; turn++) given.push(nextAddress(subnet, new Set(), given.at(-1)));
    expect(new Set(given).size).toBe(29);
    expect(nextAddress(subnet, new Set(), given.at(-1))).toBe(given[0] as string);
  });
});

describe("overlaps", () => {
  const subnet = parseSubnet("10.85.0.0/16");
  test.each([
    ["10.85.3.0", 24, true],
    ["10.85.255.255", 32, true],
    ["10.0.0.0", 8, true],
    ["10.84.0.0", 15, true],
    ["10.86.0.0", 16, false],
    ["10.84.255.255", 32, false],
    ["192.168.0.0", 16, false],
    ["200.0.0.0", 8, false],
  ])("%s/%i: %p", (network, prefixLength, expected) => {
    expect(overlaps(subnet, addressBytes(network), prefixLength)).toBe(expected);
  });
});

test("hardware addresses follow from the address, unicast and locally administered", () => {
  expect(macOf("10.85.0.17")).toBe("02:70:0a:55:00:11");
});
