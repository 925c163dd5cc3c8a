#!/usr/bin/env bash
# PID 1 of the node, in net, mount, pid, uts and ipc namespaces of its own: killing it ends every process of the cluster at once.
# usage: init.sh STATE BIN NODE_IP   (lib/node.sh calls it, and moves the network interface in)
set -u
state=$1 bin=$2 node_ip=$3 pki=$1/pki here=$(cd "$(dirname "$0")" && pwd)

hostname minidbaas
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/cni/net.d "$state"/{etcd,containerd,kubelet,cni,log}
for dir in kubelet cni; do mount --bind "$state/$dir" "/var/lib/$dir"; done
mount --bind "$state/log" /var/log # the kubelet's pods/ and containers/
mount --make-rshared /var/lib/kubelet
# The kubelet sets the panic and memory behaviour of the whole machine; let it set copies.
for file in kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes vm/overcommit_memory vm/panic_on_oom; do
  install -D <(cat "/proc/sys/$file") "/run/sys/$file" && mount --bind "/run/sys/$file" "/proc/sys/$file"
done
# The disk is one btrfs image, mounted here once per boot. The CSI driver must not mount it: after its restart that would attach the
# image a second time while volumes keep the first, and two btrfs writing to one file destroy it.
if [ ! -f "$state/disk.img" ]; then
  truncate -s 40G "$state/disk.img.new" && mkfs.btrfs -q "$state/disk.img.new" >/dev/null && mv "$state/disk.img.new" "$state/disk.img"
fi
mkdir /run/disk && mount -o loop,noatime "$state/disk.img" /run/disk || exit 1
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then hierarchies=/sys/fs/cgroup; else hierarchies=$(echo /sys/fs/cgroup/*/); fi
for dir in $hierarchies; do mkdir -p "$dir/minidbaas"; done

ip link set lo up
until ip link show minidbaas1 >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$node_ip/30" dev minidbaas1
ip link set minidbaas1 up
# kubelet and kube-proxy want a default route; this one leads to a bridge without ports, so nothing can leave the node.
ip link add void type bridge
ip link set void up
ip route add default dev void src "$node_ip"
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1 net.bridge.bridge-nf-call-iptables=1 2>/dev/null

keep() { # COMPONENT COMMAND…: runs it for ever, with a log of its own
  local name=$1
  shift
  while :; do
    echo "--- $(date -u +%FT%TZ) start"
    "$@"
    echo "--- exit $?"
    sleep 1
  done >>"$state/log/$name.log" 2>&1 &
}
config() { sed "s#@STATE@#$state#g" "$here/$1" >"/run/$1"; }

# Memory is plenty and processors are few: let Go collect its garbage less often.
export GOGC=400
keep etcd "$bin/etcd" --name minidbaas --data-dir "$state/etcd" --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
  --quota-backend-bytes 4294967296 --auto-compaction-retention 5m
keep apiserver "$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --advertise-address "$node_ip" --secure-port 6443 \
  --service-cluster-ip-range 198.18.128.0/17 --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
  --allow-privileged --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
  --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
  --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file "$pki/sa.pub" --service-account-signing-key-file "$pki/sa.key" \
  --audit-policy-file "$here/audit-policy.yaml" --audit-log-path "$state/log/audit.log" \
  --audit-log-maxsize 1024 --audit-log-maxbackup 3
keep controller-manager "$bin/kube-controller-manager" --kubeconfig "$pki/controller-manager.kubeconfig" --leader-elect=false \
  --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" --use-service-account-credentials \
  --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key" \
  --flex-volume-plugin-dir /var/lib/kubelet/volume-plugins --kube-api-qps 200 --kube-api-burst 400
keep scheduler "$bin/kube-scheduler" --kubeconfig "$pki/scheduler.kubeconfig" --leader-elect=false --kube-api-qps 200 --kube-api-burst 400
config containerd.toml
cp "$here/cni.conflist" /run/cni/net.d/10-minidbaas.conflist
keep containerd containerd --config /run/containerd.toml
config kubelet.yaml
keep kubelet "$bin/kubelet" --config /run/kubelet.yaml --kubeconfig "$pki/kubelet.kubeconfig" --hostname-override minidbaas --node-ip "$node_ip"
config proxy.yaml
keep proxy "$bin/kube-proxy" --config /run/proxy.yaml
wait
