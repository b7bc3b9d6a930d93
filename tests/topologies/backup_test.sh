#!/usr/bin/env bash
# A backup, and clusters made out of it: all masters from the same file; or one, which others join.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 3 --workers 1 --sites 1
endpoint_of() { grep -oE 'https://127.0.0.1:[0-9]+' "$dir/m1/master.yaml" | sed -n "${1#m}p"; }
for k in 1 2 3; do head -c 30000 /dev/urandom | base64 -w 0 >"$work/value" && "$nexus" kv put "key/$k" --file "$work/value" >/dev/null; done
"$nexus" kv put last word >/dev/null

# A backup, from any master; whole or not at all.
"$nexus" backup "$work/backup" >"$work/said"
grep -qE 'log index [0-9]+ of term [0-9]+, [0-9]+ bytes, whole' "$work/said" || fail "$(cat "$work/said")"
[ ! -e "$work/backup.part" ] || fail "a part of the backup is left"
expect 0 'whole' "$nexus" backup --check "$work/backup"
mkfifo "$work/pipe"
expect 65 'not a regular file' "$nexus" backup --force "$work/pipe"
expect 73 'is there already' "$nexus" backup "$work/backup"
head -c 100000 "$work/backup" >"$work/cut"
expect 65 'damaged' "$nexus" backup --check "$work/cut"
expect 65 'damaged' "$nexus" restore "$work/cut" --dir "$dir"
expect 73 'another node runs in this directory' "$nexus" restore "$work/backup" --dir "$dir"
"$nexus" kv put after backup >/dev/null
version_of() { "$nexus" kv list --json | tr '{' '\n' | grep "\"key\": *\"$1\"" | grep -oE '"version": *[0-9]+' | grep -oE '[0-9]+'; }
before=$(version_of after)

# All masters' data are lost.
"$nexus" down --dir "$dir" >/dev/null
expect 73 'move it away' "$nexus" restore "$work/backup" --dir "$dir"
rm -rf "$dir"/m?/log "$dir"/m?/ledger
"$nexus" restore "$work/backup" --dir "$dir" | grep -q 'm3 goes on at log index' || fail "restore"
start_cluster --masters 3 --workers 1 --sites 1
expect 0 '^word$' "$nexus" kv get last
expect 66 'there is no key' "$nexus" kv get after
"$nexus" kv put after restore >/dev/null
[ "$(version_of after)" -gt "$before" ] || fail "versions went back: $(version_of after) after $before"
alive() { "$nexus" worker list --json | grep -qE '"alive": *true'; }
until_true 30 "the worker is back" alive
printf 'name: again\ncommand: [sh, -c, "echo again"]\nresources: {cpu: 0.1}\n' >"$work/again.yaml"
"$nexus" job submit "$work/again.yaml" --wait >/dev/null
for i in 1 2 3; do "$nexus" kv put "round/$i" x >/dev/null; done

# Lost once more: one master is made out of the backup, and another one joins it. What that needs is
# in no log any more: it comes by a copy.
"$nexus" down --dir "$dir" >/dev/null
rm -rf "$dir"/m?/log "$dir"/m?/ledger
api() { endpoint_of "$1" </dev/null; }
link() { sed -n 's/^bind: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$dir/$1/master.yaml"; }
key() { "$nexus" key "$dir/$1/node.key"; }
m1_api=$(api m1) m2_api=$(api m2)
peer() { printf '  - {name: %s, key: "%s", endpoint: "%s", api: "%s"}\n' "$1" "$(key "$1")" "$(link "$1")" "$2"; }
for m in m1 m2; do
    { sed '/^masters:/,/^[a-z]/{/^masters:/d;/^ /d}' "$dir/$m/master.yaml"
      echo "masters:"; peer m1 "$m1_api"; [ $m = m1 ] || { peer m2 "$m2_api"; echo "join: true"; }; } >"$work/$m.yaml"
done
"$nexus" restore "$work/backup" --config "$work/m1.yaml" | grep -q 'm1 goes on at log index' || fail "restore m1"
"$nexus" master --config "$work/m1.yaml" & one=$!
"$nexus" master --config "$work/m2.yaml" & two=$!
trap 'status=$?; set +e; kill "$one" "$two" 2>/dev/null; (exit $status); finish' EXIT
export NEXUS_API_ENDPOINT=$m1_api
until_true 20 "m1 leads" "$nexus" kv put alone x
expect 0 '' "$nexus" master add m2 --key "$(key m2)" --link "$(link m2)" --api "$m2_api" --wait 60
grep -q "a copy of the ledger was fetched" "$dir/m2/node.log" || fail "m2 did not come by a copy"
expect 0 '^word$' "$nexus" kv get last --endpoint "$m2_api" --stale
"$nexus" kv put both x >/dev/null
kill "$one" "$two"
wait "$one" "$two" || true
