#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch-packages.sh DIR
#
# Sees that docker-registry, nginx and a static busybox are there: installed, or unpacked below DIR/root. They are
# not installed, because the packages of the first two would start services on this machine. Where there is apt-get,
# the same for what tests compare with, libseccomp and the C headers of the machines that this one is not, and for the
# C library that podrt for another machine asks for when it is called under an emulator.

set -eu

dir=$1
mkdir -p "$dir/root"

present() {
  [ -e "$1" ] || [ -e "$dir/root$1" ]
}

packages=
present /usr/bin/docker-registry || packages="$packages docker-registry"
present /bin/busybox || packages="$packages busybox-static"
present /usr/sbin/nginx || packages="$packages nginx"
oracle=
present "/usr/lib/$(uname -m)-linux-gnu/libseccomp.so.2" || oracle=libseccomp2
present /usr/aarch64-linux-gnu/include/asm/unistd.h || oracle="$oracle linux-libc-dev-arm64-cross"
present /usr/aarch64-linux-gnu/include/fcntl.h || oracle="$oracle libc6-dev-arm64-cross"
present /usr/aarch64-linux-gnu/lib/libc.so.6 || oracle="$oracle libc6-arm64-cross"
present /usr/arm-linux-gnueabihf/include/asm/unistd.h || oracle="$oracle linux-libc-dev-armhf-cross"
command -v apt-get >/dev/null || oracle=
[ -n "$packages$oracle" ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
  echo "make: needed to make test images: install docker-registry, busybox-static and nginx (looked for:$packages)" >&2
  exit 1
fi

packages="$packages${oracle:+ $oracle}"

# nginx's libraries come with it; where no package list is known yet, one is fetched first.
names() {
  echo "$packages"
  case "$packages" in *nginx*) apt-cache depends nginx | sed -n 's/^  Depends: \(\(lib\|zlib\)[^ ]*\)$/\1/p' ;; esac
}
apt-cache show docker-registry >/dev/null 2>&1 || apt-get update -qq </dev/null

echo "make: unpacking$packages in $dir"
cd "$dir"
# Downloading as root spares a warning about a directory that apt's own user may not enter. A list of packages that
# is too old names files that are gone.
download() {
  # shellcheck disable=SC2046 # one word for each package
  apt-get download -qq -o APT::Sandbox::User=root $(names) </dev/null
}
download || {
  apt-get update -qq </dev/null
  download
}
for package in ./*.deb; do
  dpkg-deb -x "$package" root
done
rm -f ./*.deb
