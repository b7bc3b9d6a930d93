#!/usr/bin/env bash
# What is installed is enough to build against: a program finds libnexus through pkg-config and
# through CMake, links, runs, and sees public functions only.
#   package_test.sh BUILD_DIRECTORY
set -euo pipefail
build=$(cd "${1:?a build directory}" && pwd)
for program in nexus nexus-fashion-mnist libnexus.so libnexus.a; do
    [ -e "$build/$program" ] || { echo "$program is not built: skipped"; exit 77; }
done
if grep -q '^NEXUS_SANITIZE:STRING=.' "$build/CMakeCache.txt"; then
    echo "a sanitized library needs a sanitized program: skipped"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/usr" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
cat >"$work/main.c" <<'C'
#include <nexus.h>
#include <stdio.h>
#include <string.h>
int main (void)
{
    nexus_error_t error;
    nexus_group_t *group = nexus_join (&error); /* no job has started us */
    printf ("%s\n", nexus_version_text ());
    return group || error.code != NEXUS_NOT_FOUND || !strstr (error.text, "NEXUS_TASK_FILE");
}
C

pc=$(dirname "$(find "$work/usr" -name nexus.pc)")
export PKG_CONFIG_PATH=$pc
# The prefix is where it was put, not where it was configured for.
flags=$(pkg-config --define-variable=prefix="$work/usr" --define-variable=libdir="$(dirname "$pc")" \
    --define-variable=includedir="$work/usr/include" --cflags --libs nexus)
# shellcheck disable=SC2086
cc -std=c99 -pedantic -Wall -Wextra -Werror "$work/main.c" $flags -Wl,-rpath,"$(dirname "$pc")" -o "$work/plain"
version=$("$work/plain")
[ "$version" = "$(pkg-config --modversion nexus)" ]
echo "pkg-config: nexus $version"

cat >"$work/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required (VERSION 3.25)
project (consumer LANGUAGES C)
find_package (nexus 0.1 REQUIRED)
add_executable (consumer main.c)
target_link_libraries (consumer PRIVATE nexus::nexus)
CMAKE
cmake -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/usr" >"$work/cmake.log" &&
    cmake --build "$work/build" >>"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
[ "$("$work/build/consumer")" = "$version" ]
echo "CMake: nexus::nexus $version"

strangers=$(nm -D --defined-only "$build/libnexus.so" | awk '$2 != "A" { print $3 }' | grep -v '^nexus_' || true)
[ -z "$strangers" ] || { echo "libnexus.so shows what is not public: $strangers"; exit 1; }
