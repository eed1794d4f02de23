#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch-cni-plugins.sh DIR
#
# Unpacks Debian's containernetworking-plugins below DIR, for tests of pods in networks of plugins: a pinned release
# that speaks version 1.1.0 of the specification, as those of stable Debian do not. It is not installed, and without
# it those tests are skipped: nothing here makes anything fail.

set -u

version=1.9.1+ds1-1
digest=12857dd3136d61e00bffcc2c8823d14df586e94406098326e02846cfa46a058e
architecture=amd64
package=containernetworking-plugins_${version}_$architecture.deb
path=pool/main/g/golang-github-containernetworking-plugins/$package
dir=$1

[ ! -e "$dir/root/usr/lib/cni/bridge" ] || exit 0
without() {
  echo "make: no CNI plugins ($1): pods in their networks will not be tested" >&2
  rm -rf "$dir"
  exit 0
}
command -v dpkg-deb >/dev/null || without 'there is no dpkg-deb to unpack them'
helper=/usr/lib/apt/apt-helper
[ -x "$helper" ] || without 'there is no apt to fetch them'
mkdir -p "$dir"

# The digest is for one architecture, and the archive drops a release when there is a newer one; that of this machine's
# Debian does for most tests.
[ "$(dpkg --print-architecture)" = "$architecture" ] && "$helper" -o APT::Sandbox::User=root -o Acquire::Retries=1 \
  download-file "http://deb.debian.org/debian/$path" "$dir/$package" "SHA256:$digest" >/dev/null 2>&1 || {
  rm -f "$dir/$package"
  (cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root containernetworking-plugins >/dev/null 2>&1) ||
    without 'no archive has them'
}
dpkg-deb -x "$dir"/*.deb "$dir/root" || without 'the package cannot be unpacked'
rm -f "$dir"/*.deb
