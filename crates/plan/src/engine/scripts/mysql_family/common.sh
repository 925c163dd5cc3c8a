# Read by the other scripts: which engine this is, and how names and passwords get into SQL.
#
# SQL reaches the server through pipes, names and passwords in it as hexadecimal digits: no character of them means
# anything to this shell or to a parser, and none of them is ever in an argument list, the environment or a file.
#
# It uses nothing that the official images lack (the MySQL one has no awk, cmp or pkill).
# shellcheck shell=bash disable=SC2034,SC2119
set -Eeuo pipefail
umask 077
export LC_ALL=C

secret=/run/secrets/minidbaas
work=$(mktemp -d /tmp/minidbaas.XXXXXX)
log=$work/log
process=
leave() {
    # Waited for, or the shell's own notice of it would be the last line.
    [ -z "$process" ] || { kill -KILL "$process"; wait "$process"; } 2>/dev/null || :
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 143' TERM INT # the first process of a container ignores signals that it does not trap

fail() {
    echo "$*" >&2
    exit 1
}

# fail_with_log [EXPRESSION]: what the user reads is the end of this output: the engine's own errors, or its last words if it
# named none.
fail_with_log() {
    sed -i '/^Installation of system tables failed/,$d; /\] Aborting/d; /is unusable\. You can remove/d
        /Parsing options for plugin/d; /^$/d' "$log"
    grep -E "${1:-\[ERROR\]|^ERROR}" "$log" | tail -n 12 |
        sed -E 's/^.*\[(ERROR|Warning)\] (\[MY-[0-9]+\] )?(\[Server\] )?(Buffered [a-z]+: )?(\S*(mysqld|mariadbd): )?//
            s/^(ERROR \S+ \(\S+\)) at line [0-9]+:/\1:/' >&2 || tail -n 12 "$log" >&2
    exit 1
}

# The versions between which the files of a database must not be carried over differ in $series.
if command -v mariadbd >"$work/path"; then
    engine=MariaDB program=mariadbd client=mariadb part='Ver ([0-9]+\.[0-9]+)'
    identified="'IDENTIFIED BY '"
else
    engine=MySQL program=mysqld client=mysql part='Ver ([0-9]+)'
    identified="'IDENTIFIED WITH caching_sha2_password BY '"
fi
[[ $("$program" --no-defaults --version 2>&1) =~ $part ]] || fail "cannot tell the version of $engine"
series=${BASH_REMATCH[1]}

hex() { od -An -v -tx1 | tr -d ' \n'; }

# value NAME: an entry of the Secret as an SQL expression.
value() { printf "CONVERT(X'%s' USING utf8mb4)" "$(hex <"$secret/$1")"; }

# execute EXPRESSION,...: runs the statement that the expressions amount to.
execute() { printf 'SET @s = CONCAT(%s);\nPREPARE s FROM @s;\nEXECUTE s;\nDEALLOCATE PREPARE s;\n' "$1"; }

# What our statements rely on, whatever the server's settings say, one line each as an init file has to be. QUOTE() and the
# parser must agree on what a backslash is, hence the sql_mode. Nothing of this is for a replica or a log.
session() {
    printf '%s;\n' "SET NAMES utf8mb4" "SET SESSION sql_mode = ''" "SET SESSION sql_log_bin = 0" \
        "SET SESSION sql_log_off = 1" "SET SESSION long_query_time = 31536000" "SET @app = CONCAT(QUOTE($(value username)), '@\\'%\\'')"
    [ "$engine" = MySQL ] || echo "SET SESSION old_passwords = 0;"
}

# password ACCOUNT VALUE, both SQL expressions. Repeatable also where the server wants passwords to be new ones.
password() {
    local reuse=
    [ "$engine" = MariaDB ] || reuse=' PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY'
    execute "'ALTER USER ', $1, ' ', $identified, QUOTE($2), '$reuse PASSWORD EXPIRE NEVER ACCOUNT UNLOCK'"
}
