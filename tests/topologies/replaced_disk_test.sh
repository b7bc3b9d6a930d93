#!/usr/bin/env bash
# A master loses its disk and comes back empty under its key: it is refused, says so, and does no
# harm; removed and added again, it takes part as before.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 3 --workers 0 --sites 1
shows() { "$nexus" status --raft | grep -qE "$1"; }
until_true 10 "a leader" shows '^m[123] +leader'
"$nexus" kv put before 1 >/dev/null

lost=m1
[ "$(leader)" != m1 ] || lost=m2
kill -9 "$(pid_of $lost)"
rm -rf "$dir/$lost/log" "$dir/$lost/ledger"
until_true 20 "$lost is refused" shows "^$lost +refused"
grep -q "not the one that the others have on record" "$dir/$lost/node.log" || fail "$lost is silent"
grep -qh "comes with another log than is on record" "$dir"/m?/node.log || fail "the others are silent"
"$nexus" status --raft | grep -q "^$lost: its log is not" || fail "status doesn't say what to do"

# The two others are a majority; with one of them and the refused one nothing can be decided.
"$nexus" kv put while 2 >/dev/null
leading=$(leader)
terms() { "$nexus" status --json --stale | field term; }
term=$(terms)
sleep 1
[ "$(terms)" = "$term" ] && [ "$(leader)" = "$leading" ] || fail "$lost disturbs"

"$nexus" master list | grep -qE "^$lost .*refused" || fail "master list doesn't show it: $("$nexus" master list)"

api_of() { echo "https://127.0.0.1:$(sed -n 's/^  port: *//p' "$dir/$1/master.yaml")"; }
expect 69 "not the one that the others have on record" "$nexus" status --endpoint "$(api_of "$lost")"

# Whoever adds it as it is hears that this won't do.
key_of() { grep -A1 "name: $1\$" "$dir/$1/master.yaml" | grep -oE '[0-9a-f]{64}'; }
link_of() { sed -n 's/^bind: "\(.*\)"$/\1/p' "$dir/$1/master.yaml"; }
expect 73 "$lost is there already, and refused" \
    "$nexus" master add "$lost" --key "$(key_of "$lost")" --link "$(link_of "$lost")" --wait 5

# Removed, emptied, and let in again. nexus up restarts nodes that die: a changed configuration is
# read then.
replace() {
    "$nexus" master remove "$1" >/dev/null
    key=$(key_of "$1") link=$(link_of "$1")
    grep -q '^join: true' "$dir/$1/master.yaml" || sed -i '/^site:/a join: true' "$dir/$1/master.yaml"
    kill -9 "$(pid_of "$1")"
    rm -rf "$dir/$1/log" "$dir/$1/ledger" "$dir/$1/founders"
    sleep 0.2
    "$nexus" master add "$1" --key "$key" --link "$link" --wait 30 >/dev/null
}
head -c 60000 /dev/zero >"$work/large"
for i in $(seq 40); do "$nexus" kv put "large/$i" --file "$work/large" >/dev/null; done
replace "$lost"
until_true 10 "$lost takes part again" shows "^$lost +follower"
[ "$("$nexus" kv get before)$("$nexus" kv get while)" = 12 ] || fail "the store has forgotten something"

# Now it leads, and another one is replaced: that one reads in the log, piece by piece, of a time when
# the leader's log was another.
"$nexus" master transfer --to "$lost" >/dev/null
other=m3
[ "$lost" != m2 ] || other=m1
replace "$other"
until_true 10 "$other takes part again" shows "^$other +follower"
[ "$("$nexus" kv get before)" = 1 ] || fail "the store has forgotten something"

# One that makes its ledger anew reads in the log of its removal, which is long ago.
removals() { grep -c "this master was removed" "$dir/$other/node.log" || true; }
before=$(removals)
kill -9 "$(pid_of "$other")"
rm -rf "$dir/$other/ledger"
"$nexus" kv put after 3 >/dev/null
api=https://127.0.0.1:$(sed -n 's/^  port: *//p' "$dir/$other/master.yaml")
has_it() { [ "$("$nexus" kv get after --stale --endpoint "$api")" = 3 ]; }
until_true 20 "$other makes its ledger anew" has_it
[ "$(removals)" = "$before" ] || fail "$other takes its removal, which is long ago, for news"

# An older copy of its own directory: what it acknowledged since is lost. It ends, and says so.
kill -STOP "$(pid_of "$other")"
cp -a "$dir/$other/log" "$work/log"
cp -a "$dir/$other/ledger" "$work/ledger"
kill -CONT "$(pid_of "$other")"
until_true 10 "$other takes part again" shows "^$other +follower"
for i in $(seq 5); do "$nexus" kv put "since/$i" 4 >/dev/null; done
api_has_it() { [ "$("$nexus" kv get since/5 --stale --endpoint "$api")" = 4 ]; }
until_true 10 "$other has what was written since" api_has_it
kill -9 "$(pid_of "$other")"
rm -rf "$dir/$other/log" "$dir/$other/ledger"
mv "$work/log" "$work/ledger" "$dir/$other/"
says_so() { grep -q "this master acknowledged entry [0-9]*, and its log ends before it" "$dir/$other/node.log"; }
until_true 20 "$other says that its directory is an older copy" says_so
[ "$("$nexus" kv get since/5)" = 4 ] || fail "the store has forgotten something"
