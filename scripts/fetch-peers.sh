#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch-peers.sh DIR
#
# Unpacks what podrt is measured beside, Debian's containerd and podman with what that needs and what CRI-O is built
# with, below DIR/root. They are not installed, because their packages would start services on this machine. What
# cannot be had is not measured: nothing here makes anything fail.

set -u

dir=$1
packages='containerd podman conmon golang-github-containers-common golang-github-containers-image libsubid4 libgpgme11
  libdevmapper1.02.1 libseccomp-dev'

[ ! -e "$dir/stamp" ] || exit 0
without() {
  echo "make: no peers to measure podrt beside ($1)" >&2
  exit 0
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || without 'there is no apt-get to fetch them'

echo "make: unpacking containerd and podman in $dir"
rm -rf "$dir"
mkdir -p "$dir/root"
apt-cache show containerd >/dev/null 2>&1 || apt-get update -qq </dev/null
download() {
  # shellcheck disable=SC2086 # one word for each package
  (cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root $packages </dev/null)
}
download || {
  apt-get update -qq </dev/null
  download
} || without 'the archive does not have them'
for package in "$dir"/*.deb; do
  dpkg-deb -x "$package" "$dir/root" || without "$package cannot be unpacked"
done
# It names a library that is not there; the static one beside it is linked.
rm -f "$dir"/*.deb "$dir"/root/usr/lib/*/libseccomp.so
touch "$dir/stamp"
