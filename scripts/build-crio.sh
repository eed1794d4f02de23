#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: build-crio.sh PEERS DIR
#
# Builds CRI-O and its pinns, from the Go module in test/cri-o, in DIR, unless they are newer than the module. It needs
# Go, a compiler of C and what fetch-peers.sh unpacks in PEERS; without them podrt is not measured beside it: nothing
# here makes anything fail.

set -u

module=$(cd "$(dirname "$0")/../test/cri-o" && pwd)
peers=$(cd "$1" && pwd)/root/usr
dir=$(mkdir -p "$2" && cd "$2" && pwd)
libraries=$peers/lib/x86_64-linux-gnu

without() {
  echo "make: no CRI-O to measure podrt beside ($1)"
  rm -f "$dir/crio" "$dir/pinns"
  exit 0
}
if [ -e "$dir/crio" ] && [ -e "$dir/pinns" ] && [ -z "$(find "$module/go.mod" -newer "$dir/crio")" ]; then
  exit 0
fi
command -v go >/dev/null || without 'go is not here'
command -v gcc >/dev/null || without 'gcc is not here'
command -v pkg-config >/dev/null || without 'pkg-config is not here'
[ -e "$peers/include/seccomp.h" ] || without 'the headers of libseccomp are not here'

echo 'make: building crio'
cd "$module" || exit 1
export CGO_ENABLED=1 CGO_CFLAGS="-I$peers/include" CGO_LDFLAGS="-L$libraries -l:libseccomp.a"
export PKG_CONFIG_PATH="$libraries/pkgconfig"
tags='containers_image_openpgp exclude_graphdriver_btrfs btrfs_noversion seccomp'
go build -trimpath -tags "$tags" -o "$dir/crio" github.com/cri-o/cri-o/cmd/crio || without 'it could not be built'
sources=$(go list -m -f '{{.Dir}}' github.com/cri-o/cri-o)
gcc -O2 -o "$dir/pinns" "$sources"/pinns/src/*.c || without 'pinns could not be built'
