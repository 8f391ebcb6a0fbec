import { defineConfig } from 'vitest/config'

/** What needs a real S3 server, a browser or a proxy, and what takes long for other reasons. `npm test` leaves it out. */
const services = [
  'test/**/*s3*.test.ts',
  'test/{deploy,plugins/media-info-worker}.test.ts',
  'test/dialects/{downloads-redirect,idempotency,leaning,metrics,rate-limit,tus-offer,types}.test.ts',
  'test/e2e/{crash,curl,data-directory,doctor,files,first-start,lost-records,media-turns,nginx,page,quota,rails,refusals,store-outage,tus-crash,tus-js-client,upload-command,uppy-snippet}.test.ts',
  'test/runtimes/**/*.test.ts',
]

/** What needs an engine that runs containers: see test/engine/run.sh. */
const engine = 'test/engine/**/*.test.ts'

export default defineConfig({
  test: {
    // Tests wait nearly as much as they compute.
    maxWorkers: 3,
    globalSetup: ['test/support/s3-global.ts', 'test/support/page-global.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { requireAssertions: true },
    projects: [
      { extends: true, test: { name: 'gateway', include: ['test/**/*.test.ts'], exclude: [...services, engine] } },
      { extends: true, test: { name: 'services', include: services } },
      { extends: true, test: { name: 'engine', include: [engine] } },
    ],
  },
})
