# What the topology tests share: a cluster of real processes in a directory of its own.
#   . lib.sh; start_cluster [OPTIONS of nexus up]
# Sourced with $1 = build directory. Everything is stopped and removed at exit.
set -euo pipefail

build=$(cd "$1" && pwd)
nexus=$build/nexus
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/nexus-test-XXXXXX")
dir=$work/cluster
export NEXUS_DIR=$dir NO_COLOR=1
unset NEXUS_API_ENDPOINT LOOMOS_API_ENDPOINT

finish() {
    local status=$?
    if [ $status != 0 ] && [ $status != 77 ]; then
        for log in "$dir"/*/node.log "$dir"/supervisor.log; do
            [ -s "$log" ] && { echo "--- $log"; tail -25 "$log"; }
        done
    fi
    "$nexus" down --dir "$dir" >/dev/null 2>&1 || true
    rm -rf "$work"
    exit $status
}
trap finish EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# expect STATUS TEXT COMMAND...: the command ends with that status and says that text (extended
# regular expression) on either stream.
expect() {
    local status=$1 text=$2 got=0 output
    shift 2
    output=$("$@" 2>&1) || got=$?
    [ "$got" = "$status" ] || fail "$*: exit status $got, expected $status: $output"
    grep -qE -- "$text" <<<"$output" || fail "$*: expected \"$text\", got: $output"
}

# until_true SECONDS WHAT COMMAND...: repeats the command until it succeeds.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited in vain for: $what"
        sleep 0.1
    done
}

start_cluster() { "$nexus" up --dir "$dir" --port 0 --detach "$@"; }

# The first value of a field in a JSON document on standard input.
field() { grep -oE "\"$1\": ?(\"[^\"]*\"|-?[0-9.]+|true|false)" | head -1 | sed -E 's/^"[^"]*": ?//; s/"//g'; }
leader() { "$nexus" status --json | field leader; }
phase() { "$nexus" job show "$1" --json | field phase; }
pid_of() { cat "$dir/$1/node.lock"; }
