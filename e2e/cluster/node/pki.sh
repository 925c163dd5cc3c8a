#!/usr/bin/env bash
# Makes the cluster's keys, certificates and kubeconfigs once. usage: pki.sh STATE NODE_IP SERVICE_IP
set -euo pipefail
state=$1 node_ip=$2 service_ip=$3
[ ! -d "$state/pki" ] || exit 0
rm -rf "$state/pki.new"
mkdir -m 700 "$state/pki.new"
cd "$state/pki.new"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
issue() { # NAME SUBJECT [ALTERNATIVE_NAMES]
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" -extfile <(
      echo "extendedKeyUsage=clientAuth,serverAuth"
      [ -z "${3:-}" ] || echo "subjectAltName=$3") 2>/dev/null
}
kubeconfig() { # NAME SERVER
  cat <<Y
apiVersion: v1
kind: Config
current-context: minidbaas
contexts: [{name: minidbaas, context: {cluster: minidbaas, user: $1}}]
clusters: [{name: minidbaas, cluster: {server: "$2", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
Y
}

key ca
openssl req -x509 -new -key ca.key -subj /CN=minidbaas -days 3650 -out ca.crt
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
issue apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$node_ip,IP:$service_ip"
issue apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
issue kubelet /O=system:nodes/CN=system:node:minidbaas "DNS:minidbaas,IP:$node_ip"
issue controller-manager /CN=system:kube-controller-manager
issue scheduler /CN=system:kube-scheduler
issue proxy /CN=system:kube-proxy
issue admin /O=system:masters/CN=admin
for name in kubelet controller-manager scheduler proxy; do kubeconfig "$name" https://127.0.0.1:6443 >"$name.kubeconfig"; done
kubeconfig admin "https://$node_ip:6443" >admin.kubeconfig
ln -sfn pki/admin.kubeconfig "$state/kubeconfig"
mv "$state/pki.new" "$state/pki"
