#!/bin/bash
# Becomes the server, whose command the arguments are, on a volume that nobody else works on for as long as it lives.
set -Eeuo pipefail
trap 'exit 143' TERM INT # the first process of a container ignores signals that it does not trap
# shellcheck source=volume.sh
. /etc/minidbaas/volume.sh

hold_volume
# Between the end of prepare.sh and here nobody held the volume.
[ "$(<"$volume/lock")" = "$(</tmp/signature)" ] || {
    echo "another pod has worked on this volume since $HOSTNAME made it ready: delete the pod $HOSTNAME, and the next one makes it ready again" >&2
    exit 1
}
exec "$@"
