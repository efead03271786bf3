# Writes pipeline-lock into one [[runners]] of a GitLab Runner config.toml: a part of install.sh, which sources it.
# shellcheck shell=bash
# shellcheck disable=SC2154  # set by install.sh: runner_config, runner_name, installed, work_dir

readonly toml_editor=$source_dir/install/runner-config.awk
readonly toml_checker=$source_dir/install/runner-config.py

# The number of the runner to edit.
choose_runner() {
    local file=$1 listed name
    local -a numbers=()
    [[ -f $file ]] || die "$runner_config: no such file"
    listed=$(awk -v mode=list -f "$toml_editor" "$file") || die "$runner_config can't be edited safely (see above): do it by hand"
    [[ -n $listed ]] || die "$runner_config has no [[runners]]: register the runner first (gitlab-runner register)"
    if [[ -z $runner_name ]]; then
        [[ $listed != *$'\n'* ]] || die "$runner_config has several runners: choose one with --runner:
$(cut -f2 <<<"$listed" | sed 's/^/  /')"
        echo 1
        return
    fi
    while IFS=$'\t' read -r number name _; do
        [[ $name != "$runner_name" ]] || numbers+=("$number")
    done <<<"$listed"
    ((${#numbers[@]} > 0)) || die "$runner_config has no runner named \"$runner_name\", but:
$(cut -f2 <<<"$listed" | sed 's/^/  /')"
    ((${#numbers[@]} == 1)) || die "$runner_config has several runners named \"$runner_name\": rename one"
    echo "${numbers[0]}"
}

edited() {
    awk -v mode=edit -v wanted="$1" -v command="$installed" -v builds="$work_dir/builds" -v cache="$work_dir/cache" -f "$toml_editor" "$2"
}

# With Python's own TOML reader, where that is at hand: nothing but our keys of this one runner differs.
check_toml() {
    has python3 && python3 -c 'import tomllib' 2>/dev/null || return 0
    python3 "$toml_checker" "$@"
}

write_runner_config() {
    local file number backup
    file=$(readlink -f "$runner_config")
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    cp -p "$file" "$scratch/old" || die "$runner_config can't be read"
    number=$(choose_runner "$scratch/old")
    edited "$number" "$scratch/old" >"$scratch/new" || die "$runner_config can't be edited safely (see above): do it by hand"
    if ! edited "$number" "$scratch/new" | cmp -s - "$scratch/new" || ! check_toml "$scratch/old" "$scratch/new" "$number"; then
        die "$runner_config can't be edited safely: nothing was changed; do it by hand"
    fi
    if cmp -s "$scratch/old" "$scratch/new"; then
        say "$runner_config calls pipeline-lock already"
        return
    fi
    backup=$file.$(date +%Y%m%d-%H%M%S).bak
    cp -p "$file" "$backup"
    cp -p "$file" "$file.pipeline-lock"
    cat "$scratch/new" >"$file.pipeline-lock"
    cmp -s "$file" "$scratch/old" || { rm -f "$file.pipeline-lock" "$backup" && die "$runner_config was changed meanwhile: try again"; }
    mv -f "$file.pipeline-lock" "$file"
    say "$runner_config calls pipeline-lock now; as it was: $backup. The runner reads it by itself:"
    diff "$backup" "$file" || true
}
