#!/usr/bin/env bash
# libzmq asks the nexus command for the process' number, not the kernel, only if its getpid is among
# the program's dynamic symbols.
set -euo pipefail
nm -D --defined-only "$1/nexus" | grep -E ' T getpid$' >/dev/null || {
    echo "$1/nexus does not export getpid (cli/process_id.c)" >&2
    exit 1
}
