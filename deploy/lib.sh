# What demo.sh and test.sh share: saying things, installing what is missing, building. Sourced, never run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")
tools=${XDG_CACHE_HOME:-$HOME/.cache}/holdfast-tools
export PATH="$PATH:$HOME/.cargo/bin"

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# apt_need COMMAND PACKAGE..: installs the packages unless the command is there.
apt_need() {
  local command=$1
  shift
  have "$command" && return
  have apt-get || die "$command is missing and there is no apt-get; install $* and start again"
  say "installing $* ($command is missing)"
  as_root apt-get update -qq || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install $*"
}

# Kamailio, started by us alone: the package would run one of its own at port 5060.
need_kamailio() {
  PATH=$PATH:/usr/sbin
  have kamailio && return
  apt_need kamailio kamailio kamailio-tls-modules
  if have systemctl; then as_root systemctl disable --now kamailio >/dev/null 2>&1; fi
}

# rtpengine, started by us alone: the package would run one of its own at port 2223.
need_rtpengine() {
  have rtpengine && return
  apt_need rtpengine rtpengine-daemon
  if have systemctl; then as_root systemctl disable --now rtpengine-daemon >/dev/null 2>&1; fi
}

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

need_rust() {
  local want have_version
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  have_version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
  version_at_least "${have_version:-0}" "$want" && return
  apt_need curl curl ca-certificates
  if have rustup; then
    say "installing the stable Rust toolchain (cargo ${have_version:-is missing}, $want is needed)"
    rustup toolchain install stable --profile default && rustup default stable
  else
    say "installing Rust with rustup (cargo ${have_version:-is missing}, $want is needed)"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default --no-modify-path
  fi || die "Rust $want or newer could not be installed"
  export PATH="$HOME/.cargo/bin:$PATH"
}

need_node() {
  local version package
  apt_need npm nodejs npm
  version=$(node --version | tr -d v)
  version_at_least "$version" 20.19 && return
  say "installing Node.js 22 into $tools (node $version is too old)"
  package=node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
  npm install --silent --no-save --prefix "$tools" "$package@22" || die "Node.js 22 could not be installed"
  export PATH="$tools/node_modules/$package/bin:$PATH"
}

need_builders() {
  apt_need cc build-essential
  apt_need curl curl ca-certificates
  need_rust
  need_node
}

build_js() {
  cd "$root/js-client" || return
  if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    say "installing the packages of js-client"
    npm ci --no-audit --no-fund --loglevel=error || die "npm ci failed in js-client"
  fi
  say "building the JS client and the softphone"
  npm run --silent build || die "the build of js-client failed"
  cd "$root" || return
}

build_binaries() {
  say "building gateway, balancer and loadtest in release mode (some minutes the first time)"
  (cd "$root" && cargo build --release --bins) || die "the build of the binaries failed"
}
