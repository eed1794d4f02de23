#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: DESTDIR=DIR PREFIX=DIR uninstall.sh
#
# Removes what install.sh wrote down that it made, files and directories; one into which somebody has put something
# else stays. Pods, images and configuration are not touched: what is left of them is said.

set -eu

dest=${DESTDIR-}
prefix=${PREFIX:-/usr/local}
record=$dest$prefix/share/podrt/installed

if [ ! -e "$record" ]; then
  echo "uninstall: there is no $record: give the DESTDIR and PREFIX that it was installed with" >&2
  exit 1
fi
starts() {
  for link in /etc/systemd/system/*.wants/"$1"; do
    [ ! -L "$link" ] || return 0
  done
  [ -d /run/systemd/system ] && systemctl is-active --quiet "$1"
}
if [ -z "$dest" ]; then
  for unit in podrt.service podrt.socket; do
    starts "$unit" || continue
    echo "uninstall: systemd runs $unit: first systemctl disable --now podrt.socket podrt.service" >&2
    exit 1
  done
fi

# Last what was made first. The record goes just before its own directory: what was broken off can be done again.
paths=$(sed -n '1!G;h;$p' "$record")
printf '%s\n' "$paths" | while IFS= read -r path; do
  [ "$path" != "$prefix/share/podrt/" ] || rm -f "$record"
  case $path in
  */) rmdir "$dest$path" 2>/dev/null || [ ! -d "$dest$path" ] || echo "uninstall: $path is not empty and stays" ;;
  *) rm -f "$dest$path" ;;
  esac
done
rm -f "$record"

[ -z "$dest" ] || exit 0
for left in /etc/podrt /var/lib/podrt /run/podrt; do
  [ ! -e "$left" ] || echo "uninstall: $left stays: docs/install.md says how to remove pods, images and settings"
done
