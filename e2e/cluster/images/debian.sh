# Engine images from Debian packages, for the mirror that this machine's apt uses.
# What they share with the official images: names on PATH, users 999:999, run directories, stop signals. They have no entrypoint.
# shellcheck shell=bash
images=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The mirror's address for a label of its Release files: Debian, Debian-Security.
mirror() { apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Label: $1" | sed 1q; }

# rootfs ROOT SUITE USER PACKAGES [UID GID]: a minimal system with the packages, and USER, as 999:999 unless told otherwise.
# The user is there before the packages, whose scripts then leave it as it is.
rootfs() {
  local root=$1 suite=$2 user=$3 packages=$4 uid=${5:-999} gid=${6:-999} main security settings lines
  [ -n "$(mirror Debian)" ] || apt-get update -q
  main=$(mirror Debian) security=$(mirror Debian-Security)
  [ -n "$main" ] || { echo "apt knows no Debian mirror; the engine images are made from Debian packages" >&2; return 1; }
  # What else apt was told about its mirror: a proxy, or that a frozen mirror's indexes may be old.
  settings=$(apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) ' || :)
  lines=("deb $main $suite main")
  [ "$suite" = sid ] || [ -z "$security" ] || lines+=("deb $security $suite-security main")
  mmdebstrap --mode=root --variant=minbase --skip=output/dev --include="$packages" \
    --aptopt="Acquire::Languages \"none\"; $settings" --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook="echo '$user:x:$gid:' >>\"\$1/etc/group\"" \
    --essential-hook="echo '$user:x:$uid:$gid::/nonexistent:/bin/bash' >>\"\$1/etc/passwd\"" \
    --essential-hook="echo '$user:*:20000:0:99999:7:::' >>\"\$1/etc/shadow\"" \
    --essential-hook='mkdir -p "$1/etc/postgresql-common"' \
    --essential-hook='echo create_main_cluster = false >"$1/etc/postgresql-common/createcluster.conf"' \
    "$suite" "$root" "${lines[@]}"
}

# slim ROOT: en_US.UTF-8 next to the built-in C.UTF-8; then everything out that no server reads.
slim() {
  chroot "$1" localedef -i en_US -f UTF-8 en_US.UTF-8
  rm -rf "$1"/usr/share/{doc,man,info,i18n,locale,lintian,bug,bash-completion} "$1"/tmp/* "$1"/etc/ssl/private/* \
    "$1"/var/{lib/apt/lists,cache,log,tmp}/* "$1"/usr/lib/*/perl/5* "$1"/usr/share/perl/5* "$1"/etc/apt/sources.list
  : >"$1/etc/machine-id"
}

# postgresql_tools ROOT: no LLVM, which is half of the size; JIT stays off silently. PostgreSQL's own tools come before Debian's
# wrappers in Perl.
postgresql_tools() {
  local root=$1 tool
  rm -rf "$root"/usr/lib/llvm* "$root"/usr/lib/*/lib{LLVM,z3}* "$root"/usr/lib/postgresql/17/lib/{llvmjit*,bitcode} "$root"/etc/postgresql
  for tool in "$root"/usr/lib/postgresql/17/bin/*; do
    ln -sf "../lib/postgresql/17/bin/${tool##*/}" "$root/usr/bin/${tool##*/}"
  done
}

# pack ROOT OUT NAME SERIES OPTION…: the archive, tagged with the server's series and exact version, and that version in a file.
# SERIES is a pattern for the part of the version that names a series: "17" of 17.12, "11.8" of 11.8.9.
pack() {
  local root=$1 out=$2 name=$3 series=$4 server=$5 version
  shift 5
  version=$(chroot "$root" "$server" --version | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1)
  python3 "$images/mkimage.py" "$root" "$out/image.tar" \
    "localhost/$name:$(grep -oE "^$series" <<<"$version")" --tag "localhost/$name:$version" "$@"
  echo "$version" >"$out/version"
  rm -rf "$root"
}
