#!/usr/bin/env bash
# Five masters, each a process in a network namespace of its own, under kill -9, SIGSTOP, partitions
# (whole and one-way), slow and failing disks and a full one, while clients write and read. Then all
# is healed: everybody has to agree, and what the clients saw must be linearizable.
#
#   chaos_test.sh BUILD [SECONDS [SEED]]     default: 40 s, a seed of its own, which it prints
#   CHAOS_KEEP=DIR chaos_test.sh ...         leaves the logs, the faults and the history there
if [ "${CHAOS_INSIDE:-}" != yes ]; then
    if ! unshare -Urnm sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link add br0 type bridge' 2>/dev/null; then
        echo "skipped: this kernel has no user namespaces with networks, or ip (iproute2) is missing"
        exit 77
    fi
    exec env CHAOS_INSIDE=yes unshare -Urnm "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
seconds=${2:-40}
seed=${3:-$RANDOM}
RANDOM=$seed
masters=(1 2 3 4 5)
echo "chaos: $seconds s, seed $seed"

# ---- hosts: m1 to m5 are 10.77.0.1 to .5, the clients .254 ------------------------------------
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add br0 type bridge
ip addr add 10.77.0.254/24 dev br0
ip link set br0 up
for i in "${masters[@]}"; do
    ip netns add "m$i"
    ip link add "v$i" type veth peer name eth0 netns "m$i"
    ip link set "v$i" master br0 up
    ip -n "m$i" addr add "10.77.0.$i/24" dev eth0
    ip -n "m$i" link set eth0 up
    ip -n "m$i" link set lo up
done

# ---- masters ----------------------------------------------------------------------------------
mkdir -p "$dir"
chmod 700 "$dir"
"$nexus" root "$dir/root.key" >/dev/null
token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
listed=""
for i in "${masters[@]}"; do
    mkdir -m 700 "$dir/m$i"
    # One of them has a small file system, to be filled.
    [ "$i" != 5 ] || mount -t tmpfs -o size=512m,mode=700 tmpfs "$dir/m5"
    key=$("$nexus" key "$dir/m$i/node.key" | grep -oE '[0-9a-f]{64}')
    echo "$(printf %s "$token" | b2sum -l 256 | cut -d' ' -f1) chaos admin" >"$dir/m$i/api-tokens"
    chmod 600 "$dir/m$i/api-tokens"
    listed+="  - {name: m$i, key: $key, endpoint: 'tcp://10.77.0.$i:7400', api: 'https://10.77.0.$i:7443'}"$'\n'
done
for i in "${masters[@]}"; do
    cat >"$dir/m$i.yaml" <<YAML
name: m$i
dir: $dir/m$i
bind: tcp://10.77.0.$i:7400
root: $dir/root.key
snapshot_entries: 500
snapshot_seconds: 0
api: {bind: 10.77.0.$i, port: 7443}
masters:
$listed
YAML
done

# The library between a master and its disk; AddressSanitizer wants to be the first.
faults=$build/tests/libnexus_faults.so
if grep -q __asan_init "$nexus"; then faults=; fi

# Runs a master, again whenever it ends, until $work/over is there.
keep_running() {
    while [ ! -e "$work/over" ]; do
        NEXUS_FAULTS=$work/faults.$1 ip netns exec "m$1" \
            env ${faults:+LD_PRELOAD="$faults"} "$nexus" master --config "$dir/m$1.yaml" \
            >>"$dir/m$1.log" 2>&1 || true
        sleep 0.3
    done
}
for i in "${masters[@]}"; do
    : >"$work/faults.$i"
    keep_running "$i" 2>/dev/null &
done
pid() { cat "$dir/m$1/node.lock" 2>/dev/null || true; }
chaos_end() {
    local status=$?
    touch "$work/over"
    for i in "${masters[@]}"; do
        kill -CONT "$(pid "$i")" 2>/dev/null || true
        kill -9 "$(pid "$i")" 2>/dev/null || true
    done
    if [ $status != 0 ]; then
        for i in "${masters[@]}"; do echo "--- m$i"; tail -15 "$dir/m$i.log"; done
        tail -5 "$work/chaos.log" 2>/dev/null
        if [ -s "$work/history" ]; then cp "$work/history" "$build/chaos-$seed.history"; fi
    fi
    if [ -n "${CHAOS_KEEP:-}" ]; then
        mkdir -p "$CHAOS_KEEP" && cp "$dir"/m?.log "$work"/{chaos.log,clients.out,history} "$CHAOS_KEEP"
    fi
    wait
    umount "$dir/m5" 2>/dev/null || true
    rm -rf "$work"
    exit $status
}
trap chaos_end EXIT

