#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch-runsc.sh DIR
#
# Unpacks Debian's runsc (gVisor) below DIR, unless one is installed, for the tests of an OCI runtime whose containers
# are no processes of the host's. It is not installed, and without it those tests are skipped: nothing here makes
# anything fail.

set -u

dir=$1
[ ! -e /usr/bin/runsc ] && [ ! -e "$dir/root/usr/bin/runsc" ] || exit 0
without() {
  echo "make: no runsc ($1): pods in gVisor will not be tested" >&2
  rm -rf "$dir"
  exit 0
}
command -v dpkg-deb >/dev/null && command -v apt-get >/dev/null || without 'there is no apt to fetch it'
mkdir -p "$dir"
(cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root runsc >/dev/null 2>&1) || without 'no archive has it'
dpkg-deb -x "$dir"/*.deb "$dir/root" || without 'the package cannot be unpacked'
rm -f "$dir"/*.deb
