#!/bin/bash
# Before the container is stopped: tells the server to end, by the signal in the argument, until it has. The first process of a
# container does not get a signal that it does not listen for yet, and a server that has only just started would serve on until it
# is killed. In the background: the kubelet sends SIGTERM when this has ended.
while kill -s "$1" 1; do
    sleep 1
done </dev/null >/dev/null 2>&1 &
