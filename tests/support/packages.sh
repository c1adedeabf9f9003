# SPDX-License-Identifier: BSL-1.0
# The one list of Debian 12 packages, by purpose, and how they are installed. To be sourced.
# shellcheck shell=bash disable=SC2034 # the lists are used by name

# The library, the tool and the lessons. (The core alone needs libboost-dev only.)
packages_build=(g++ make cmake ninja-build pkg-config libboost-dev libfmt-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
    libpcap-dev libxdp-dev libbpf-dev)
# Unit tests, checks and consumer tests.
packages_test=(doctest-dev librapidcheck-dev libbenchmark-dev universal-ctags python3)
# Traffic through namespaces.
packages_live=(iproute2 iputils-ping util-linux procps curl nginx-light ethtool iperf3 nftables python3)
# Benchmarks, and what ours is measured beside.
packages_bench=(libbenchmark-dev libabsl-dev robin-map-dev libtins-dev wrk iperf3 nginx-light libnginx-mod-stream haproxy nftables
    conntrack)
# The second compiler.
packages_clang=(clang-14 libclang-rt-14-dev)

# missing_packages GROUP...: prints what of these groups is not installed.
missing_packages() {
    local group package
    for group; do
        local -n packages="packages_$group"
        for package in "${packages[@]}"; do
            [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
        done
    done | sort -u
}

# install_packages GROUP...: installs what is missing, as root or through sudo. Where it may not, it prints the one command
# to run and exits with 2.
install_packages() {
    local missing as_root=()
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian system, so nothing is installed; needed are: README.md, section Dependencies." >&2
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 && -t 2 ]]; }; then
            as_root=(sudo)
        else
            echo "Packages are missing, and this is neither root nor a user who may sudo. Run this once, then again what you ran:" >&2
            echo "    sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" >&2
            exit 2
        fi
    fi
    echo "installing: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    apt_install_without_starting "${missing[@]}"
}

# Installed servers (nginx) are not started: the tests start their own, in their namespaces. Debian asks policy-rc.d, which
# stands there only meanwhile. Uses as_root of the caller. A subshell, so that the trap is its own.
apt_install_without_starting() (
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap '"${as_root[@]}" rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod +x "$policy"
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
)
