# Sourced. What a base image has that the Dockerfile and the program use: Node, npm, a shell, a few programs and their libraries.

# make_base FOLDER NODE: the files of an image that stands in for node:…-slim where no registry of images can be reached.
make_base() {
  local base=$1 node=$2 npm program library folder authorities
  npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
  [ -f "$npm/bin/npm-cli.js" ] || { printf '%s is not the folder of npm\n' "$npm" >&2; return 1; }
  mkdir -p "$base"/{usr/{bin,sbin,lib,lib64,local/{bin,etc,lib/node_modules}},etc/ssl/certs,root,proc,dev,sys}
  mkdir -m 1777 "$base/tmp"
  for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$base/$folder"; done
  cp "$node" "$base/usr/local/bin/node"
  for program in sh env cat chmod find id install ln mkdir mv rm tar touch; do cp -L "$(command -v "$program")" "$base/usr/bin/$program"; done
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
  printf 'prefer-offline=true\nupdate-notifier=false\nregistry=%s\n' "$(npm_setting registry)" >"$base/usr/local/etc/npmrc"
  authorities=$(npm_setting cafile)
  if [ -f "$authorities" ]; then
    cp -L "$authorities" "$base/etc/ssl/certs/npm.pem"
    printf 'cafile=/etc/ssl/certs/npm.pem\n' >>"$base/usr/local/etc/npmrc"
  fi
}

npm_setting() { npm config get "$1" 2>/dev/null; }
