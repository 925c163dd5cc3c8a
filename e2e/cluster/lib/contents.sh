# What is in the node: its kubectl, images and add-ons, and when they are ready.
# shellcheck shell=bash

kubeconfig=$state/kubeconfig

kubectl() { KUBECONFIG=$kubeconfig KUBECACHEDIR=$state/kubectl "$(kubernetes)/kubectl" "$@"; }

# pinned FOLDER MODULE: the version in its go.mod
pinned() { awk -v module="$2" '$1 == module {print $2; exit}' "$here/$1/go.mod"; }

# What a complete cluster is made of: the name of every artifact, and a hash of everything that is only configuration.
contents() {
  local name
  boot_key
  pause
  for name in $images; do debian_image "$name"; done
  for name in $(addons); do artifact "$(addon_image "$name")" "$here/addons/$name"; done
}
boot_key() { echo "$(basename "$(kubernetes)")+$(basename "$(artifact node "$here/node")")"; }

versions() {
  local name
  for name in $engines; do
    [ -f "$(debian_image "$name")/version" ] || die "the image of $name is not built; build it with: $0 up"
    echo "$name $(cat "$(debian_image "$name")/version")"
  done
}

boot_node() {
  local since ready=""
  if ! booted || [ "$(cut -d' ' -f4 "$lock")" != "$(boot_key)" ]; then
    kill_node # half booted by an interrupted `up`, or of other programs
    boot "$(kubernetes)" "$(boot_key)"
  fi
  since=$(cat "$state/booted")
  # The node may still say Ready from its former life.
  for _ in $(seq 600); do
    ready=$(kubectl get node minidbaas --request-timeout=2s 2>/dev/null \
      -o jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.status}{.lastHeartbeatTime}{end}') || true
    [[ $ready = True* && ${ready#True} > $since ]] && took Ready && return
    sleep 0.1
  done
  tail -n 5 "$state"/log/{init,etcd,apiserver,containerd,kubelet}.log >&2
  die "the node does not become Ready; the logs are in $state/log"
}

# load ARCHIVE…: imports what the node does not have yet. state/loaded has a file for each image, with its manifest's hash.
load() {
  local archive manifest key name tag present names
  mkdir -p "$state/loaded"
  present=$(in_node ctr -n k8s.io images ls -q)
  for archive; do
    manifest=$(tar -xOf "$archive" --occurrence=1 manifest.json) || die "$archive is no docker-archive"
    key=$(sha256sum <<<"$manifest")
    names=$(python3 -c 'import json, sys; [print(tag) for image in json.load(sys.stdin) for tag in image["RepoTags"]]' <<<"$manifest")
    for name in $names; do
      if ! grep -qxF "$name" <<<"$present" || [ "$(cat "$state/loaded/${name//\//+}" 2>/dev/null)" != "$key" ]; then
        in_node ctr -n k8s.io images import "$(realpath "$archive")" >/dev/null
        for tag in $names; do echo "$key" >"$state/loaded/${tag//\//+}"; done
        break
      fi
    done
  done
}

load_all() {
  local -a archives
  local name
  archives=("$(pause)/image.tar")
  for name in $images; do archives+=("$(debian_image "$name")/image.tar"); done
  for name in $(addons); do archives+=("$(addon "$name")/image.tar"); done
  load "${archives[@]}"
  took loaded
}

install_addons() {
  local name manifest crds key since
  mkdir -p "$state/installed"
  for name in $(addons); do
    manifest=$(sed "s#@IMAGE@#$(addon_image "$name")#" "$here/addons/$name/"*.yaml)
    key=$(sha256sum <<<"$manifest")
    [ "$(cat "$state/installed/$name" 2>/dev/null)" != "$key" ] || continue
    crds=$(addon "$name")/crds
    if [ -d "$crds" ]; then # what the manifests and the programs need to know first
      kubectl apply --server-side --force-conflicts -f "$crds" >/dev/null
      kubectl wait --for=condition=Established --timeout=30s -f "$crds" >/dev/null
    fi
    kubectl apply --server-side --force-conflicts -f - <<<"$manifest" >/dev/null
    kubectl -n kube-system rollout status deployment --timeout=120s >/dev/null
    echo "$key" >"$state/installed/$name"
  done
  since=$(cat "$state/booted")
  # After a boot the pods, too, may still say Ready from their former life.
  for _ in $(seq 600); do
    kubectl -n kube-system get pods -o go-template='{{range .items}}{{range .status.containerStatuses
      }}{{.ready}} {{with .state.running}}{{.startedAt}}{{end}}{{"\n"}}{{end}}{{end}}' |
      awk -v since="$since" '$1 != "true" || $2 <= since {old = 1} END {exit old || !NR}' && took ready && return
    sleep 0.2
  done
  kubectl -n kube-system get pods >&2
  die "the add-ons do not become ready"
}
