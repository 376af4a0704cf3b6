#!/bin/sh
# Checks what the build needs and installs the system packages that are missing. Says nothing when all is there.
# It never installs Swift itself, and touches nothing but apt packages.
set -eu

# Oldest Swift that Package.swift can be read by.
need_major=6 need_minor=2
# What CImageCodecs, CZlib, CProtobufC and CHnsw include and link: image codecs, zlib, protobuf-c, hnswlib. For the tests: libonnx, whose checker sees what we export, and openmpi-bin, which starts several processes of one training.
packages="libpng-dev libjpeg-dev libwebp-dev libtiff-dev zlib1g-dev libprotobuf-c-dev libhnswlib-dev libonnx-dev libprotobuf-dev openmpi-bin"

fail() { echo "setup: $*" >&2; exit 1; }

command -v swift >/dev/null 2>&1 ||
  fail "Swift is not installed or not on PATH; install Swift $need_major.$need_minor or newer from https://www.swift.org/install/linux"
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p' | head -n 1)
[ -n "$version" ] || fail "'swift --version' does not say a version; reinstall Swift from https://www.swift.org/install/linux"
major=${version%%.*} minor=${version#*.}
if [ "$major" -lt "$need_major" ] || { [ "$major" -eq "$need_major" ] && [ "$minor" -lt "$need_minor" ]; }; then
  fail "Swift $version is too old; this needs $need_major.$need_minor or newer: https://www.swift.org/install/linux"
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "setup: not a Debian system; make sure that libpng, libjpeg-turbo, libwebp, libtiff, zlib, protobuf-c, hnswlib, libonnx (with headers) and pkg-config are installed" >&2
  exit 0
fi

missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
done
command -v pkg-config >/dev/null 2>&1 || missing="$missing pkg-config"
[ -n "$missing" ] || exit 0

by_hand="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -eq 0 ]; then
  root=""
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  root="sudo"
  by_hand="sudo sh -c '$by_hand'"
else
  echo "setup: missing system packages:$missing" >&2
  echo "setup: not root, and sudo cannot be used here. Run this as root, then try again:" >&2
  echo "  $by_hand" >&2
  exit 1
fi

mkdir -p out/log
log=out/log/setup.log
echo "setup: installing$missing"
if ! { $root apt-get update && DEBIAN_FRONTEND=noninteractive $root apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "setup: installing failed (log: $log). The command was:" >&2
  echo "  $by_hand" >&2
  exit 1
fi
