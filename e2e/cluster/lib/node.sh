# The node's life: boot, kill, clean up, purge. Whoever runs a node holds the lock, and the lock dies with the node.
# shellcheck shell=bash

lock=/run/minidbaas.lock # held by the node's outer process; its content: STATE, pid of that process, pid of the node's PID 1
host_ip=198.19.255.1 node_ip=198.19.255.2 service_ip=198.18.128.1 pod_and_service_range=198.18.0.0/16

locked() { [ -e "$lock" ] && ! flock --nonblock "$lock" true; }
node_state() { cut -d' ' -f1 "$lock"; }
node_pid() { cut -d' ' -f3 "$lock"; }
running() { locked && [ "$(node_state)" = "$state" ]; }
booted() { running && [ -n "$(node_pid)" ]; }
in_node() { nsenter -t "$(node_pid)" -a -- "$@"; }

# Only one cluster fits on a machine: the addresses are fixed. Says who is in the way.
refuse_second() {
  if locked && ! running; then
    die "another cluster runs on this machine, with its state in $(node_state). End it first:
  MINIDBAAS_STATE=$(node_state) $0 down"
  fi
}

link() { ip -o -4 addr show to $host_ip | awk '{print $2}'; }

# A link that leads to no process and to no API server was left by a node whose machine was stopped under it.
refuse_foreign_network() {
  local pid
  for pid in $(lsns -t net -n -o PID); do
    [ -z "$(nsenter -t "$pid" -n ip -o -4 addr show to $node_ip 2>/dev/null)" ] ||
      die "the address $host_ip is taken: interface $(link) leads to the network of process $pid ($(ps -o args= -p "$pid" | cut -c1-120)).
End that process, or whatever started it, then run this again."
  done
  if [ "$(link)" = minidbaas0 ] && ! timeout 2 bash -c "</dev/tcp/$node_ip/6443" 2>/dev/null; then
    ip link delete minidbaas0
    clean_up && return
  fi
  die "the address $host_ip is taken by interface $(link). If nothing needs it: ip link delete $(link)"
}

boot() { # BIN KEY: the folder of the programs; what a node booted from these files is called
  local outer pid
  clean_up || refuse_foreign_network
  modprobe -qa overlay br_netfilter loop btrfs veth 2>/dev/null || true # built in, or loaded, or seen to be missing below
  mkdir -p /var/lib/kubelet /var/lib/cni "$state/log"
  chmod 700 "$state"
  "$here/node/pki.sh" "$state" $node_ip $service_ip
  (
    exec 7>&- 8>>"$lock"
    flock --nonblock 8 || exit 1
    echo "$state $BASHPID" >"$lock"
    exec setsid unshare --net --mount --pid --uts --ipc --fork --mount-proc --kill-child \
      bash -c 'exec 8>&-; exec "$@"' - bash "$here/node/init.sh" "$state" "$1" $node_ip
  ) </dev/null >"$state/log/init.log" 2>&1 &
  outer=$!
  disown
  until pid=$(pgrep -P $outer); do
    [ -d /proc/$outer ] || die "the node did not start: $(cat "$state/log/init.log")"
    sleep 0.02
  done
  ip link add minidbaas0 type veth peer name minidbaas1
  ip addr add $host_ip/30 dev minidbaas0
  ip link set minidbaas0 up
  ip link set minidbaas1 netns "$pid"
  ip route replace $pod_and_service_range via $node_ip dev minidbaas0 # pods and services can be reached from the machine
  date -u +%FT%TZ >"$state/booted"
  echo "$state $outer $pid $2" >"$lock"
}

# Everything dies at once, as in a power cut; the disks stay. The kernel lives on and writes its caches out.
kill_node() {
  local outer pid
  running || return 0
  outer=$(cut -d' ' -f2 "$lock")
  pid=$(pgrep -P "$outer") || pid=$outer
  kill -KILL "$pid"
  for _ in $(seq 200); do
    locked || return 0
    sleep 0.05
  done
  die "process $outer holds $lock and does not die"
}

# What outlives a killed node for a moment, or for ever. Fails when another node is there, whose things these may be.
clean_up() {
  local group
  ! locked || return 1
  for _ in $(seq 50); do
    [ ! -d /sys/class/net/minidbaas1 ] || ip link delete minidbaas1 # an interrupted boot left both ends here
    [ -n "$(link)$(losetup -j "$state/disk.img" 2>/dev/null)" ] || break
    sleep 0.1
  done
  [ -z "$(losetup -j "$state/disk.img" 2>/dev/null)" ] || die "$state/disk.img is still attached; a second time would destroy it"
  [ -z "$(link)" ] || return 1
  for group in /sys/fs/cgroup/minidbaas /sys/fs/cgroup/*/minidbaas; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
  done
}

purge() {
  if clean_up; then
    rm -f "$lock"
    [ ! -d /var/lib/kubelet ] || rmdir --ignore-fail-on-non-empty /var/lib/kubelet /var/lib/cni
  fi
  # By name: a folder given by mistake loses nothing else.
  rm -rf "$state"/{booted,cni,complete,containerd,disk.img,disk.img.new,etcd,installed,kubeconfig,kubectl,kubelet,loaded,log,operator,pki,pki.new}
  [ ! -d "$state" ] || rmdir "$state"
}
