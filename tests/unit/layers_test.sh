#!/usr/bin/env bash
# Dependencies point downward, and actors include no other actor's header.
set -euo pipefail
cd "$(dirname "$0")/../.."
bad=0
check() { # DIRECTORY PATTERN: no file there may include that
    local found
    if found=$(grep -rnE "#include +\"($2)/" "$1" --include='*.[ch]'); then
        echo "$found"
        bad=1
    fi
}
check runtime 'transport|storage|actors|bindings|cli'
check transport 'storage|actors|bindings|cli'
check storage 'transport|actors|bindings|cli'
check actors 'bindings|cli'
check bindings 'cli'
for actor in actors/*/; do
    name=$(basename "$actor")
    # protocol is what all share; node and simulation put the others together.
    case $name in node | protocol | simulation) continue ;; esac
    others=$(ls actors | grep -vE "^($name|protocol)$" | paste -sd'|')
    check "$actor" "actors/($others)"
done
check actors/protocol 'actors/(agent|aggregator|election|executor|gateway|ledger|node|registry|scheduler)'
exit $bad
