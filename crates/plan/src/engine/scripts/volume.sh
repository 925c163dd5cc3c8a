# Read by prepare.sh and serve.sh, and by hold.sh for the first rule: one server on one volume, however many pods there are.
# shellcheck shell=bash
volume=/var/lib/minidbaas

# A StatefulSet that was scaled by hand has more pods than one, and all of them mount the same claim.
[[ $HOSTNAME == *-0 ]] || {
    echo "only ${HOSTNAME%-*}-0 serves; scale the StatefulSet ${HOSTNAME%-*} back to 1" >&2
    exit 1
}

# hold_volume: returns when nobody else holds the volume. From then on this process does, with all that it starts or becomes:
# the lock is on the open file that they inherit, so the kernel lets go when the last of them has ended, however it ends. Pods on
# other nodes are kept away only if the file system has locks across nodes; the volume's access mode keeps them away in any case.
hold_volume() {
    exec {held}<>"$volume/lock"
    # InnoDB has a lock of its own on its files. An image without flock has that, and the access mode.
    command -v flock >/dev/null || {
        echo "this image has no flock: the volume is not locked" >&2
        return 0
    }
    # In the background, because a signal is not noticed while a command in the foreground waits.
    flock -w 3 "$held" &
    wait $! && return
    echo "waiting: another server still works on this volume" >&2
    flock "$held" &
    wait $!
}

# sign_volume: notes who made the volume ready, here and on it. A full volume takes no note; then the one before counts.
sign_volume() {
    local id
    read -r id </proc/sys/kernel/random/uuid
    { printf '%s\n' "$id" 1<>"$volume/lock"; } 2>/dev/null || :
    cat "$volume/lock" >/tmp/signature
}
