# Read by the scripts that run next to the server's pod, after common.sh: how they reach it.
# shellcheck shell=bash
# shellcheck disable=SC2154

# options PROGRAM: an option file for it. Through a pipe: the password is in no argument list and no file.
options() {
    local password
    password=$(<"$secret/admin-password")
    password=${password//\\/\\\\}
    printf '[client]\nprotocol=tcp\nhost=%s\nport=%s\nuser=minidbaas\npassword="%s"\n' "$HOST" "$PORT" "${password//\"/\\\"}"
    printf '[%s]\n' "$1"
    [ "$1" != "$client" ] || echo 'connect-timeout=10'
    [ "$engine" = MariaDB ] || echo get-server-public-key # for a server without TLS
}

# sql [ARGUMENT...]: runs standard input as our own user of the server.
sql() { "$client" --defaults-file=<(options "$client") --batch --skip-column-names "$@" 2>"$log"; }

# ours: what every connection of these scripts begins with; also out of the tables that keep statements.
ours() {
    session
    echo "UPDATE performance_schema.threads SET INSTRUMENTED = 'NO', HISTORY = 'NO' WHERE PROCESSLIST_ID = CONNECTION_ID();"
    echo "SET SESSION TRANSACTION READ WRITE;"
}
