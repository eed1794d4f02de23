#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: require.sh COMMAND:PACKAGE...
#
# Sees that the commands are there. Where apt-get is, and root, installs the packages of those that are missing;
# elsewhere says in one line what to install.

set -eu

missing=
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "make: needed to build and test: install the packages$missing" >&2
  exit 1
fi
echo "make: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # one word for each package
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 </dev/null || {
  apt-get update -qq </dev/null
  apt-get install -y -qq --no-install-recommends $missing >/dev/null </dev/null
}
