#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch-criu.sh DIR
#
# Sees that there is a criu that works with this kernel: the installed one, or Debian's newest with the libraries it
# was built for, unpacked in DIR with a script DIR/criu that starts it. Stable releases of Debian have a criu that is
# older than many a kernel. Without one, tests of checkpoints are skipped: nothing here makes anything fail.

set -u

dir=$1

works() {
  "$1" check >/dev/null 2>&1
}

if works criu || works "$dir/criu"; then exit 0; fi
without() {
  echo "make: no criu for this kernel ($1): checkpoints will not be tested" >&2
  rm -rf "$dir"
  exit 0
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || without 'there is no apt-get to fetch one'

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || without 'there is no keyring of Debian to check one with'
echo "make: unpacking criu in $dir"
rm -rf "$dir"
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/root"
cd "$dir" || exit 1
dir=$PWD
: >apt/status
echo "deb [signed-by=$keyring] http://deb.debian.org/debian sid main" >apt/sources.list

# An apt beside the machine's own, which knows of no installed package and changes nothing.
apt() {
  program=$1
  shift
  "$program" -qq -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State="$dir/apt" -o Dir::State::lists="$dir/apt/lists" -o Dir::State::status="$dir/apt/status" \
    -o Dir::Cache="$dir/apt/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@" </dev/null
}
apt apt-get update || without 'deb.debian.org does not answer'
names=$(apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
  --no-enhances criu | grep -E '^(criu|lib[a-z0-9.+-]*)$')
# shellcheck disable=SC2086 # one word for each package
(cd apt && apt apt-get download $names) || without 'its packages cannot be fetched'
for package in apt/*.deb; do
  dpkg-deb -x "$package" root || without "$package cannot be unpacked"
done
rm -rf apt

cat >criu <<'END'
#!/bin/sh
libraries=$(dirname "$(readlink -f "$0")")/root/usr/lib/$(uname -m)-linux-gnu
exec "$libraries"/ld-linux-*.so.[12] --library-path "$libraries" "$libraries/../../sbin/criu" "$@"
END
chmod 0755 criu
works "$dir/criu" || without "$("$dir/criu" check 2>&1 | tail -n 1)"
