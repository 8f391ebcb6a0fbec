import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Tests wait nearly as much as they compute.
    maxWorkers: 3,
    globalSetup: ['test/support/s3-global.ts', 'test/support/page-global.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { requireAssertions: true },
  },
})
