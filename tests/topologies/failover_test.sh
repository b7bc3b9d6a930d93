#!/usr/bin/env bash
# kill -9 of the leader and of a worker while a job runs: a new leader, the rank elsewhere, and
# nothing that was acknowledged is lost.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 3 --workers 3 --sites 2

cat >"$work/steady.yaml" <<YAML
name: steady
command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
gang: {min: 3}
resources: {cpu: 0.5}
YAML
"$nexus" job submit "$work/steady.yaml" >/dev/null
running() { "$nexus" job show steady-1 --json | grep -oE '"phase": ?"running"' | wc -l; }
all_run() { [ "$(running)" = 4 ]; } # the job and its three ranks
until_true 20 "steady-1 runs" all_run

old=$(leader)
kill -9 "$(pid_of "$old")"
other_leads() { local now; now=$(leader) && [ -n "$now" ] && [ "$now" != "$old" ]; }
until_true 10 "a new leader" other_leads
all_run || fail "the job was disturbed by the leader's death"

# Writes go on at once, and the old leader comes back and catches up.
printf 'name: after\ncommand: [sh, -c, "echo after"]\nresources: {cpu: 0.1}\n' >"$work/after.yaml"
"$nexus" job submit "$work/after.yaml" --wait >/dev/null
caught_up() {
    "$nexus" status --json | tr '{' '\n' | grep "\"name\": *\"$old\"" | grep -q '"reachable": *true'
}
until_true 20 "$old is back" caught_up

kill -9 "$(pid_of w2)"
moved() { all_run && [ "$("$nexus" job show steady-1 --json | grep -oE '"attempt": ?1' | wc -l)" -ge 1 ]; }
until_true 20 "w2's rank runs again" moved
until_true 20 "w2 is back" sh -c "'$nexus' worker list --json | tr '{' '\n' | grep -A30 '\"name\": *\"w2\"' | grep -q '\"state\": *\"active\"'"
[ "$(phase after-2)" = succeeded ] || fail "after-2 is forgotten"
"$nexus" job stop steady-1 >/dev/null
