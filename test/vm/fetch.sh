#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch.sh DIR ARCH   exits with 3 where there is nothing to make one from: no Debian, no root, no mirror
#
# Makes in DIR, from packages of the distribution, what a virtual machine of the architecture ARCH (x86_64 or aarch64)
# needs: qemu/ (the emulator with all of its libraries), vmlinuz and root.img (a small system with the kernel's
# modules); where ARCH is not this machine's, also cross/ (compilers for ARCH, with all that they need). Nothing is
# installed here; apt works with lists, a cache and a status of its own.

set -eu

case $2 in
x86_64) architecture=amd64 emulator=qemu-system-x86 compiler=gcc-x86-64-linux-gnu ;;
aarch64) architecture=arm64 emulator=qemu-system-arm compiler=gcc-aarch64-linux-gnu ;;
*)
  echo "make: ARCH=$2: there is a virtual machine of x86_64 and one of aarch64" >&2
  exit 1
  ;;
esac
# What builds programs for a machine that is not this one's kind, in a system of its own: cross/.
tools="$compiler libc6-dev-$architecture-cross gcc libc6-dev make
  bash coreutils dash diffutils findutils grep mawk sed bzip2"
# podrt needs Linux 6.5: a stable release with an older one has a later one among its backports.
kernel=linux-image-cloud-$architecture
# netbase: names of protocols; iptables: a network plugin runs it; util-linux: nsenter, unshare; binutils: tests
# assemble programs; e2fsprogs: lsattr. The third line is what test images are made from, the fourth are the runtimes
# that podrt hands containers to, the fifth is the other process 1.
system='bash coreutils dash diffutils findutils grep hostname libc-bin sed tar
  apparmor binutils e2fsprogs iproute2 iptables kmod mount netbase nftables passwd procps util-linux
  busybox-static docker-registry libseccomp2 nginx
  crun runc
  systemd dbus'

dir=$(mkdir -p "$1" && cd "$1" && pwd)
init=$(cd "$(dirname "$0")" && pwd)/init.sh
wanted=$(cat "$0" "$init" | cksum)
if [ -e "$dir/stamp" ] && [ "$(cat "$dir/stamp")" = "$wanted" ]; then
  exit 0
fi

# usage: give_up WHAT
give_up() {
  echo "make: needed to make a virtual machine: $1" >&2
  exit 3
}
for command in apt-get dpkg-deb; do
  command -v "$command" >/dev/null || give_up "$command, since it is made from Debian's packages"
done
[ "$(id -u)" = 0 ] || give_up root
"$(dirname "$0")/../../scripts/require.sh" mke2fs:e2fsprogs

