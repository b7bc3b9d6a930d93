#!/usr/bin/env bash
# The key-value store through real masters: a write on one is read on every other at once, a
# repeated request is done once whichever master gets it, and without a majority nothing is
# shown as fresh.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 3 --workers 0

api() { sed -n 's/^ *- *//p;s/^endpoints: *\[\(.*\)\]/\1/p' "$dir/client.yaml" | tr -d ' "' | tr ',' '\n' | sed -n "$1p"; }
token=$(sed -n 's/^token: *//p' "$dir/client.yaml" | tr -d '"')
authority=$(sed -n 's/^authority: *//p' "$dir/client.yaml" | tr -d '"')
on() { # MASTER PATH CURL-OPTIONS...: the body, or the status in front of the problem
    local url; url=$(api "$1")$2
    shift 2
    curl -sS --cacert "$authority" -H "Authorization: Bearer $token" "$@" "$url"
}
[ -n "$(api 3)" ] || fail "client.yaml names no three masters: $(cat "$dir/client.yaml")"

expect 0 "version [0-9]+" "$nexus" kv put jobs/a/addr "10.0.0.1:5000"
[ "$("$nexus" kv get jobs/a/addr)" = "10.0.0.1:5000" ] || fail "not what was put"

# Read your writes, and everybody's: whatever master takes the write, every other shows it at once.
for i in $(seq 1 30); do
    on $((i % 3 + 1)) /api/v1/kv/counter -X PUT --data-binary "$i" >/dev/null
    got=$(on $(((i + 1) % 3 + 1)) /api/v1/kv/counter)
    [ "$got" = "$i" ] || fail "write $i, read $got on another master"
done

# The same request on three masters is one write.
first=$(on 1 /api/v1/kv/once -X PUT -H "Idempotency-Key: k1" --data-binary x | field version)
on 2 /api/v1/kv/once -X PUT --data-binary y >/dev/null
for m in 1 2 3; do
    again=$(on $m /api/v1/kv/once -X PUT -H "Idempotency-Key: k1" --data-binary x | field version)
    [ "$again" = "$first" ] || fail "repeated on master $m it was version $again, not $first"
done
[ "$(on 3 /api/v1/kv/once)" = y ] || fail "a repeated request was done again"

printf 'name: one\ncommand: ["true"]\n' >"$work/one.yaml"
for m in 1 2 3 1; do
    on $m /api/v1/jobs -X POST -H "Idempotency-Key: j" -H "Content-Type: application/yaml" \
        --data-binary @"$work/one.yaml" | grep -q '"id":"one-1"' || fail "submitted twice on master $m"
done

# Only one of many wins.
expect 0 "version" "$nexus" kv put leader w1 --if-version 0
expect 75 "has version [0-9]+, not 0" "$nexus" kv put leader w2 --if-version 0
version=$("$nexus" kv list leader --json | field version)
expect 0 "version" "$nexus" kv put leader w3 --if-version "$version"
expect 0 "deleted" "$nexus" kv delete leader
expect 0 "no such key" "$nexus" kv delete leader
expect 66 "no key" "$nexus" kv get leader
expect 64 "a value, or --file" "$nexus" kv put leader

head -c 65536 /dev/urandom >"$work/large"
expect 0 "version" "$nexus" kv put "weird key/%2F?&#" --file "$work/large"
"$nexus" kv get "weird key/%2F?&#" | cmp - "$work/large" || fail "the value came back changed"
echo x >>"$work/large"
expect 65 "exceeds 65536" "$nexus" kv put k --file "$work/large"
expect 0 "jobs/a/addr +[0-9]+ +[0-9]+ +13" "$nexus" kv list jobs/

# A new leader: repeated requests are still the same ones.
old=$(leader)
kill -STOP "$(pid_of "$old")"
now=$(("${old#m}" % 3 + 1))
again=$(on $now /api/v1/kv/once -X PUT -H "Idempotency-Key: k1" --data-binary x --max-time 20 | field version)
[ "$again" = "$first" ] || fail "after a failover it was version $again, not $first"
[ "$(on $now /api/v1/kv/once)" = y ] || fail "done again after a failover"
"$nexus" kv put after failover >/dev/null
kill -CONT "$(pid_of "$old")"
# The one that was deposed must not show what it has as fresh.
[ "$(on "${old#m}" /api/v1/kv/after --max-time 20)" = failover ] || fail "$old showed an old state"

# Without a majority: no fresh answer; a stale one on demand.
kill -STOP "$(pid_of m2)" "$(pid_of m3)"
[ "$(on 1 /api/v1/kv/once -o /dev/null -w '%{http_code}' --max-time 20)" = 503 ] || fail "m1 alone answered"
[ "$(on 1 /api/v1/jobs -o /dev/null -w '%{http_code}' --max-time 20)" = 503 ] || fail "m1 alone answered"
[ "$(on 1 '/api/v1/kv/once?stale=true')" = y ] || fail "no stale answer"
expect 0 "one-1" "$nexus" job list --stale --endpoint "$(api 1)"
expect 69 "no majority" "$nexus" status --endpoint "$(api 1)"
expect 0 "Leader" "$nexus" status --stale --endpoint "$(api 1)"
expect 69 "no majority" "$nexus" backup "$work/backup" --endpoint "$(api 1)" --patience 1
expect 0 "everything up to log index" "$nexus" backup --stale "$work/backup" --endpoint "$(api 1)"
expect 0 "whole" "$nexus" backup --check "$work/backup"

# Those that hang hold up nobody for longer than he wants.
begun=$EPOCHREALTIME
expect 69 "timeout|timed out" "$nexus" kv get once --endpoint "$(api 2),$(api 3)" --patience 2
waited=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
[ $waited -ge 1500 ] && [ $waited -le 3500 ] || fail "a patience of 2 s took $waited ms"
expect 0 "one-1" "$nexus" job list --stale --endpoint "$(api 2),$(api 3),$(api 1)" --patience 2
kill -CONT "$(pid_of m2)" "$(pid_of m3)"
healed() { [ "$("$nexus" kv get once)" = y ]; }
until_true 20 "the cluster answers again" healed

# A key is what it says, not what a path would make of it.
for key in a/../b a/./b ../cluster/status "" a//b $'a\nb'; do
    expect 65 'KEY: ' "$nexus" kv put "$key" x
    expect 65 'KEY: ' "$nexus" kv get "$key"
done
expect 66 'there is no key' "$nexus" kv get b
expect 65 "if-version" "$nexus" kv put a x --if-version abc
