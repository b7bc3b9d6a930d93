#!/usr/bin/env bash
# Masters come and go while a client writes: 1 becomes 3 becomes 5, a killed one is replaced by a new
# machine, the leader is removed, leadership is transferred, a leading master is stopped. Nothing
# acknowledged is lost, and the worker finds them all.
. "$(dirname "$0")/lib.sh"
start_cluster --masters 1 --workers 1

free_port() { # no tool for it: bash can only try to connect
    local port
    while :; do
        port=$((10000 + RANDOM % 22000)) # the kernel lends those above to whoever connects
        (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo $port; return; }
    done
}
started=()
stop_started() {
    local status=$?
    touch "$work/enough"
    for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    set +e # or this very line would end it
    (exit $status)
    finish
}
trap stop_started EXIT

# machine NAME: a directory, a key, a configuration; run NAME starts it, add NAME lets it in.
declare -A key link api
machine() {
    local name=$1
    mkdir -m 700 "$dir/$name"
    key[$name]=$("$nexus" key "$dir/$name/node.key")
    link[$name]=tcp://127.0.0.1:$(free_port)
    api[$name]=https://127.0.0.1:$(free_port)
    cp "$dir"/m1/{api-tokens,api-cert.pem,api-key.pem} "$dir/$name/"
    cat >"$dir/$name/master.yaml" <<YAML
name: $name
dir: $dir/$name
bind: "${link[$name]}"
join: true
root: $dir/root.key
masters:
$(sed -n '/^  - name/,/^    api/p' "$dir/m1/master.yaml")
  - {name: $name, key: "${key[$name]}", endpoint: "${link[$name]}", api: "${api[$name]}"}
api: {port: ${api[$name]##*:}}
log: {file: $dir/$name/node.log}
YAML
}
run() {
    "$nexus" master --config "$dir/$1/master.yaml" &
    started+=($!)
    disown
}
add() { "$nexus" master add "$1" --key "${key[$1]}" --link "${link[$1]}" --api "${api[$1]}" "${@:2}"; }
voters() { "$nexus" master list --json | tr '{' '\n' | grep -c '"role": *"voter"'; }
has_voters() { [ "$(voters)" = "$1" ]; }
pid() { head -1 "$dir/$1/node.lock"; }
know_all_apis() { # the client asks whoever is there
    { echo "endpoints:"; for a in "$@"; do echo "  - $a"; done; grep -v '^endpoints\|^  -' "$dir/client.yaml"; } >"$work/client.yaml"
    mv "$work/client.yaml" "$dir/client.yaml"
}
api1=$(sed -n 's/^    api: *//p' "$dir/m1/master.yaml" | tr -d '"')
for m in m2 m3 m4 m5 m6; do machine $m; done
know_all_apis "$api1" "${api[@]}"

# The client: counts up, and notes what was acknowledged.
writer() {
    local i=0
    while [ ! -e "$work/enough" ]; do
        i=$((i + 1))
        "$nexus" kv put "written/$i" "$i" --patience 30 >/dev/null 2>>"$work/writer.log" && echo $i >>"$work/written"
    done
}
writer &
writer=$!
started+=($writer)

# Whoever waits is nobody; who was not let in is told what to do.
run m2
until_true 10 "m2 waits" grep -q "waits to be let in" "$dir/m2/node.log"
expect 69 "has not been let in yet: nexus master add" "$nexus" status --endpoint "${api[m2]}"
expect 66 'there is no master "m2"' "$nexus" master promote m2
expect 65 "64 hex digits" "$nexus" master add m2 --key 12 --link "${link[m2]}"
expect 65 "expected tcp://HOST:PORT" "$nexus" master add m2 --key "${key[m2]}" --link nowhere
expect 65 "expected tcp://HOST:PORT" "$nexus" master add m2 --key "${key[m2]}" --link "tcp://*:7400"
has_voters 1 || fail "m2 votes"

# 1 becomes 3 becomes 5.
expect 0 "m2 is a learner" add m2 --learner
has_voters 1 || fail "a learner votes"
promoted() { "$nexus" master promote m2; }
until_true 20 "m2 has caught up" promoted
run m3
expect 0 "m3 is a voter" add m3
kill -9 "$(pid m2)" # it will miss what comes now
run m4
run m5
expect 0 "m4 is a voter" add m4
expect 0 "m5 is a voter" add m5
has_voters 5 || fail "$("$nexus" master list)"
expect 0 "m5 is a voter" add m5 # asked again

# m2 comes back under a leader that it has never heard of: the others tell it.
expect 0 "m5 leads" "$nexus" master transfer --to m5
run m2
follows() { "$nexus" master list | grep -qE '^m2 +voter +follower'; }
until_true 20 "m2 follows m5" follows

# A learner that nobody has started is no voter.
expect 0 "m6 is a learner" add m6 --learner
expect 0 "m6 is there already, with --link ${link[m6]} --api ${api[m6]}, and keeps that" \
    "$nexus" master add m6 --key "${key[m6]}" --link tcp://127.0.0.1:1 --learner
expect 75 "m6 has not answered yet" "$nexus" master promote m6
expect 0 "m6 is removed" "$nexus" master remove m6

# Leadership goes where it is sent.
expect 0 "m4 leads" "$nexus" master transfer --to m4
[ "$(leader)" = m4 ] || fail "m4 doesn't lead"
expect 0 "m4 leads" "$nexus" master transfer --to m4 # asked again

# A machine dies; another one takes its place.
kill -9 "$(pid m3)"
expect 0 "m3 is removed" "$nexus" master remove m3
run m6
expect 0 "m6 is a voter" add m6
has_voters 5 || fail "$("$nexus" master list)"

# The leader is removed: another one takes over, and the removed one is of no use.
old=$(leader)
lines=$(wc -l <"$dir/$old/node.log")
expect 0 "$old is removed" "$nexus" master remove "$old"
[ "$(leader)" != "$old" ] || fail "$old leads still"
has_voters 4 || fail "$("$nexus" master list)"
# It hears of it, unless the new leader decided before it had the ear of the old one.
hears() { tail -n +$((lines + 1)) "$dir/$old/node.log" | grep -qE "was removed from the cluster|peer refused our key"; }
until_true 5 "$old hears of it" hears
api_of() { echo "https://127.0.0.1:$(sed -n 's/^ *port: *//p;s/^api: {port: \([0-9]*\)}/\1/p' "$dir/$1/master.yaml" | head -1)"; }
kill -9 "$(pid "$old")"
run "$old" # it knows by itself
ready() { curl -s --cacert "$dir/m1/api-cert.pem" "$(api_of "$old")/readyz"; }
outside() { ready | grep -q "none of the cluster's"; }
until_true 10 "$old says that it is outside" outside
kill -9 "$(pid "$old")"

# A leading master that is stopped hands over first.
old=$(leader)
stopped=$(pid "$old")
kill -TERM "$stopped"
other_leads() { local now; now=$(leader) && [ -n "$now" ] && [ "$now" != "$old" ]; }
until_true 10 "another leader" other_leads
gone() { ! kill -0 "$stopped" 2>/dev/null; }
until_true 10 "$old has stopped" gone
run "$old"

# Of four, one hangs. One more may go; but then two could decide nothing: refused.
whole() { ! "$nexus" master list --json | grep -q '"state": *"unknown"'; }
until_true 20 "$old is back" whole
mapfile -t down < <("$nexus" master list --json | tr '{' '\n' | grep '"state": *"follower"' | sed 's/.*"name": *"\([^"]*\)".*/\1/')
kill -STOP "$(pid "${down[0]}")"
sleep 2
expect 0 "is removed" "$nexus" master remove "${down[1]}"
expect 75 "too few answer now" "$nexus" master remove "${down[2]}"
kill -CONT "$(pid "${down[0]}")"

# One that would sign with another root key is named, by itself and by the others.
machine m8
"$nexus" root "$dir/m8/root.key" >/dev/null
sed -i "s#^root: .*#root: $dir/m8/root.key#" "$dir/m8/master.yaml"
run m8
expect 0 "m8 is a learner" add m8 --learner
until_true 10 "m8 says that its root is another one" grep -q "another root key" "$dir/m8/node.log"
until_true 10 "the others say so" grep -q "another root key" "$dir/$(leader)/node.log"
expect 0 "m8 is removed" "$nexus" master remove m8

# A machine that was set up to found a cluster of its own is not listened to.
machine m7
sed -i '/^join/d' "$dir/m7/master.yaml"
run m7
until_true 10 "m7 founds" grep -q "founds a cluster" "$dir/m7/node.log"
expect 69 "not founded.*: another master was set up|not founded yet: .* must be up once" \
    "$nexus" status --endpoint "${api[m7]}"
expect 0 "No leader is known to m7: the cluster is not founded" \
    "$nexus" status --raft --endpoint "${api[m7]}"

touch "$work/enough"
wait $writer || true
[ -s "$work/written" ] || fail "nothing was written: $(tail -3 "$work/writer.log")"
"$nexus" kv list written/ --limit 1000 --json >"$work/kept" || fail "the entries can't be read"
count=$(wc -l <"$work/written")
while read -r i; do
    [ "$("$nexus" kv get "written/$i")" = "$i" ] || fail "acknowledged, and lost: $i of $count"
done < <(shuf -n 60 "$work/written")
echo "$count writes were acknowledged, none is lost"

# The worker has followed.
grep -q "name: m6" "$dir/w1/masters" || fail "the worker doesn't know m6: $(cat "$dir/w1/masters")"
grep -q "name: m3" "$dir/w1/masters" && fail "the worker remembers m3"
until_true 20 "the worker is there" sh -c "'$nexus' worker list --json | grep -q '\"alive\": *true'"
