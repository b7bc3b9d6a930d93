#!/usr/bin/env bash
# The embedding example runs a whole cluster in one program, ends cleanly and leaves no memory behind.
#   embed_test.sh BUILD_DIRECTORY
set -euo pipefail
build=$(cd "${1:?a build directory}" && pwd)
[ -x "$build/nexus-embed" ] || { echo "nexus-embed is not built: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

checker=()
if grep -q '^NEXUS_SANITIZE:STRING=.' "$build/CMakeCache.txt"; then
    echo "sanitized: valgrind is left out, LeakSanitizer looks for leaks"
elif command -v valgrind >/dev/null; then
    checker=(valgrind --quiet --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all --error-exitcode=9)
else
    echo "valgrind is not installed: skipped"
    exit 77
fi
"${checker[@]}" "$build/nexus-embed" "$work/cluster" >"$work/out" 2>"$work/err" ||
    { echo "exit status $?"; cat "$work/out" "$work/err"; exit 1; }
grep -q '^hello-1 succeeded: Hello from rank 0 of job hello-1$' "$work/out" || { cat "$work/out"; exit 1; }
