#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: build-binary.sh FILE [x86_64|aarch64]
#
# Compiles podrt to FILE, for this machine or the one that is named. One commit gives the same bytes wherever it is
# built: no path of this machine goes into the file, and its date is the commit's, or SOURCE_DATE_EPOCH. Started
# anywhere, it reads neither .env nor bunfig.toml of the directory it is in, which could name code to run.

set -eu

case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
architecture=${2:-$(uname -m)}
cd "$(dirname "$0")/.."

commit=
time=${SOURCE_DATE_EPOCH-}
# Not of a repository around this directory.
if [ -e .git ]; then
  commit=$(git describe --always --abbrev=40 --dirty --exclude '*') || commit=
  time=${time:-$(git log -1 --format=%ct)} || time=
fi
build="{\"commit\":${commit:+\"}${commit:-null}${commit:+\"},\"time\":${time:-null}}"

# For another machine its own Bun is put in front, and not one that the compiler would download by itself.
set --
if [ "$architecture" != "$(uname -m)" ]; then
  front=$(node_modules/.bin/bun scripts/fetch-bun.ts "$architecture")
  case $architecture in x86_64) target=bun-linux-x64 ;; aarch64) target=bun-linux-arm64 ;; esac
  set -- "--target=$target" "--compile-executable-path=$front"
fi

mkdir -p "$(dirname "$out")"
node_modules/.bin/bun build "$@" --compile --bytecode --splitting --format=esm \
  --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
  --define "PODRT_BUILD=$build" --define '__dirname="/podrt"' \
  src/main.ts src/image/unpack-worker.ts src/snapshot/tree-worker.ts src/checkpoint/archive-worker.ts \
  src/copy/copy-worker.ts --outfile "$out"
