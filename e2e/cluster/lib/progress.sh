# Progress on the terminal: numbered steps, background jobs with a heartbeat, the end of the log when one fails.
# shellcheck shell=bash

step_number=0 step_total=0 step_began=0
declare -A job_pid=() job_began=()

# step TEXT: opens the next step; `took` closes it.
step() {
  step_number=$((step_number + 1)) step_began=$(now_ms)
  printf '[%d/%d] %s ' "$step_number" "$step_total" "$1"
}

# took [TEXT]: ends the step's line with the time it took.
took() { printf '%s(%s)\n' "${1:+$1 }" "$(seconds $(($(now_ms) - step_began)))"; }

say() { printf '      %s\n' "$*"; }

die() {
  printf '\ncluster: %s\n' "$*" >&2
  exit 1
}

now_ms() { date +%s%3N; }

# seconds MS: "1.7 s" or "5 min 12 s"
seconds() {
  local s=$(($1 / 1000))
  if [ $s -lt 60 ]; then echo "$s.$(($1 % 1000 / 100)) s"; else echo "$((s / 60)) min $((s % 60)) s"; fi
}

# start JOB COMMAND…: runs in the background into its own log; ends with this script, whatever ends that. The exit status goes to
# a file: the shell forgets it, and the process id may be another's, when `finish` comes minutes later.
start() {
  local job=$1
  shift
  mkdir -p "$cache/log"
  rm -f "$cache/log/$job.status"
  # shellcheck disable=SC2016
  setpriv --pdeathsig TERM -- setsid bash -c 'trap "trap - TERM; kill 0" TERM; "$@" & wait $!; echo $? >"$0"' \
    "$cache/log/$job.status" "$@" \
    </dev/null >"$cache/log/$job.log" 2>&1 &
  job_pid[$job]=$! job_began[$job]=$(now_ms)
}

# finish JOB: waits for it, with a sign of life every 20 seconds.
finish() {
  local job=$1 log=$cache/log/$1.log status=$cache/log/$1.status ticks=0
  while [ ! -s "$status" ] && kill -0 "${job_pid[$job]}" 2>/dev/null; do
    sleep 0.2
    ticks=$((ticks + 1))
    if [ $((ticks % 100)) = 0 ]; then
      [ $ticks -gt 100 ] || echo
      say "$(seconds $(($(now_ms) - job_began[$job]))): $(tail -n 1 "$log" | cut -c1-80) (line $(wc -l <"$log") of the log)"
    fi
  done
  unset "job_pid[$job]"
  [ "$(cat "$status" 2>/dev/null)" = 0 ] || {
    printf '\n' >&2
    tail -n 20 "$log" >&2
    die "$job failed; the whole log: $log"
  }
}

# Ends the jobs that still run, when the script ends early.
end_jobs() {
  local job
  for job in "${!job_pid[@]}"; do
    [ -s "$cache/log/$job.status" ] || kill "${job_pid[$job]}" 2>/dev/null || true
  done
}
