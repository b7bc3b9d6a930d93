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

# A row of a ledger rots: while its master is down, it makes the ledger anew when it starts; while it
# runs, nobody gets the row, the master ends, and comes back with what was written.
api_of() { echo "https://127.0.0.1:$(sed -n 's/^  port: *//p' "$dir/$1/master.yaml")"; }
rot() { # MASTER TEXT: each place of its ledger that has it
    python3 - "$2" "$dir/$1"/ledger/[ab]/data.mdb <<'END' || fail "$1's ledger does not have $2"
import os, sys
text, places = sys.argv[1].encode(), 0
for name in sys.argv[2:]:
    file = os.open(name, os.O_RDWR)
    size, start = os.fstat(file).st_size, 0
    while start < size: # most of it is a hole
        try:
            start = os.lseek(file, start, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(file, start, os.SEEK_HOLE)
        data = os.pread(file, end - start, start)
        at = data.find(text)
        while at >= 0:
            os.pwrite(file, bytes([data[at] ^ 0x10]), start + at)
            places += 1
            at = data.find(text, at + 1)
        start = end
sys.exit(places == 0)
END
}
"$nexus" down >/dev/null
rot m2 "value-2-of-the-disk-test"
begin
until_true 20 "three masters" all_there
grep -q "the ledger was damaged, so it is made anew" "$dir/m2/node.log" || fail "m2 doesn't notice"
expect 0 "value-2-of-the-disk-test" "$nexus" kv get key-2 --stale --endpoint "$(api_of m2)"

rotten=$(follower) before=$(pid_of "$(follower)")
rot "$rotten" "value-1-of-the-disk-test"
expect 69 "made anew" \
    "$nexus" kv get key-1 --stale --patience 1 --endpoint "$(api_of "$rotten")"
expect 0 "value-1-of-the-disk-test" "$nexus" kv get key-1
write_some
another() { [ "$(pid_of "$rotten")" != "$before" ]; }
until_true 20 "$rotten ends and comes back" another
until_true 30 "$rotten takes part" all_there
expect 0 "value-1-of-the-disk-test" "$nexus" kv get key-1 --stale --endpoint "$(api_of "$rotten")"
