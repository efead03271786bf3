#!/usr/bin/env bash
# Builds and installs pipeline-lock on a host with GitLab Runner. `./install.sh --help` says how.

# Also when called as `sh install.sh`: the rest needs bash, as the runner's scripts do.
if [ -z "${BASH_VERSION:-}" ]; then
    if command -v bash >/dev/null 2>&1; then exec bash "$0" "$@"; fi
    echo "install.sh: bash is missing, and jobs need it as well: install it (Debian: apt-get install bash)" >&2
    exit 1
fi
set -euo pipefail
umask 022

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly source_dir
readonly default_config=$source_dir/executor-config/pipeline-lock.yaml

# shellcheck source=install/runner-config.sh
source "$source_dir/install/runner-config.sh"

usage() {
    cat <<'HELP'
Usage: ./install.sh [OPTIONS]

Builds pipeline-lock, installs it with its annotated configuration, runs a small job under a lock to show that it
works, and prints the lines that the runner's config.toml needs. An edited configuration is never overwritten.

  --prefix DIR          install the binary into DIR/bin [default: /usr/local]
  --user                install for this user, without root: ~/.local/bin, ~/.config/pipeline-lock
  --binary FILE         install this binary instead of building one
  --runner-config FILE  write the lines into this config.toml, after a backup: the runner gets `executor = "custom"`
  --runner NAME         which [[runners]] of that file, if it has several
  --runner-user USER    the user that the runner's process runs as, if it can't be found out
  --uninstall           remove the binary, and the configuration if nobody edited it
  --purge               with --uninstall: remove the edited configuration and the state as well
  --help                this text
HELP
}

die() {
    echo "install.sh: $*" >&2
    exit 1
}

warn() {
    echo "install.sh: warning: $*" >&2
}

say() {
    echo "==> $*"
}

has() {
    command -v "$1" >/dev/null 2>&1
}

parse_arguments() {
    prefix='' for_user='' binary='' runner_config='' runner_name='' runner_user='' uninstall='' purge=''
    while (($# > 0)); do
        case $1 in
            --prefix | --binary | --runner-config | --runner | --runner-user)
                (($# >= 2)) || die "$1 needs a value (--help)"
                case $1 in
                    --prefix) prefix=$2 ;;
                    --binary) binary=$2 ;;
                    --runner-config) runner_config=$2 ;;
                    --runner) runner_name=$2 ;;
                    --runner-user) runner_user=$2 ;;
                esac
                shift
                ;;
            --user) for_user=yes ;;
            --uninstall) uninstall=yes ;;
            --purge) purge=yes ;;
            --help | -h) usage && exit 0 ;;
            *) die "unknown option $1 (--help names them all)" ;;
        esac
        shift
    done
    [[ -z $purge || -n $uninstall ]] || die "--purge goes with --uninstall"
    [[ -z $runner_name || -n $runner_config ]] || die "--runner goes with --runner-config"
    [[ -z $uninstall || -z $runner_config ]] ||
        die "--uninstall leaves config.toml alone: choose another executor there by hand"
    [[ -z $for_user || -z $runner_user ]] || die "--runner-user does not go with --user: the runner is this user's"
}

