#!/usr/bin/env bash
# docs/reference.md is what the code's tables say and its links lead somewhere; protocol.md shows the
# frame that the code makes, operations.md names every metric, and links between pages lead to files.
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

shown=$(sed -n '/^```frame$/,/^```$/p' docs/protocol.md | grep -v '^```' | cut -d' ' -f1 | tr -d '\n')
[ "frame $shown" = "$(grep '^frame ' tests/unit/golden.txt)" ] ||
    { echo "docs/protocol.md: the frame is not that of golden.txt"; bad=1; }

for metric in $(grep -rhoE '"nexus_[a-z_]+"' --include='*.c' actors transport storage runtime | tr -d '"' | sort -u); do
    grep -q "$metric" docs/operations.md || { echo "docs/operations.md: nothing about $metric"; bad=1; }
done

for page in README.md CONTRIBUTING.md docs/*.md docs/examples/*/README.md; do
    for link in $(grep -oE '\]\([^)#]+' "$page" | cut -c3- | grep -vE '^https?:' | sort -u); do
        [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link is not there"; bad=1; }
    done
    for link in $(grep -oE '\(([a-z/]*)reference\.md#[^)]+' "$page" | sed 's/.*#//' | sort -u); do
        grep -qx -- "$link" <<<"$headings" || { echo "$page: reference.md#$link leads nowhere"; bad=1; }
    done
done
exit $bad
