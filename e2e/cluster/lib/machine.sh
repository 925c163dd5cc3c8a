# What the machine must have: root, and the programs of a handful of Debian packages.
# shellcheck shell=bash

need_root() {
  [ "$(id -u)" = 0 ] || die "a node needs namespaces, mounts and a bridge: run it as root, for example with sudo -E $0 $*"
}

# program:package that has it in Debian
programs="containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables
  conntrack:conntrack ipset:ipset ebtables:ebtables ethtool:ethtool socat:socat mkfs.btrfs:btrfs-progs openssl:openssl
  mmdebstrap:mmdebstrap ip:iproute2 pgrep:procps modprobe:kmod gcc:gcc python3:python3"

missing_packages() {
  local entry
  for entry in $programs; do command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"; done
}

install_packages() {
  local -a missing
  mapfile -t missing < <(missing_packages)
  command -v go >/dev/null || die "Go is missing: install Go $(awk '$1 == "go" {print $2}' "$here/addons/csi/go.mod") or newer"
  if [ ${#missing[@]} = 0 ]; then
    took "present"
    return
  fi
  command -v apt-get >/dev/null || die "missing programs; install what your system calls: ${missing[*]}"
  printf '\n'
  say "installing ${missing[*]} with apt-get"
  start packages bash -c 'export DEBIAN_FRONTEND=noninteractive
    apt-get update -q && apt-get install -q -y --no-install-recommends "$@"' packages "${missing[@]}"
  finish packages
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} = 0 ] || die "still missing after the installation: ${missing[*]}"
  took "      installed"
}
