#!/bin/bash
# Changes a running server. Runs in a pod of its own, next to the server's, with the candidate settings mounted:
#
# 1. the engine itself reads the candidate: what the server would refuse at its next start, or take otherwise than it is
#    written, ends here, nothing changed;
# 2. with REVISION: the user gets the Secret's password;
# 3. the parameters named in `changes` get their values.
#
# Everything is repeatable. Exit 75: the mounted Secret is not yet the one that REVISION means; to be tried again.
set -e # before the rest: a file that is missing must end this
# shellcheck source=common.sh
. /etc/minidbaas/common.sh
# shellcheck source=client.sh
. /etc/minidbaas/client.sh

candidate=/etc/minidbaas-candidate

# A number out of range is only a warning to the engine, which then starts with another one than the user wanted. (That it
# rounds to a multiple of its block size is no warning.)
validate() {
    local arguments=("--defaults-file=$candidate/settings" "--datadir=$work/data" --lc-messages=en_US)
    local rejected="\[ERROR\]|adjusted to|(was not|wasn't) recognized"
    mkdir "$work/data"
    if [ "$engine" = MariaDB ]; then
        mariadbd "${arguments[@]}" --skip-log-error --log-warnings=2 --help --verbose 2>"$log" >"$work/help"
    else
        mysqld "${arguments[@]}" --log-error-verbosity=2 --validate-config >"$log" 2>&1
    fi || fail_with_log "$rejected"
    ! grep -qE "$rejected" "$log" || fail_with_log "$rejected"
}

text() { printf "CONVERT(X'%s' USING utf8mb4)" "$(printf %s "$1" | hex)"; }

# number VALUE: the number that an option file means by it, or nothing.
number() {
    local powers=kmgtpe suffix before
    if [[ $1 =~ ^([+-]?[0-9]+)([KkMmGgTtPpEe])$ ]]; then
        suffix=${BASH_REMATCH[2],,}
        before=${powers%%"$suffix"*}
        echo "${BASH_REMATCH[1]} * $((1024 ** (${#before} + 1)))"
    elif [[ $1 =~ ^[+-]?[0-9]*\.?[0-9]+$ || ${1,,} =~ ^(true|false)$ ]]; then
        echo "$1"
    fi
}

set_global() { { ours; echo "SET GLOBAL $1 = $2;"; } | sql --show-warnings; }

# change NAME [VALUE]: a variable wants its own type, which only the server knows: it refuses the other with error 1232 or,
# where it looks for the words of a list, 1231.
change() {
    [[ $1 =~ ^[a-z0-9_]+$ ]] || fail "$1 is not the name of a variable"
    if [ $# -eq 1 ]; then
        set_global "$1" DEFAULT || fail_with_log
        return
    fi
    local number
    number=$(number "$2")
    [ -z "$number" ] || ! set_global "$1" "$number" || return 0
    [ -z "$number" ] || grep -qE '^ERROR 123[12]' "$log" || fail_with_log
    set_global "$1" "$(text "$2")" || fail_with_log
}

validate

[ -z "${REVISION:-}" ] || [ "$(<"$secret/revision")" = "$REVISION" ] || {
    echo "the Secret that is mounted here is not yet the one of revision $REVISION" >&2
    exit 75
}

# The engine reads a default time zone without looking whether there is such a one: then it does not start.
zone=$(sed -nE "s/^default[-_]time[-_]zone *= *[\"']?([^\"']*)[\"']?\$/\1/p" "$candidate/settings" | tail -n 1)
if [ -n "$zone" ]; then
    { ours; echo "SET SESSION time_zone = $(text "$zone");"; } | sql || fail_with_log
fi

if [ -n "${REVISION:-}" ]; then
    { ours; password @app "$(value password)"; } | sql || fail_with_log
fi

while IFS= read -r line || [ -n "$line" ]; do
    [ -n "$line" ] || continue
    if [[ $line == *$'\t'* ]]; then
        change "${line%%$'\t'*}" "${line#*$'\t'}"
    else
        change "$line"
    fi
done <"$candidate/changes"
