#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Process 1 of the virtual machine. The kernel hands it what its command line says as environment: PROJECT, where the
# project's disk is mounted, and OUTPUT, the second serial port, which gets what this prints. Results go to the third
# disk.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 NO_COLOR=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd

stty -F "$OUTPUT" raw -echo
exec </dev/null >"$OUTPUT" 2>&1

for module in virtio_blk overlay bridge br_netfilter veth nf_tables nft_nat nft_masq nft_chain_nat nft_ct nft_fib_inet \
  nf_conntrack nf_nat nf_conntrack_netlink fuse loop dummy; do
  modprobe -q "$module" || echo "vm: the kernel has no module $module"
done
ip link set lo up
hostname podrt-vm
ulimit -n 65536

mkdir -p "$PROJECT"
mount /dev/vda "$PROJECT"
cd "$PROJECT" || exit 1
echo "vm: Linux $(uname -rm), $(nproc) processors, controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
echo "vm: security modules: $(cat /sys/kernel/security/lsm); pressure: $(ls /proc/pressure | tr '\n' ' ')"

# Or systemd is process 1 from here on, and runs the job as a service.
[ "$INIT" != systemd ] || exec bash test/vm/systemd.sh
exec bash test/vm/job.sh
