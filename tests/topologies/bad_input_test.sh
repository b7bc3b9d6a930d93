#!/usr/bin/env bash
# Bad input: one clear message that names file, line and field, and an exit status that means
# something.
. "$(dirname "$0")/lib.sh"

# Before there is a cluster.
expect 64 "did you mean \"nexus status\"" "$nexus" statsu
expect 64 "unknown option|no option" "$nexus" status --colour
expect 66 "client.yaml" "$nexus" status --dir "$work/nowhere" --patience 1
expect 65 "masters" "$nexus" up --masters 0 --dir "$dir"
expect 64 "config" "$nexus" master
expect 66 "No such file" "$nexus" master --config "$work/missing.yaml"
printf 'name: m1\ndir: %s\nbnid: tcp://127.0.0.1:1\nmasters: []\nroot: 7\nelection_ms: soon\n' "$work/m" >"$work/m.yaml"
expect 65 "m.yaml:3: bnid: .*did you mean .bind" "$nexus" master --config "$work/m.yaml"
expect 65 "m.yaml:6: election_ms" "$nexus" master --config "$work/m.yaml"
expect 74 "can't make the directory|can't write" "$nexus" up --dir "/proc/nexus" --detach
if [ "$(id -u)" != 0 ]; then
    mkdir -m 555 "$work/readonly"
    expect 74 "readonly" "$nexus" up --dir "$work/readonly/x" --detach
fi

# A port in use.
python3 -c "
import socket, time
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(1)
print(s.getsockname()[1], flush=True); time.sleep(30)" >"$work/port" &
holder=$!
until_true 5 "a held port" test -s "$work/port"
expect 73 "port $(cat "$work/port") of 127.0.0.1 is in use" "$nexus" up --port "$(cat "$work/port")" --dir "$dir" --detach
kill $holder

start_cluster --masters 1 --workers 1 --sites 1
expect 73 "runs already" "$nexus" up --masters 1 --workers 1 --sites 1 --dir "$dir"

# Job files.
submit() { expect "$1" "$2" "$nexus" job submit "$work/job.yaml"; }
printf 'name: x\ncomand: [a]\n' >"$work/job.yaml"
submit 65 "job.yaml:2: comand: .*did you mean .command"
printf 'name: x\ncommand: a b\n' >"$work/job.yaml"
submit 65 "job.yaml:2: command: .*list"
printf 'name: x\ncommand: [a]\nresources: {cpu: many}\n' >"$work/job.yaml"
submit 65 "job.yaml:3: resources.cpu: "
printf 'name: X Y\ncommand: [a]\n' >"$work/job.yaml"
submit 65 "job.yaml:1: name: .*lower-case"
printf 'command: [a]\n' >"$work/job.yaml"
submit 65 "name: .*(required|missing)"
printf 'name: x\ncommand: [a]\ngang: {min: 4, max: 2}\n' >"$work/job.yaml"
submit 65 "job.yaml:3: gang.max"
printf 'name: [\n' >"$work/job.yaml"
submit 65 "job.yaml:"
expect 66 "No such file" "$nexus" job submit "$work/no.yaml"
expect 66 "no job \"nothing-1\"" "$nexus" job show nothing-1
expect 66 "no job \"nothing-1\"" "$nexus" job logs nothing-1
expect 66 "no worker" "$nexus" worker drain w9
expect 77 "token|denied|401" "$nexus" status --token wrong

# A worker with a token that is used up.
mkdir "$work/thief"
cp "$dir/w1/join-token" "$work/thief/token"
sed -e "s|name: w1|name: thief|" -e "s|$dir/w1|$work/thief|g" -e "s|join-token|token|" -e '/^log/,$d' \
    "$dir/w1/worker.yaml" >"$work/thief/worker.yaml"
expect 77 "used up" timeout 40 "$nexus" worker --config "$work/thief/worker.yaml"

# A cluster that is there is not moved to other ports.
"$nexus" down --dir "$dir" >/dev/null
expect 73 "whose first port is" "$nexus" up --port 1 --dir "$dir"

# Addresses that would be something else than what they look like.
bad_address() { # WHAT IS SAID, SED COMMAND
    sed "$2" "$dir/m1/master.yaml" >"$work/bad.yaml"
    expect 65 "$1" timeout 20 "$nexus" master --config "$work/bad.yaml"
}
bad_address 'bind: expected tcp://ADDRESS:PORT' 's#^bind: .*#bind: "tcp://127.0.0.1:99999"#'
bad_address 'bind: expected tcp://ADDRESS:PORT' 's#^bind: .*#bind: "tcp://127.0.0.1:254x02"#'
bad_address 'bind: expected tcp://ADDRESS:PORT' 's#^bind: .*#bind: "tcp://localhost:25402"#'
bad_address 'masters.0..endpoint: expected tcp://HOST:PORT' 's#^    endpoint: .*#    endpoint: "http://m1"#'
bad_address 'masters.0..api: expected https://HOST:PORT' 's#^    api: .*#    api: "127.0.0.1:1"#'
other='  - {name: m1, key: "'$(printf '%064d' 7)'", endpoint: "tcp://127.0.0.1:9"}'
bad_address "masters.1..name: that is masters.0.'s as well" "/^masters:/,/^root/s#^root#$other\nroot#"

# The only founder of a cluster that has lost its log: it must not found another one.
rm -rf "$dir/m1/log" "$dir/m1/ledger" "$dir/m1/founders"
expect 65 "node.key has had a Raft log" timeout 20 "$nexus" master --config "$dir/m1/master.yaml"
