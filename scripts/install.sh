#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: DESTDIR=DIR PREFIX=DIR install.sh PROGRAM [WRITER]
#
# Copies the program, its units for systemd, an example of its configuration, completions and man pages below
# DESTDIR/PREFIX. The last two the program writes itself, or, if it is for another machine, WRITER. What is made is
# written down first, in share/podrt/installed, for uninstall.sh; paths there are without DESTDIR, and those of
# directories end in a slash.

set -eu
umask 022

program=$1
writer=${2:-$1}
cd "$(dirname "$0")/.."
dest=${DESTDIR-}
prefix=${PREFIX:-/usr/local}
case $prefix in /*) ;; *) echo "install: PREFIX is $prefix, which is no absolute path" >&2 && exit 2 ;; esac
scratch=$(mktemp -d)
unfinished=
trap 'rm -rf "$scratch" ${unfinished:+"$unfinished"}' EXIT
trap 'exit 130' HUP INT TERM

record_dir=$prefix/share/podrt
record=$dest$record_dir/installed
# Directories that are made before there is a place to write them down.
first=$scratch/first
: >"$first"

write_down() {
  if [ ! -d "$dest$record_dir" ]; then
    echo "$1" >>"$first"
  elif [ ! -e "$record" ] || ! grep -qxF -e "$1" "$record"; then
    echo "$1" >>"$record"
  fi
}

# Those that are there already are somebody else's and stay.
directory() {
  [ ! -d "$dest$1" ] || return 0
  [ "$1" = / ] || directory "$(dirname "$1")"
  write_down "$1/"
  mkdir "$dest$1"
}

# put MODE FILE PATH: replaced at once, also where the program runs.
put() {
  directory "$(dirname "$3")"
  write_down "$3"
  unfinished=$dest$3.new
  install -m "$1" "$2" "$unfinished"
  mv -f "$unfinished" "$dest$3"
  unfinished=
}

mkdir -p "$dest/"
directory "$record_dir"
cat "$first" >>"$record"

put 0755 "$program" "$prefix/bin/podrt"
sed "s|/usr/local/bin|$prefix/bin|" systemd/podrt.service >"$scratch/podrt.service"
put 0644 "$scratch/podrt.service" "$prefix/lib/systemd/system/podrt.service"
put 0644 systemd/podrt.socket "$prefix/lib/systemd/system/podrt.socket"
put 0644 packaging/config.toml "$prefix/share/doc/podrt/examples/config.toml"

# completion SHELL PATH
completion() {
  "$writer" completion "$1" >"$scratch/$1"
  put 0644 "$scratch/$1" "$prefix/share/$2"
}
completion bash bash-completion/completions/podrt
completion zsh zsh/site-functions/_podrt
completion fish fish/vendor_completions.d/podrt.fish

"$writer" man "$scratch/man" >/dev/null
for page in "$scratch"/man/*.1; do
  put 0644 "$page" "$prefix/share/man/man1/${page##*/}"
done
