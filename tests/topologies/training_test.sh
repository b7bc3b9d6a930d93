#!/usr/bin/env bash
# A real training over a real cluster, with the leader and then a worker (with its rank and its
# aggregator) killed in the middle: it goes on by itself and learns what it should.
. "$(dirname "$0")/lib.sh"
data=/usr/share/datasets/fashion-mnist
[ -d "$data" ] || { echo "Debian's dataset-fashion-mnist is not installed: skipped"; exit 77; }
[ -x "$build/nexus-fashion-mnist" ] || { echo "nexus-fashion-mnist is not built: skipped"; exit 77; }

start_cluster --masters 3 --workers 3 --sites 2
sed -e 's/min: 4/min: 3/' -e 's/shards: [0-9]*/shards: 3/' -e 's/"10"/"4"/' \
    "$root/docs/examples/fashion-mnist/job.yaml" >"$work/job.yaml"
job=$("$nexus" job submit "$work/job.yaml")
epochs() { "$nexus" job metrics "$job" --name epoch --all --json | grep -o '"step"' | wc -l; }
reached() { [ "$(epochs)" -ge "$1" ]; }

until_true 120 "the first epoch" reached 1
kill -9 "$(pid_of "$(leader)")"
kill -9 "$(pid_of w2)"
until_true 200 "the job's end" sh -c "'$nexus' job show $job --json | grep -q '\"phase\": *\"succeeded\"'"

accuracy=$("$nexus" job metrics "$job" --name test_accuracy --json | field value)
awk -v a="$accuracy" 'BEGIN { exit !(a >= 0.85) }' || fail "test accuracy $accuracy after four epochs, expected at least 0.85"
"$nexus" job show "$job" --json | grep -qE '"attempt": ?1' || fail "no rank was started again"
echo "test accuracy $accuracy"

# A missing data file: one clear message, and the job fails.
printf 'name: nodata\ncommand: [nexus-fashion-mnist, --data, /nowhere]\nrestart: {attempts: 0}\naggregation: {shards: 1}\n' >"$work/nodata.yaml"
expect 1 "" "$nexus" job submit "$work/nodata.yaml" --wait
expect 0 "apt-get install dataset-fashion-mnist" "$nexus" job logs nodata-2