certified() { for i in "${masters[@]}"; do [ -s "$dir/m$i/api-cert.pem" ] || return 1; done; }
until_true 30 "all masters have a certificate" certified
cat "$dir"/m?/api-cert.pem >"$dir/authority.pem"
cat >"$dir/client.yaml" <<YAML
endpoints: [https://10.77.0.1:7443, https://10.77.0.2:7443, https://10.77.0.3:7443, https://10.77.0.4:7443, https://10.77.0.5:7443]
token: $token
authority: $dir/authority.pem
YAML
chmod 600 "$dir/client.yaml"
until_true 30 "a first write" "$nexus" kv put began yes

# ---- faults: each of them heals itself -----------------------------------------------------------
replace() { printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"; }
leader_number() { local name; name=$(timeout 2 "$nexus" status --json --stale 2>/dev/null | field leader || true); echo "${name#m}"; }
choose() { # the leader in two cases of five
    on=
    if [ $((RANDOM % 5)) -lt 2 ]; then on=$(leader_number); fi
    case $on in [1-5]) ;; *) on=$((1 + RANDOM % 5)) ;; esac
}

fault_kill() { kill -9 "$(pid "$1")" 2>/dev/null || true; sleep 1; }
fault_two_kills() {
    kill -9 "$(pid "$1")" 2>/dev/null || true
    fault_kill $((1 + $1 % 5))
}
fault_stop() {
    local stopped
    stopped=$(pid "$1")
    kill -STOP "$stopped" 2>/dev/null || return 0
    sleep "$((1 + RANDOM % 3)).5"
    kill -CONT "$stopped" 2>/dev/null || true
}
fault_isolate() { ip link set "v$1" down; sleep $((1 + RANDOM % 3)); ip link set "v$1" up; }
fault_split() { # two against three, clients reach both sides
    local a=$1 b=$((1 + $1 % 5)) i
    for i in "${masters[@]}"; do
        [ "$i" = "$a" ] || [ "$i" = "$b" ] || for j in $a $b; do
            ip -n "m$i" route add blackhole "10.77.0.$j/32"
            ip -n "m$j" route add blackhole "10.77.0.$i/32"
        done
    done
    sleep 3
    for i in "${masters[@]}"; do ip -n "m$i" route flush type blackhole; done
}
fault_one_way() { # the others' packets arrive, its own don't
    local i
    for i in "${masters[@]}"; do [ "$i" = "$1" ] || ip -n "m$1" route add blackhole "10.77.0.$i/32"; done
    sleep $((1 + RANDOM % 3))
    ip -n "m$1" route flush type blackhole
}
fault_slow_disk() {
    replace "$work/faults.$1" "$dir/m$1/* flush stall=$((50 + RANDOM % 400))"
    sleep 2
    replace "$work/faults.$1" ""
}
fault_bad_disk() {
    local call=write
    if [ $((RANDOM % 2)) = 0 ]; then call=flush; fi
    replace "$work/faults.$1" "$dir/m$1/* $call eio after=$((RANDOM % 20)) times=1"
    sleep 2
    replace "$work/faults.$1" ""
}
fault_full_disk() {
    dd if=/dev/zero of="$dir/m5/filler" bs=1M >/dev/null 2>&1 || true
    sleep 2
    rm -f "$dir/m5/filler"
}
kinds=(kill kill two_kills stop isolate split one_way full_disk)
if [ -n "$faults" ]; then kinds+=(slow_disk bad_disk); fi

"$build/tests/chaos_client" --dir "$dir" --history "$work/history" --seconds "$seconds" --seed "$seed" \
    --patience 5 --pause 10 >"$work/clients.out" &
clients=$!
end=$((SECONDS + seconds - 3))
while [ $SECONDS -lt $end ]; do
    kind=${kinds[RANDOM % ${#kinds[@]}]}
    choose
    echo "$(date -u +%T.%3N) $kind m$on" >>"$work/chaos.log"
    "fault_$kind" "$on"
    sleep "0.$((RANDOM % 10))"
done

# ---- rest --------------------------------------------------------------------------------------
for i in "${masters[@]}"; do
    ip link set "v$i" up
    ip -n "m$i" route flush type blackhole
    replace "$work/faults.$i" ""
    kill -CONT "$(pid "$i")" 2>/dev/null || true
done
wait "$clients" || fail "the clients: $(cat "$work/clients.out")"
cat "$work/clients.out"
"$nexus" kv put ended yes --patience 30 >/dev/null || fail "no write is possible after all is healed"
entries() { timeout 5 "$nexus" kv list --stale --json --endpoint "https://10.77.0.$1:7443" --patience 1; }
agree() { local i; for i in "${masters[@]}"; do [ "$(entries "$i" | grep -oE '"entries".*')" = "$(entries 1 | grep -oE '"entries".*')" ] || return 1; done; entries 1 | grep -q ended; }
until_true 30 "all five masters hold the same" agree
"$nexus" check-history "$work/history" || fail "what the clients saw is not linearizable (seed $seed)"
answered=$(grep -oE '^[0-9]+' "$work/clients.out")
[ "$answered" -ge $((seconds * 5)) ] || fail "only $answered operations were answered: that proves little"
echo "faults: $(cut -d' ' -f2 "$work/chaos.log" | sort | uniq -c | awk '{printf "%s%d %s", (NR > 1 ? ", " : ""), $1, $2}')"
