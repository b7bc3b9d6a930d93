#!/usr/bin/env bash
# Jobs through a whole cluster: submit, output, failure, restart, stop, drain, and the same
# state after everything was stopped and started again.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 3 --workers 3 --sites 2

cat >"$work/hello.yaml" <<'YAML'
name: hello
command: [sh, -c, "echo rank $RANK of $WORLD_SIZE says hello"]
gang: {min: 3}
YAML
"$nexus" job submit "$work/hello.yaml" --wait >/dev/null
[ "$(phase hello-1)" = succeeded ] || fail "hello-1 has not succeeded"
for rank in 0 1 2; do
    expect 0 "^rank $rank of 3 says hello$" "$nexus" job logs hello-1 --rank $rank
done

# A rank that fails twice and then succeeds: two restarts, in place.
cat >"$work/flaky.yaml" <<YAML
name: flaky
command: [sh, -c, "echo attempt \$NEXUS_ATTEMPT; test \$NEXUS_ATTEMPT -ge 2"]
restart: {attempts: 3, delay_ms: 50}
YAML
"$nexus" job submit "$work/flaky.yaml" --wait >/dev/null || fail "flaky-2 has not succeeded"
expect 0 "^attempt 2$" "$nexus" job logs flaky-2
expect 0 "^attempt 0$" "$nexus" job logs flaky-2 --attempt 0

# One that always fails: the budget is spent, the job fails, --wait exits with 1.
cat >"$work/broken.yaml" <<YAML
name: broken
command: [sh, -c, "exit 3"]
restart: {attempts: 1, delay_ms: 50}
YAML
expect 1 "failed" "$nexus" job submit "$work/broken.yaml" --wait
expect 0 "exited with code 3" "$nexus" job show broken-3

# A command that is nowhere.
printf 'name: nowhere\ncommand: [no-such-program]\nrestart: {attempts: 0}\n' >"$work/nowhere.yaml"
expect 1 "" "$nexus" job submit "$work/nowhere.yaml" --wait
expect 0 "no-such-program.*PATH" "$nexus" job show nowhere-4

# A long one: stopped, and nothing of it is left.
cat >"$work/long.yaml" <<YAML
name: long
command: [sh, -c, "sleep 987 & echo started; wait"]
stop: {grace_ms: 2000}
gang: {min: 2}
YAML
"$nexus" job submit "$work/long.yaml" >/dev/null
until_true 20 "long-5 runs" expect 0 "^started$" "$nexus" job logs long-5
"$nexus" job stop long-5 >/dev/null
until_true 20 "long-5 is stopped" test "$(phase long-5)" = cancelled || true
until_true 20 "long-5 is cancelled" sh -c "'$nexus' job show long-5 --json | grep -q '\"phase\": *\"cancelled\"'"
! pgrep -fx "sleep 987" >/dev/null || fail "long-5 has left a process behind"

# One that needs more than there is waits, and says why; then it is stopped.
printf 'name: huge\ncommand: ["true"]\ngang: {min: 64}\n' >"$work/huge.yaml"
expect 2 "" "$nexus" job submit "$work/huge.yaml" --wait --timeout 3
expect 0 "InsufficientCapacity" "$nexus" job show huge-6
"$nexus" job stop huge-6 >/dev/null

# Drain: the worker's task moves.
cat >"$work/mover.yaml" <<YAML
name: mover
command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
YAML
"$nexus" job submit "$work/mover.yaml" >/dev/null
runs_on() { "$nexus" job show mover-7 --json | grep -oE '"worker_name": ?"[^"]*"' | tail -1 | sed 's/.*"\([^"]*\)"$/\1/'; }
until_true 20 "mover-7 runs" sh -c "'$nexus' job show mover-7 --json | grep -q '\"phase\": *\"running\"'"
from=$(runs_on)
"$nexus" worker drain "$from" >/dev/null
moved() { [ "$(runs_on)" != "$from" ] && [ "$(phase mover-7)" = running ]; }
until_true 20 "mover-7 leaves $from" moved
"$nexus" worker undrain "$from" >/dev/null

# Everything stopped and started again: the jobs are there, the one that ran runs again.
"$nexus" down >/dev/null
start_cluster --masters 3 --workers 3 --sites 2 >/dev/null
[ "$(phase hello-1)" = succeeded ] || fail "hello-1 is forgotten"
until_true 20 "mover-7 runs again" sh -c "'$nexus' job show mover-7 --json | grep -q '\"phase\": *\"running\"'"
"$nexus" job stop mover-7 >/dev/null

# What leaves its process group is not left behind, neither by a task's end nor by a worker's death.
cat >"$work/strays.yaml" <<YAML
name: strays
command: [sh, -c, "setsid sleep 98765 & sleep 98764 & echo started; sleep 98763"]
YAML
"$nexus" job submit "$work/strays.yaml" >/dev/null
until_true 20 "strays-8 runs" expect 0 "^started$" "$nexus" job logs strays-8
strays_on() { "$nexus" job show strays-8 --json | grep -oE '"worker_name": ?"[^"]*"' | tail -1 | sed 's/.*"\([^"]*\)"$/\1/'; }
left_on() { [ -n "$(grep -sl "NEXUS_TASK_FILE=$dir/$1/" /proc/[0-9]*/environ)" ]; }
none_left_on() { ! left_on "$1"; }
on=$(strays_on)
"$nexus" worker drain "$on" >/dev/null
until_true 20 "nothing of strays-8 is left on $on" none_left_on "$on"
strays_moved() { [ "$(strays_on)" != "$on" ] && left_on "$(strays_on)"; }
until_true 20 "strays-8 leaves $on" strays_moved
"$nexus" worker undrain "$on" >/dev/null
on=$(strays_on)
kill -9 "$(pid_of "$on")"
until_true 20 "nothing of strays-8 outlives $on" none_left_on "$on"
"$nexus" job stop strays-8 >/dev/null

# An empty job file is an error, not the end of a master.
: >"$work/empty.yaml"
expect 65 "command: |name: " "$nexus" job submit "$work/empty.yaml"
expect 0 "3 of 3|alive" "$nexus" status
