# shellcheck shell=bash
# Tries until it can log in with the Secret's password, which the kubelet may still show as it was before. It passes through a file
# of its own and not through the environment.
umask 077
until
    password=$(</run/secrets/minidbaas/password)
    password=${password//\\/\\\\}
    printf '*:*:*:*:%s\n' "${password//:/\\:}" >/tmp/pgpass
    psql --no-psqlrc --quiet --command='SELECT 1' >/dev/null
do sleep 0.5; done
