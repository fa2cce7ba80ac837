# Sourced by the benchmarks: whole processes timed from outside, medians of several runs.
command -v /usr/bin/time >/dev/null || { echo "needs GNU time: apt-get install time" >&2; exit 1; }

# median FILE COLUMN: the median of a column of numbers.
median() { awk -v c="$2" '{print $c}' "$1" | sort -g | awk '{v[NR]=$1} END {print (NR % 2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

# measure NAME RUNS COMMAND...: one warm-up, then medians of wall and CPU seconds and peak MiB.
# $before, if set, is run before each and not timed.
measure() {
    local name=$1 runs=$2 figures; shift 2
    figures=$(mktemp)
    for run in $(seq 0 "$runs"); do
        [ -z "${before:-}" ] || eval "$before"
        /usr/bin/time -o "$figures.one" -f '%e %U %S %M' "$@" >/dev/null 2>"$figures.err" || { echo "$name failed:"; tail -5 "$figures.err"; exit 1; }
        [ "$run" = 0 ] || tail -1 "$figures.one" | awk '{print $1, $2+$3, $4/1024}' >>"$figures"
    done
    printf '%-52s %8.3f s wall %8.3f s CPU %8.1f MiB peak   (median of %d)\n' "$name" "$(median "$figures" 1)" "$(median "$figures" 2)" "$(median "$figures" 3)" "$runs"
    rm -f "$figures" "$figures".*
}

# aside FOLDER: out of the way of the next run, beside it. Deleted it would be in the way: ext4 without a
# journal takes the longer to find a new inode the more files were deleted in the last minutes.
aside() { [ ! -e "$1" ] || mv "$1" "$(mktemp -d "$1.XXXXXX")"; }
