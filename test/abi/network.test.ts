// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ifLink from "../../src/linux/abi/if-link.ts";
import * as netlink from "../../src/linux/abi/netlink.ts";
import * as nfTables from "../../src/linux/abi/nf-tables.ts";
import * as conntrack from "../../src/linux/abi/nfnetlink-conntrack.ts";
import * as rtnetlink from "../../src/linux/abi/rtnetlink.ts";
import * as sched from "../../src/linux/abi/sched.ts";

const HEADERS = [
  ...["sys/socket.h", "linux/netlink.h", "linux/rtnetlink.h", "linux/if.h", "linux/if_link.h"],
  ...["linux/if_addr.h", "linux/if_ether.h", "linux/veth.h", "linux/ip.h", "linux/netfilter.h"],
  ...["linux/netfilter_ipv4.h", "linux/netfilter/nfnetlink.h", "linux/netfilter/nf_tables.h"],
  ...["linux/netfilter/nf_conntrack_common.h", "linux/netfilter/nfnetlink_conntrack.h", "linux/sched.h"],
];

/** Constants of podrt's own naming, by what C calls them; those that no header has are left out. */
const SPELLED_IN_C: Record<string, string | undefined> = {
  NFGENMSG_BYTES: "sizeof(struct nfgenmsg)",
  RTMSG_BYTES: "sizeof(struct rtmsg)",
  IFADDRMSG_BYTES: "sizeof(struct ifaddrmsg)",
  IFINFOMSG_BYTES: "sizeof(struct ifinfomsg)",
  NLA_TYPE_MASK: "(unsigned short)NLA_TYPE_MASK",
  LOOPBACK_INDEX: undefined,
  CTA_FILTER_F_CTA_IP_SRC: undefined,
};

test.skipIf(Bun.which("cc") === null)(
  "the constants of the network are those of the system's headers",
  () => {
    const ours = Object.entries({ ...ifLink, ...netlink, ...conntrack, ...nfTables, ...rtnetlink, ...sched })
      .map(([name, value]) => ({ name, value, spelling: name in SPELLED_IN_C ? SPELLED_IN_C[name] : name }))
      .filter(({ spelling }) => spelling !== undefined);
    const directory = mkdtempSync(join(tmpdir(), "podrt-abi-"));
    try {
      const lines = ours.map(({ name, spelling }) => `printf("${name} %lld\\n", (long long)(${spelling}));`);
      const includes = ["stdio.h", ...HEADERS].map((header) => `#include <${header}>`);
      writeFileSync(join(directory, "abi.c"), [...includes, "int main(void) {", ...lines, "}"].join("\n"));
      const compiler = Bun.spawnSync(["cc", "-o", "abi", "abi.c"], { cwd: directory });
      expect(compiler.stderr.toString()).toBe("");
      const theirs = Bun.spawnSync([join(directory, "abi")])
        .stdout.toString()
        .trim()
        .split("\n");
      expect(ours.map(({ name, value }) => `${name} ${value}`)).toEqual(theirs);
      expect(theirs.length).toBeGreaterThan(150);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);
