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
if [ -z "$dest" ]; then
  for unit in podrt.service podrt.socket; do
    for link in /etc/systemd/system/*.wants/"$unit"; do
      [ ! -L "$link" ] || {
        echo "uninstall: systemd starts $unit at each boot: first run systemctl disable --now $unit" >&2
        exit 1
      }
    done
  done
fi

# Last what was made first; the record itself stands in one of those directories.
paths=$(sed -n '1!G;h;$p' "$record")
rm "$record"
printf '%s\n' "$paths" | while IFS= read -r path; do
  case $path in
  */) rmdir "$dest$path" 2>/dev/null || [ ! -d "$dest$path" ] || echo "uninstall: $path is not empty and stays" ;;
  *) rm -f "$dest$path" ;;
  esac
done

[ -z "$dest" ] || exit 0
for left in /etc/podrt /var/lib/podrt /run/podrt; do
  [ ! -e "$left" ] || echo "uninstall: $left stays: docs/install.md says how to remove pods, images and settings"
done
