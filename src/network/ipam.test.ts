// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ResourceExhaustedError } from "../errors.ts";
import { macOf, nextAddress } from "./ipam.ts";
import { contains, parseSubnet } from "./subnet.ts";

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
    const subnets = fc
      .constantFrom("10.1.2.0/29", "10.1.2.248/30", "192.168.7.0/27", "fd00:1::/126", "fd00:1::fff0/124")
      .map(parseSubnet);
    fc.assert(
      fc.property(subnets, fc.array(fc.nat({ max: 99 }), { maxLength: 300 }), (subnet, choices) => {
        const held: string[] = [];
        const highest = subnet.family === 4 ? 1n : 0n;
        const size = Number(subnet.last - subnet.network - 1n - highest);
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

  test("an IPv6 network has no broadcast address, and far more addresses than are ever counted", () => {
    const tiny = parseSubnet("fd00:1::/126");
    expect(nextAddress(tiny, new Set(), "fd00:1::2")).toBe("fd00:1::3");
    expect(nextAddress(tiny, new Set(), "fd00:1::3")).toBe("fd00:1::2");
    expect(() => nextAddress(tiny, new Set(["fd00:1::2", "fd00:1::3"]), undefined)).toThrow(
      /no free address in fd00:1::\/126: all 2 are leased.*network\.subnet/,
    );
    const large = parseSubnet("fd00:2::/64");
    expect(nextAddress(large, new Set(["fd00:2::2", "fd00:2::4"]), "fd00:2::3")).toBe("fd00:2::5");
    expect(nextAddress(large, new Set(), "fd00:2::ffff:ffff:ffff:ffff")).toBe("fd00:2::2");
  });
});

test("hardware addresses follow from the address, unicast and locally administered", () => {
  expect(macOf("10.85.0.17")).toBe("02:70:0a:55:00:11");
  // Of an IPv6 address all bytes count: networks that number their pods alike do not share them.
  expect(macOf("fd00:1::2")).toBe("02:70:fd:00:00:03");
  expect(macOf("fd00:2::2")).toBe("02:70:fd:00:00:00");
});
