# What the scripts share. Sourced, not run; leaves the shell in the root of the project.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ulimit -c 0 # tests kill processes by the hundred

step() {
    printf '\n== %s\n' "$*"
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Print the comment at the head of the script.
usage() {
    sed -n '2,/^[^#]/ s/^#\( \|$\)//p' "$0"
}

# configure DIR [OPTION...]: make a build directory, or set the options of the one that is there.
# One made by another version of meson is made again with the options that it had.
configure() {
    local dir=$1 log=$1.log
    shift
    if [ ! -f "$dir/meson-private/coredata.dat" ]; then
        meson setup "$dir" "$@" >"$log" 2>&1
    elif [ $# -gt 0 ] && meson configure "$dir" "$@" >"$log" 2>&1; then
        : # ninja does the rest
    else
        meson setup --reconfigure "$dir" "$@" >"$log" 2>&1 ||
            meson setup --wipe "$dir" "$@" >"$log" 2>&1
    fi || {
        tail -n 30 "$log" >&2
        return 1
    }
    rm -f "$log"
}

# build DIR: compile; quiet, unless there are warnings or errors.
build() {
    local log=$1/build.log
    if ! ninja -C "$1" >"$log" 2>&1; then
        { grep -v '^ninja: \|^\[[0-9]*/[0-9]*\]' "$log" || cat "$log"; } | tail -n 60 >&2
        return 1
    fi
    grep -A 6 'warning:' "$log" | head -n 40 || true
}
