import { afterAll, describe, expect, it } from 'vitest'
import type { Job, Outcome } from '../../plugins/media-info/lane.ts'
import { type Pool, workerPool } from '../../plugins/media-info/pool.ts'

const idleMs = 400

const job = (size: number, over: Partial<Job> = {}): Job => ({
  kind: 'image',
  size,
  read: async () => new Uint8Array(),
  signal: AbortSignal.timeout(10_000),
  ...over,
})

const slow = async () => {
  await new Promise((resolve) => setTimeout(resolve, 1000))
  throw new Error('The store is slow, and failed.')
}

describe('the worker', () => {
  const pools: Pool[] = []
  afterAll(() => pools.forEach((pool) => pool.close()))

  /** A pool whose worker does, for a file of `size` bytes, what this function says; `done` answers. */
  const poolOf = (body: string, timeoutMs = 300): Pool => {
    const code = `import { parentPort } from 'node:worker_threads'
      parentPort.on('message', ({ job, size }) => {
        const done = (width) => parentPort.postMessage({ type: 'found', job, found: { width } })
        ${body}
      })
      parentPort.postMessage({ type: 'ready' })`
    const workerUrl = new URL(`data:text/javascript,${encodeURIComponent(code)}`)
    const pool = workerPool({ workers: 1, timeoutMs, idleMs, workerUrl })
    pools.push(pool)
    return pool
  }
  const good: Outcome = { found: { width: 1 }, reason: undefined, killed: false }

  it.each([
    ['spins', 'for (;;);'],
    ['waits for ever', ''],
    ['throws', 'throw new Error("bug")'],
    ['exits', 'process.exit(1)'],
    ['uses up its memory', 'const all = []; for (;;) all.push(new Array(1e5).fill(size))'],
  ])('that %s is replaced, and the next file is looked at', async (_what, body) => {
    const pool = poolOf(`if (size === 1) return done(1); ${body}`, 1500)
    expect(await pool.run(job(2))).toMatchObject({ found: {}, killed: true, reason: expect.any(String) })
    expect(await pool.run(job(1))).toEqual(good)
    const jobs = [2, 1, 1].map((size) => pool.run(job(size)))
    expect((await Promise.all(jobs)).map(({ killed }) => killed)).toEqual([true, false, false])
  })

  it('is not stopped while it waits for the store', async () => {
    const pool = poolOf(`if (size) parentPort.postMessage({ type: 'read', job, read: 1, start: 0, end: 1 })
      else done(1)`)
    await expect(pool.run(job(1, { read: slow }))).rejects.toThrow('The store is slow')
    expect(await pool.run(job(0))).toEqual(good)
  })

  it('goes on when the store fails for a job that is over', async () => {
    const pool = poolOf(
      `if (size === 2) parentPort.postMessage({ type: 'read', job, read: 1, start: 0, end: 1 })
      else setTimeout(done, 1500, 1)`,
      3000,
    )
    const gone = pool.run(job(2, { read: slow, signal: AbortSignal.timeout(300) }))
    await expect(gone).rejects.toThrow('timeout')
    expect(await pool.run(job(1))).toEqual(good)
  })

  it('is stopped when it has nothing to do, and started again', async () => {
    const pool = poolOf('done(globalThis.count = (globalThis.count ?? 0) + 1)')
    expect(await pool.run(job(1))).toEqual(good)
    await new Promise((resolve) => setTimeout(resolve, 2 * idleMs))
    expect(await pool.run(job(1))).toEqual(good)
  })

  it('that cannot start is a failure, not a fact about the file', async () => {
    const workerUrl = new URL('data:text/javascript,throw new Error("no binary")')
    const pool = workerPool({ workers: 1, timeoutMs: 300, idleMs, workerUrl })
    await expect(pool.run(job(1))).rejects.toThrow('did not start')
  })
})