rm -rf "$dir/stamp" "$dir/qemu" "$dir/root" "$dir/kernel" "$dir/cross"
scratch=$(mktemp -d "$dir/apt.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# The mirrors of this machine, and beside them the backports of its release.
mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
[ -n "$(find /var/lib/apt/lists -name '*Packages*' 2>/dev/null | head -n 1)" ] ||
  apt-get update -qq </dev/null ||
  give_up "a mirror of Debian that answers"
sources() {
  apt-get indextargets --format "deb $1" 'Created-By: Packages' 'Component: main' 'Origin: Debian' | sort -u
}
sources '$(REPO_URI) $(RELEASE) $(COMPONENT)' >"$scratch/sources.list"
[ -s "$scratch/sources.list" ] || give_up "a Debian, whose packages it is made from"
sources '$(REPO_URI) $(CODENAME)-backports main' | grep -v -e security -e updates-backports >>"$scratch/sources.list"
backports=$(sed -n 's/.* \([a-z]*-backports\) main$/\1/p' "$scratch/sources.list" | head -n 1)

# As on a machine with no package at all: the emulator's are this machine's, those of the small system are the guest's.
own=$(dpkg --print-architecture)
: >"$scratch/status"
# usage: apt ARCHITECTURE ARGUMENT...
apt() {
  set -- -o APT::Architecture="$@" -o APT::Architectures="$own,$architecture"
  apt-get -qq -y -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$scratch/lists" -o Dir::State::status="$scratch/status" \
    -o Dir::State::extended_states="$scratch/extended_states" \
    -o Dir::Cache::archives="$scratch/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o APT::Sandbox::User=root -o APT::Install-Recommends=false "$@" </dev/null
}

# usage: unpack DIR ARCHITECTURE PACKAGE... : these packages and all that they depend on.
unpack() {
  target=$1 of=$2
  shift 2
  mkdir -p "$target/usr/bin" "$target/usr/sbin" "$target/usr/lib" "$target/usr/lib64"
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$target/$name"; done
  rm -f "$scratch"/archives/*.deb
  apt "$of" install --download-only -o Debug::NoLocking=true "$@" >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    exit 1
  }
  for package in "$scratch"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$target"
  done
}

echo "make: downloading an emulator, a kernel and a small system"
apt "$own" -o APT::Update::Error-Mode=any update || give_up "a mirror of Debian that answers"
# Before QEMU 8.1 code that a kernel changes under itself may run half changed: with two processors it panics.
unpack "$dir/qemu" "$own" -t "$backports" "$emulator" kmod
# shellcheck disable=SC2086 # one word for each package
unpack "$dir/root" "$architecture" $system
if [ "$own" != "$architecture" ]; then
  # shellcheck disable=SC2086 # one word for each package
  unpack "$dir/cross" "$own" $tools
  ln -s mawk "$dir/cross/usr/bin/awk"
fi
rm -rf "$dir"/root/usr/share/doc "$dir"/root/usr/share/man "$dir"/root/usr/share/locale "$dir"/root/usr/share/perl*

# Of the kernel's package alone: what it depends on would make an initial RAM disk, which this machine has not.
name=$(apt-cache -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=- \
  -o Dir::State::Lists="$scratch/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
  -o APT::Architecture="$architecture" -o APT::Architectures="$own,$architecture" \
  -t "$backports" depends "$kernel" | sed -n 's/^  Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
mkdir -p "$dir/kernel"
(cd "$scratch" && apt "$architecture" -t "$backports" download "$name")
dpkg-deb -x "$scratch/$name"_*.deb "$dir/kernel"
mv "$dir"/kernel/boot/vmlinuz-* "$dir/vmlinuz"
modules=$(find "$dir/kernel" -path '*/lib/modules' -type d)
# Where programs of this machine can read them.
mv "$modules" "$dir/qemu/usr/lib/modules"
rm -rf "$dir/kernel"
release=$(ls "$dir/qemu/usr/lib/modules")
chroot "$dir/qemu" depmod "$release"
mv "$dir/qemu/usr/lib/modules" "$dir/root/usr/lib/modules"

# What installation scripts would have made.
cd "$dir/root"
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -s xtables-nft-multi "usr/sbin/$name"
done
mkdir -p dev proc sys run tmp root mnt work
chmod 1777 tmp
cp "$init" sbin/podrt-init
# The validation suite loads profiles by way of sudo, which root needs no program for.
printf '#!/bin/sh\nexec "$@"\n' >usr/bin/sudo
chmod 0755 usr/bin/sudo
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n' >etc/passwd
printf 'messagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n' >>etc/passwd
printf 'root:x:0:\nmessagebus:x:100:\nnogroup:x:65534:\n' >etc/group
printf '%032d\n' 1 >etc/machine-id
printf '127.0.0.1 localhost\n::1 localhost\n' >etc/hosts
[ "$own" != "$architecture" ] || chroot . ldconfig
[ -e usr/bin/awk ] || ln -s mawk usr/bin/awk
[ -e usr/bin/sh ] || ln -s dash usr/bin/sh

truncate -s 6G "$dir/root.img.new"
mke2fs -q -t ext4 -O ^has_journal -d "$dir/root" "$dir/root.img.new"
mv "$dir/root.img.new" "$dir/root.img"
rm -rf "$dir/root"
echo "$release" >"$dir/release"
echo "$wanted" >"$dir/stamp"
