#!/usr/bin/env bash
# Disks that fail under real masters: a master whose flush or write fails ends with the reason, comes
# back and catches up; one whose disk altered an entry is impaired until it has fetched it. Nobody
# who writes meanwhile notices, and nothing that was acknowledged is lost.
. "$(dirname "$0")/lib.sh"
faults=$build/tests/libnexus_faults.so
[ -e "$faults" ] || { echo "$faults is not built"; exit 77; }

# rules TEXT: what goes wrong from now on (tests/faults/faults.h).
rules() { printf '%s\n' "$1" >"$work/rules.new" && mv "$work/rules.new" "$work/rules"; }
rules ""
begin() {
    LD_PRELOAD=$faults NEXUS_FAULTS=$work/rules ASAN_OPTIONS=verify_asan_link_order=0 \
        start_cluster --masters 3 --workers 1
}
begin

written=0
write_some() {
    for _ in $(seq 5); do
        written=$((written + 1))
        "$nexus" kv put "key-$written" "value-$written-of-the-disk-test" >/dev/null
    done
}
follower() { for m in m1 m2 m3; do [ "$m" = "$(leader)" ] || { echo "$m"; return; }; done; }
# All masters are there, and have what the others have.
same() {
    "$nexus" status --raft --json | tr -d ' \n' | grep -oE '"(commit|applied)":[0-9]+' | cut -d: -f2 | sort -u | wc -l
}
all_there() { ! "$nexus" status --raft | grep -q "no answer" && [ "$(same)" = 1 ]; }
write_some
until_true 20 "three masters" all_there

# fault MASTER RULE TEXT: it ends for that reason, and comes back.
fault() {
    local master=$1 rule=$2 text=$3 before
    before=$(pid_of "$master")
    rules "$dir/$master/log/$rule times=1"
    write_some
    until_true 20 "$master says why it ended" grep -qE "raft log: .*$text" "$dir/$master/node.log"
    rules ""
    another() { [ "$(pid_of "$master")" != "$before" ]; }
    until_true 20 "$master comes back" another
    write_some
    until_true 30 "$master catches up" all_there
}
fault "$(follower)" "* flush eio" "Input/output error; check the disk"
fault "$(follower)" "* write enospc" "make room on that file system"
fault "$(leader)" "* flush eio" "Input/output error; check the disk"
fault "$(leader)" "* write eio" "Input/output error; check the disk"

# An entry rots while the cluster is down.
"$nexus" down >/dev/null
grep -q 'value-3-of-the-disk-test' "$dir/m1/log/data.mdb" || fail "m1's log has no entry to alter"
sed -i 's/value-3-of-the-disk-test/value-3-of-the-dusk-test/g' "$dir/m1/log/data.mdb"
begin
until_true 20 "m1 finds the damage" grep -q "an entry of the Raft log can't be read" "$dir/m1/node.log"
until_true 20 "m1 fetches it" grep -q "the Raft log is whole again" "$dir/m1/node.log"
write_some
until_true 30 "m1 takes part" all_there
"$nexus" down >/dev/null
grep -q 'value-3-of-the-disk-test' "$dir/m1/log/data.mdb" || fail "the entry was not put back"
begin
until_true 20 "three masters" all_there
for i in $(seq $written); do
    expect 0 "value-$i-of-the-disk-test" "$nexus" kv get "key-$i"
done
