#!/usr/bin/env bash
# Copies of the ledger between real processes: a master that is killed again and again while it
# fetches one; a loss of power.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 3 --workers 1 --sites 1
"$nexus" down --dir "$dir" >/dev/null
for i in 1 2 3; do
    sed -i '/^snapshot_/d' "$dir/m$i/master.yaml"
    printf 'snapshot_entries: 150\nsnapshot_seconds: 0\nsnapshot_mib_per_second: 1\n' >>"$dir/m$i/master.yaml"
done
start_cluster --masters 3 --workers 1 --sites 1

# Values of 60,000 bytes, so that a copy is large and takes a while, and memory holds few of them.
head -c 45000 /dev/urandom | base64 -w 0 >"$work/value"
put() { "$nexus" kv put "$1" --file "$work/value" >/dev/null; }
get() { "$nexus" kv get "$1" >"$work/got" && cmp -s "$work/got" "$work/value"; }
one_by_one() { for k in $(seq "$1" "$2"); do put "key/$((k % 120))" || return 1; done; }
one_by_one 1 5

endpoint_of() { grep -oE 'https://127.0.0.1:[0-9]+' "$dir/m1/master.yaml" | sed -n "${1#m}p"; }

# m3 (or whoever follows) is away while the others write and compact their logs.
follower() { for i in 1 2 3; do [ "m$i" != "$(leader)" ] && { echo "m$i"; return; }; done; }
away=$(follower)
others=$(for i in 1 2 3; do [ "m$i" = "$away" ] || endpoint_of "m$i"; done | paste -sd,)
export NEXUS_API_ENDPOINT=$others
kill -STOP "$(pid_of "$away")"
for part in 0 1 2 3; do one_by_one $((part * 120)) $((part * 120 + 119)) & done
wait
fetched() { grep -c "a copy of the ledger was fetched" "$dir/$away/node.log" || true; }
compacted() { grep -q "." "$dir/$(leader)/ledger/snapshot"; }
until_true 20 "a copy on the leader" compacted
sleep 2

# It comes back, and is killed in the middle of it, three times; each time it goes on.
kill -CONT "$(pid_of "$away")"
unset NEXUS_API_ENDPOINT
for round in 1 2 3; do
    until_true 30 "a part of the copy" sh -c "[ -s '$dir/$away/ledger/fetch' ] || grep -q 'was fetched' '$dir/$away/node.log'"
    sleep 0.7
    kill -9 "$(pid_of "$away")" 2>/dev/null || true
    sleep 1.5
done
applied_of() { "$nexus" status --json | tr '{' '\n' | grep "\"name\": *\"$1\"" | grep -oE '"applied": *[0-9]+' | grep -oE '[0-9]+'; }
caught_up() { [ "$(applied_of "$away")" = "$(applied_of "$(leader)")" ]; }
until_true 60 "$away has caught up" caught_up
[ "$(fetched)" -ge 1 ] || fail "$away never fetched a copy"
begun=$(grep -c "a copy of the ledger is fetched" "$dir/$away/node.log")
[ "$begun" -le 2 ] || fail "$away began to fetch $begun times: it did not go on where it was"
[ ! -e "$dir/$away/ledger/fetch" ] || fail "what was fetched is still lying about"

# All lose their power: nothing that was flushed for the ledger's sake is there.
"$nexus" kv put last word >/dev/null
"$nexus" down --dir "$dir" >/dev/null
for i in 1 2 3; do echo "a 00000000-another-boot" >"$dir/m$i/ledger/valid"; done
start_cluster --masters 3 --workers 1 --sites 1
expect 0 '^word$' "$nexus" kv get last
until_true 10 "a value" get key/77
grep -q "begins from its last copy" "$dir/m1/node.log" || fail "m1 does not say that its ledger was made anew"
