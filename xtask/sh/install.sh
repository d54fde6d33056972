#!/usr/bin/env bash
# Installs packages of Debian, with `sudo` where we are not root.
. "$(dirname "$0")/lib.sh"
echo "installing $*"
sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo --non-interactive)
"${sudo[@]}" apt-get --quiet update &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet install --yes --no-install-recommends "$@" ||
    fail "cannot install $*"
