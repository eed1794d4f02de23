#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: build-busybox.sh DIR [CROSS PREFIX]
#
# Builds DIR/busybox, static and with busybox's own default configuration, from the distribution's source package; with
# CROSS, a directory with a system that compiles for another machine, by the tools there whose names begin with PREFIX.
# The packaged one lacks applets that the validation suite calls, and its shell runs applets inside itself, so that
# a masked /bin/ls would still run.

set -eu

dir=$(mkdir -p "$1" && cd "$1" && pwd)
cross=${2:+$(cd "$2" && pwd)}
prefix=${3-}
[ ! -x "$dir/busybox" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "make: needed for the images of the suite: put a static busybox with ipcs and pgrep at $dir/busybox" >&2
  exit 1
fi

scratch=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# Lists of source packages of our own: the machine's configuration of apt seldom has them, and stays as it is.
echo "make: building busybox"
mkdir -p lists/partial
[ -n "$(find /var/lib/apt/lists -name '*Packages*' 2>/dev/null | head -n 1)" ] || apt-get update -qq </dev/null
apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' \
  'Created-By: Packages' 'Component: main' 'Origin: Debian' | sort -u >sources.list
apt() {
  apt-get -qq -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$scratch/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o APT::Sandbox::User=root "$@" </dev/null
}
apt update
apt source --download-only busybox
tar -xf busybox_*.orig.tar.*
cd busybox-*/

export KCONFIG_NOTIMESTAMP=1 SOURCE_DATE_EPOCH=0
build() { make "$@"; }
if [ -n "$cross" ]; then
  place=$(mktemp -d "$cross/busybox.XXXXXX")
  trap 'rm -rf "$scratch" "$place"' EXIT
  cp -R . "$place"
  cd "$place"
  mkdir -p "$cross/dev" "$cross/tmp"
  [ -e "$cross/dev/null" ] || mknod "$cross/dev/null" c 1 3
  build() { PATH=/usr/sbin:/usr/bin chroot "$cross" make -C "/${place##*/}" CROSS_COMPILE="$prefix" "$@"; }
fi
# usage: logged TARGET... : shows what make says only when it fails.
logged() {
  build "$@" >"$scratch/log" 2>&1 </dev/null || {
    tail -n 20 "$scratch/log" >&2
    exit 1
  }
}
logged defconfig
# tc does not compile with the headers of later kernels.
sed -i 's/^# CONFIG_STATIC is not set/CONFIG_STATIC=y/; s/^CONFIG_TC=y/# CONFIG_TC is not set/' .config
yes '' 2>/dev/null | build oldconfig >/dev/null 2>&1
logged -j"$(getconf _NPROCESSORS_ONLN)" busybox
mv busybox "$dir/busybox"