# Where everything goes, and for whom.
choose_places() {
    [[ $(uname -s) == Linux ]] || die "pipeline-lock runs on Linux only, and this is $(uname -s)"
    if [[ -n $for_user ]]; then
        [[ ${HOME:-} == /* ]] || die "HOME is not set to an absolute path, so there is no place to install to"
        ((EUID != 0)) || die "--user is for a user without root; as root leave it out"
        prefix=${prefix:-$HOME/.local}
        config=$HOME/.config/pipeline-lock/config.yaml
        state_home=${XDG_STATE_HOME:-}
        [[ $state_home == /* ]] || state_home=$HOME/.local/state
        state=$state_home/pipeline-lock
        runner_home=$HOME/.gitlab-runner
        runner_user=$(id -un)
    else
        ((EUID == 0)) || die "root is needed: use sudo, or install for this user alone with --user"
        prefix=${prefix:-/usr/local}
        config=/etc/pipeline-lock/config.yaml
        state=/var/lib/pipeline-lock
        runner_home=/etc/gitlab-runner
        runner_user=${runner_user:-$(find_runner_user)}
        id -u "$runner_user" >/dev/null 2>&1 || die "there is no user $runner_user on this host"
    fi
    prefix=$(readlink -m "$prefix")
    installed=$prefix/bin/pipeline-lock
    # It goes into TOML between quotes.
    [[ $installed =~ ^[A-Za-z0-9_./@+,=~\ -]+$ ]] || die "the prefix $prefix has characters that config.toml can't take"
}

unit_property() {
    has systemctl || return 0
    [[ $(systemctl show -p LoadState --value gitlab-runner.service 2>/dev/null) == loaded ]] || return 0
    systemctl show -p "$1" --value gitlab-runner.service
}

# The user of the runner's own process: the stages of a custom executor run as that one. (`--user` on the runner's
# command line is another thing: it is for the shell executor's `su` and does not change who the process is.)
find_runner_user() {
    local user pid
    if [[ -n $(unit_property LoadState) ]]; then
        user=$(unit_property User)
        echo "${user:-root}"
        return
    fi
    for pid in $(runner_processes); do
        user=$(stat -c %U "/proc/$pid" 2>/dev/null) && echo "$user" && return
    done
    echo root
}

runner_processes() {
    local file words
    for file in /proc/[0-9]*/cmdline; do
        mapfile -d '' -t words 2>/dev/null <"$file" || continue
        [[ ${words[0]:-} == *gitlab-runner && ${words[1]:-} == run ]] || continue
        basename "$(dirname "$file")"
    done
}

# Builds as whoever owns the sources, so that `sudo ./install.sh` leaves nothing of root's in them.
build() {
    local -a as_owner=() path=()
    local owner home least have target
    owner=$(stat -c %U "$source_dir")
    if ((EUID == 0)) && [[ $owner != root && $owner != UNKNOWN ]]; then
        home=$(getent passwd "$owner" | cut -d: -f6)
        as_owner=(runuser -u "$owner" -- env "HOME=$home" "USER=$owner")
        path=("PATH=$home/.cargo/bin:$PATH")
    else
        path=("PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH")
    fi
    in_tree() {
        (cd "$source_dir" && "${as_owner[@]}" env "${path[@]}" "$@")
    }
    in_tree cargo --version >/dev/null 2>&1 || die "cargo is missing: install Rust from https://rustup.rs, or give a built binary with --binary"
    least=$(awk -F'"' '/^rust-version/ { print $2 }' "$source_dir/Cargo.toml")
    have=$(in_tree rustc --version | awk '{ print $2 }')
    [[ $(printf '%s\n' "$least" "$have" | sort -V | head -n 1) == "$least" ]] ||
        die "Rust $have is too old, and $least is needed: rustup update stable (Debian's own packages are older)"
    has cc || has gcc || has clang || die "a C compiler is missing, for SQLite and TLS: apt-get install gcc libc6-dev"
    say "Building, which takes a few minutes (Rust $have)"
    target=${CARGO_TARGET_DIR:-$source_dir/target}
    in_tree cargo build --profile dist --locked --target-dir "$target" || die "the build failed (see above)"
    binary=$target/dist/pipeline-lock
    [[ -x $binary ]] || die "cargo put the binary elsewhere (a build.target in its configuration?): find it, and give it with --binary"
}

install_binary() {
    [[ -f $binary ]] || die "$binary: no such file"
    [[ $("$binary" --version 2>/dev/null) == "pipeline-lock "* ]] || die "$binary does not run on this host (another architecture, or no pipeline-lock)"
    mkdir -p "$prefix/bin"
    # Renamed into place: a running job's processes keep the old one.
    install -m 0755 "$binary" "$installed.new"
    mv -f "$installed.new" "$installed"
    say "$installed is $("$installed" --version)"
}

# The default file for this host. A runner that isn't root has no say in /var/lib by default, so the file says it.
default_for_host() {
    if [[ -z $for_user && $runner_user != root ]]; then
        sed "s|^# state: /var/lib/pipeline-lock\$|state: $state|" "$default_config"
    else
        cat "$default_config"
    fi
}

install_config() {
    mkdir -p "$(dirname "$config")"
    if [[ ! -e $config ]]; then
        default_for_host >"$config"
        chmod 0644 "$config"
        say "$config is the annotated default"
    elif default_for_host | cmp -s - "$config"; then
        say "$config is the default already"
    elif cmp -s "$default_config" "$config"; then
        # Nobody edited it: it was for a runner that was root. Renamed into place, as a job may read it now.
        default_for_host >"$config.new"
        chmod 0644 "$config.new"
        mv -f "$config.new" "$config"
        say "$config names the state folder now, as the runner runs as $runner_user"
    else
        default_for_host >"$config.new"
        say "$config stays as it is; this version's default is beside it: $config.new"
        if [[ -z $for_user && $runner_user != root ]] && ! grep -q '^state:' "$config"; then
            warn "$config names no state folder, so the locks of $runner_user would be in its home: add \"state: $state\""
        fi
    fi
    if [[ -n $for_user && -e /etc/pipeline-lock/config.yaml ]]; then
        warn "/etc/pipeline-lock/config.yaml is there, and goes before $config"
    fi
}

make_state() {
    local owner
    if [[ -d $state ]]; then
        owner=$(stat -c %U "$state")
        [[ $owner == "$runner_user" ]] || die "$state belongs to $owner, but the runner runs as $runner_user: when no job holds a lock, chown -R $runner_user: $state"
    elif ((EUID == 0)); then
        install -d -m 0700 -o "$runner_user" -g "$(id -gn "$runner_user")" "$state"
    else
        mkdir -p "$(dirname "$state")"
        mkdir -m 0700 "$state"
    fi
    chmod 0700 "$state"
    say "$state is the state folder, for user $runner_user alone"
}

try_it() {
    # shellcheck disable=SC2016  # the job's shell expands it
    local -a command=("$installed" --config "$config" try --project install/check --job hello -- bash -c 'echo "Hello from a job that holds lock $PIPELINE_LOCK_NAME"')
    local home
    if ((EUID == 0)) && [[ $runner_user != root ]]; then
        home=$(getent passwd "$runner_user" | cut -d: -f6)
        command=(runuser -u "$runner_user" -- env "HOME=$home" "USER=$runner_user" "${command[@]}")
    fi
    say "A small job, through the stages that the runner calls:"
    (cd / && env -u TMPDIR "${command[@]}") || die "the job failed: see above, and docs/troubleshooting.md"
}

# The folders for builds and caches, for a runner that names none: a custom executor has no default.
find_folders() {
    local arguments
    work_dir=${HOME:-}
    [[ -z $for_user ]] || return 0
    arguments=$(unit_property ExecStart)
    if [[ $arguments =~ --working-directory[\ =]([^\ \;]+) ]]; then
        work_dir=${BASH_REMATCH[1]//\"/}
    else
        work_dir=$(getent passwd gitlab-runner | cut -d: -f6) || true
        work_dir=${work_dir:-$(getent passwd "$runner_user" | cut -d: -f6)}
    fi
}

print_block() {
    local stage
    echo
    echo "Now let the runner use it. In its config.toml, under the [[runners]] that it is for:"
    echo
    echo "  executor = \"custom\""
    echo "  builds_dir = \"$work_dir/builds\"   # unless there is one: a custom executor has no default"
    echo "  cache_dir = \"$work_dir/cache\""
    echo
    echo "  [runners.custom]"
    for stage in config prepare run cleanup; do
        echo "    ${stage}_exec = \"$installed\""
        echo "    ${stage}_args = [\"executor\", \"$stage\"]"
    done
    echo
    echo "Or let this script write them: --runner-config $runner_home/config.toml"
    echo "A complete example with timeouts: executor-config/config.toml"
}

# The processes of this installation that own a running job.
keepers() {
    local process words binary
    for process in /proc/[0-9]*; do
        mapfile -d '' -t words 2>/dev/null <"$process/cmdline" || continue
        [[ ${words[1]:-} == keeper ]] || continue
        binary=$(readlink "$process/exe" 2>/dev/null) || continue
        [[ ${binary% (deleted)} != "$installed" ]] || basename "$process"
    done
}

remove() {
    local running
    running=$(keepers | tr '\n' ' ')
    [[ -z $running ]] || die "jobs run under pipeline-lock (keepers: $running): let them end first"
    if [[ -e $installed ]]; then
        rm -f "$installed"
        say "$installed is removed"
    else
        say "there is no $installed: nothing to remove (is it under another --prefix?)"
    fi
    rm -f "$config.new"
    if [[ -z $purge && -e $config ]] && ! cmp -s "$default_config" "$config" && ! default_for_host | cmp -s - "$config"; then
        say "$config stays, as it was edited (--purge removes it)"
    elif [[ -e $config ]]; then
        rm -f "$config"
        say "$config is removed"
    fi
    rmdir "$(dirname "$config")" 2>/dev/null || true
    if [[ -n $purge ]]; then
        rm -rf "$state"
        say "$state is removed"
    elif [[ -d $state ]]; then
        say "$state stays, with the fencing numbers of its locks (--purge removes it)"
    fi
    echo "A config.toml that still calls pipeline-lock fails its jobs: choose another executor there."
}

main() {
    parse_arguments "$@"
    choose_places
    if [[ -n $uninstall ]]; then
        remove
        return
    fi
    # Before anything is done: what can't be edited is known now.
    [[ -z $runner_config ]] || choose_runner "$runner_config" >/dev/null
    [[ -n $binary ]] || build
    install_binary
    install_config
    make_state
    try_it
    find_folders
    if [[ -n $runner_config ]]; then
        write_runner_config
    else
        print_block
    fi
    has gitlab-runner || warn "gitlab-runner is not on the PATH: install it (https://docs.gitlab.com/runner/install/)"
    if [[ $runner_user == root ]]; then
        warn "the runner runs as root, and so will its jobs under a custom executor: docs/one-host.md says how to give it a user"
    fi
}

main "$@"
