#!/bin/sh
# Packs the program for machines without Swift: out/dinoctl-VERSION-linux-ARCH.tar.gz with the program, completions for bash, zsh and fish, the licence, and the Debian packages that it needs there.
# Swift's libraries are linked in. The system's (image codecs, zlib, protobuf-c) are not: security updates stay the system's. It is built beside the ordinary release build, which stays as it is.
set -eu
built=.build/dist
scripts/quietly.sh dist "build with Swift's libraries linked in" \
  swift build -c release --product dinoctl --static-swift-stdlib --scratch-path "$built"
program=$(swift build -c release --static-swift-stdlib --scratch-path "$built" --show-bin-path)/dinoctl
version=$("$program" --version)
name=dinoctl-$version-linux-$(uname -m)
rm -rf "out/$name"
mkdir -p "out/$name"
strip -o "out/$name/dinoctl" "$program"
cp LICENSE "out/$name"
scripts/completions.sh "out/$name/completions" "$program" >/dev/null
{
  echo "dinoctl runs where these Debian packages are installed:"
  # Of the libraries that it names itself; those bring what they need.
  for library in $(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'); do
    found=$(ldd "$program" | awk -v library="$library" '$1 == library { print $3 }')
    [ -n "$found" ] || continue
    # By its last folder and its name: /lib and /usr/lib are one, and the package has either.
    dpkg-query -S "*/$(basename "$(dirname "$found")")/$library" | head -n 1 | cut -d: -f1
  done | sort -u | tr '\n' ' ' | sed 's/ $//'
  echo
} >"out/$name/NEEDS"
tar -C out -czf "out/$name.tar.gz" "$name"
rm -rf "out/$name"
echo "out/$name.tar.gz: $(($(wc -c <"out/$name.tar.gz") / 1000000)) MB"
