// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { InvalidArgumentError } from "../errors.ts";
import { addressBytes, contains, overlaps, parseSubnet, parseSubnets } from "./subnet.ts";

describe("parseSubnet", () => {
  test("gives the first address to the bridge", () => {
    expect(parseSubnet("10.85.0.0/16")).toMatchObject({ gateway: "10.85.0.1", prefixLength: 16 });
    expect(parseSubnet("192.168.255.252/30").gateway).toBe("192.168.255.253");
  });

  test("reads either family", () => {
    expect(parseSubnet("fd00:85::/64")).toMatchObject({
      family: 6,
      prefixLength: 64,
      gateway: "fd00:85::1",
      network: 0xfd00_0085n << 96n,
    });
    expect(parseSubnet("2001:db8:0:1::/112").gateway).toBe("2001:db8:0:1::1");
    expect(parseSubnet("10.85.0.0/16")).toMatchObject({ family: 4, last: 0x0a55_ffffn });
  });

  test("takes one of each family at most, in the order given", () => {
    const families = (...texts: string[]) => parseSubnets(texts).map(({ family }) => family);
    expect(families("fd00::/64", "10.0.0.0/16")).toEqual([6, 4]);
    expect(families("10.0.0.0/16", "fd00::/64")).toEqual([4, 6]);
    expect(() => families("fd00::/64", "fd01::/64")).toThrow(
      "network.subnet: fd01::/64 is the second of IPv6",
    );
    expect(() => families("10.0.0.0/16", "10.1.0.0/16")).toThrow("10.1.0.0/16 is the second of IPv4");
  });

  test.each([
    ["10.85.0.0", "no subnet as in"],
    ["10.85.0.0/33", "no subnet as in"],
    ["300.1.1.0/24", "no subnet as in"],
    ["10.0.0.0/7", "from /8 to /30"],
    ["10.0.0.0/31", "from /8 to /30"],
    ["224.1.0.0/16", "multicast"],
    ["127.0.0.0/16", "loopback"],
    ["169.254.0.0/16", "linkLocal"],
    ["10.85.1.1/16", "its subnet is 10.85.0.0/16"],
    ["fd00::", "no subnet as in"],
    ["fd00::/129", "no subnet as in"],
    ["fe80::%eth0/64", "no subnet as in"],
    ["fd00::/127", "from /16 to /126"],
    ["fc00::/7", "from /16 to /126"],
    ["fd00::1/64", "its subnet is fd00::/64"],
    ["fe80::/64", "linkLocal"],
    ["ff02::/64", "multicast"],
    ["::1/128", "loopback"],
    ["::ffff:10.0.0.0/112", "ipv4Mapped"],
    ["64:ff9b::/96", "rfc6052"],
  ])("refuses %s by the name of the key", (text, reason) => {
    expect(() => parseSubnet(text)).toThrow(InvalidArgumentError);
    expect(() => parseSubnet(text)).toThrow(/^network\.subnet: /);
    expect(() => parseSubnet(text)).toThrow(reason);
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

test("networks of IPv6 overlap by their common bits", () => {
  const subnet = parseSubnet("fd00:85::/64");
  const cases: [string, number, boolean][] = [
    ["fd00:85::5", 128, true],
    ["fd00:85:0:1::", 64, false],
    ["fd00:85::", 48, true],
    ["fc00::", 7, true],
    ["2000::", 3, false],
  ];
  for (const [network, prefixLength, expected] of cases) {
    expect(overlaps(subnet, addressBytes(network), prefixLength)).toBe(expected);
  }
});

test("an address belongs to a subnet of its own family only", () => {
  expect(contains(parseSubnet("fd00:85::/64"), "fd00:85::2")).toBe(true);
  expect(contains(parseSubnet("fd00:85::/64"), "fd00:86::2")).toBe(false);
  expect(contains(parseSubnet("fd00:85::/64"), "10.85.0.2")).toBe(false);
  expect(contains(parseSubnet("10.85.0.0/16"), "fd00:85::2")).toBe(false);
});
