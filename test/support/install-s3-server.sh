#!/usr/bin/env bash
# Installs the S3 server that the tests start, Ceph's RADOS Gateway, where it is missing. Debian or Ubuntu, as root.
set -euo pipefail
packages=(ceph-mon ceph-osd radosgw ceph-common)
dpkg-query -W -f='${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed | grep -qx "${#packages[@]}" && exit 0
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${packages[@]}"
