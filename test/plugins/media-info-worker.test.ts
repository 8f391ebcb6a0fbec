import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Job, Outcome } from '../../plugins/media-info/parser-process.ts'
import { Parsers } from '../../plugins/media-info/parsers.ts'
import { BusyError } from '../../src/plugin.ts'

const longIdleMs = 60_000
const parserScript = new URL('../../plugins/media-info/worker.ts', import.meta.url)
const guard = new URL('../../plugins/media-info/guard.ts', import.meta.url)
const processModule = new URL('../../plugins/media-info/parsers.ts', import.meta.url)

const job = (size: number, over: Partial<Job> = {}): Job => ({
  kind: 'image',
  size,
  read: async () => new Uint8Array(),
  path: async () => '',
  signal: AbortSignal.timeout(10_000),
  ...over,
})

/** Answers when the store has given a byte. */
const held = 'read()\nprocess.once("message", () => done(size))'

/** One that takes until it is released; `asked`: it has begun. */
function heldJob() {
  const asked = Promise.withResolvers<void>()
  const bytes = Promise.withResolvers<Uint8Array>()
  const read = () => {
    asked.resolve()
    return bytes.promise
  }
  return { job: job(1, { read }), asked: asked.promise, release: () => bytes.resolve(new Uint8Array()) }
}

const slow = async () => {
  await new Promise((resolve) => setTimeout(resolve, 500))
  throw new Error('The store is slow, and failed.')
}

/** Processes whose command line names this file and that have not ended. */
async function running(script: URL): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const [command, status] = await Promise.all(
      ['cmdline', 'status'].map((file) => readFile(`/proc/${name}/${file}`, 'utf8').catch(() => '')),
    )
    if (command?.includes(script.pathname) && !/^State:\s*Z/m.test(status ?? '')) found.push(Number(name))
  }
  return found
}

/** Nothing: it has ended, as those of other tests may at any time. */
const environmentOf = (pid: number) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => undefined)

describe('the parser process', () => {
  let directory: string
  let count = 0
  const open: Parsers[] = []
  const parents: ChildProcess[] = []

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'media-process-'))
  })
  afterAll(async () => {
    for (const parser of open) parser.close()
    for (const parent of parents) parent.kill('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  })

  async function script(code: string): Promise<URL> {
    const path = join(directory, `${count++}.mjs`)
    await writeFile(path, code)
    return pathToFileURL(path)
  }

  function parsersOf(url: URL, { timeoutMs = 300, cpuMs = 60_000, idleMs = longIdleMs, hasRoom = true } = {}): Parsers {
    const parsers = new Parsers({ timeoutMs, cpuMs, idleMs, script: url }, () => hasRoom)
    open.push(parsers)
    return parsers
  }

  /** As one workspace sees them. */
  function parserOf(url: URL, timeoutMs = 300, idleMs = longIdleMs) {
    const parsers = parsersOf(url, { timeoutMs, idleMs })
    return { run: (one: Job) => parsers.run('w', one), close: () => parsers.close() }
  }

  /** A script that does, for a file of `size` bytes, what this body says; `done` answers, `read` asks. */
  const behaving = (body: string): Promise<URL> =>
    script(`process.on('disconnect', () => process.exit())
      process.on('message', ({ type, job, size }) => {
        if (type !== 'probe') return
        const done = (width) => process.send({ type: 'found', job, found: { width }, reason: undefined })
        const read = () => process.send({ type: 'read', job, request: 1, start: 0, end: 1 })
        ${body}
      })
      process.send({ type: 'ready' })`)

  const good: Outcome = { found: { width: 1 }, reason: undefined, killed: false }

  it.each([
    ['spins', 'for (;;);', 200],
    ['hangs in a call that never returns', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', 200],
    ['waits for ever', '', 200],
    ['throws', 'throw new Error("bug")', 5000],
    ['exits', 'process.exit(1)', 5000],
    ['crashes', 'process.abort()', 5000],
    ['uses up the memory of its scripts', 'const all = []; for (;;) all.push(new Array(1e5).fill(size))', 10_000],
  ])('that %s is replaced, and the next file is looked at', async (_what, body, timeoutMs) => {
    const parser = parserOf(await behaving(`if (size === 1) return done(1); ${body}`), timeoutMs)
    expect(await parser.run(job(2))).toMatchObject({ found: {}, killed: true, reason: expect.any(String) })
    expect(await parser.run(job(1))).toEqual(good)
    const jobs = [2, 1, 1].map((size) => parser.run(job(size)))
    expect((await Promise.all(jobs)).map(({ killed }) => killed)).toEqual([true, false, false])
  })

  it.runIf(process.platform === 'linux')('is killed when native code takes too much memory', async () => {
    const url = await behaving(`if (size === 1) return done(1)
      globalThis.all = []
      setInterval(() => all.push(Buffer.alloc(64 * 2 ** 20, 1)), 5)`)
    const parser = parserOf(url, 10_000)
    expect(await parser.run(job(2))).toMatchObject({ killed: true, reason: expect.stringContaining('MiB') })
    expect(await parser.run(job(1))).toEqual(good)
  })

  it('is not killed while it waits for the store', async () => {
    const parser = parserOf(await behaving('if (size) read(); else done(1)'))
    await expect(parser.run(job(1, { read: slow }))).rejects.toThrow('The store is slow')
    expect(await parser.run(job(0))).toEqual(good)
  })

  it('goes on when the store fails for a job that is over', async () => {
    const parser = parserOf(await behaving('if (size === 2) read(); else setTimeout(done, 700, 1)'), 3000)
    const gone = parser.run(job(2, { read: slow, signal: AbortSignal.timeout(200) }))
    await expect(gone).rejects.toThrow('timeout')
    expect(await parser.run(job(1))).toEqual(good)
  })

  it('is ended when it has nothing to do, and started again', async () => {
    const parser = parserOf(await behaving('done(globalThis.count = (globalThis.count ?? 0) + 1)'), 3000, 100)
    expect(await parser.run(job(1))).toEqual(good)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await parser.run(job(1))).toEqual(good)
  })

  it('is not ended while it works, because a job that waited was given up', async () => {
    const idleMs = 400
    const parser = parserOf(await behaving('read()\nprocess.once("message", () => done(size))'), 5_000, idleMs)
    const bytes = Promise.withResolvers<Uint8Array>()
    const first = parser.run(job(1, { read: () => bytes.promise }))
    const given = new AbortController()
    const second = parser.run(job(1, { signal: given.signal }))
    given.abort(new Error('deleted'))
    await expect(second).rejects.toThrow('deleted')
    bytes.resolve(new Uint8Array())
    expect(await first).toEqual(good)
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<Uint8Array>()
    const third = parser.run(
      job(1, {
        read() {
          asked.resolve()
          return answer.promise
        },
      }),
    )
    await asked.promise
    setTimeout(() => answer.resolve(new Uint8Array()), 2 * idleMs)
    expect(await third).toEqual(good)
  })

  it('that cannot start is a failure, not a fact about the file', async () => {
    const parser = parserOf(await script('throw new Error("no binary")'))
    await expect(parser.run(job(1))).rejects.toThrow('did not start')
  })

  it('does not take more jobs of one workspace than can wait, and takes those of another', async () => {
    const parsers = parsersOf(await behaving('if (size === 1) done(1)'), { timeoutMs: 10_000 })
    const stop = new AbortController()
    const jobs = Array.from({ length: 300 }, () => parsers.run('many', job(2, { signal: stop.signal })))
    const ended = Promise.allSettled(jobs)
    await expect(jobs.at(-1)).rejects.toThrow(BusyError)
    expect(await parsers.run('other', job(1))).toEqual(good)
    stop.abort(new Error('enough'))
    expect((await ended).filter(({ status }) => status === 'fulfilled')).toEqual([])
  })

  describe('takes turns', () => {
    it('so that a workspace with a slow file holds up itself and no other', async () => {
      const parsers = parsersOf(await behaving(held), { timeoutMs: 10_000 })
      const slowOne = heldJob()
      const first = parsers.run('many', slowOne.job)
      const order: string[] = []
      const second = parsers.run('many', job(1)).then(() => order.push('many'))
      await slowOne.asked
      expect(await parsers.run('other', job(1))).toEqual(good)
      order.push('other')
      slowOne.release()
      await Promise.all([first, second])
      expect(order).toEqual(['other', 'many'])
    })

    it('one workspace after the other where there is no memory for a second process', async () => {
      const parsers = parsersOf(await behaving(held), { timeoutMs: 10_000, hasRoom: false })
      const slowOne = heldJob()
      const order: string[] = []
      const run = (name: string) => parsers.run(name, job(1)).then(() => order.push(name))
      const first = parsers.run('many', slowOne.job)
      const others = [run('many'), run('many'), run('many'), run('other')]
      await slowOne.asked
      slowOne.release()
      await Promise.all([first, ...others])
      expect(order.indexOf('other')).toBeLessThan(2)
    })
  })

  it.runIf(process.platform === 'linux')('is killed when a file takes too much of the processor', async () => {
    const parsers = parsersOf(await behaving('if (size === 1) return done(1)\nfor (;;);'), {
      timeoutMs: 60_000,
      cpuMs: 200,
    })
    expect(await parsers.run('w', job(2))).toMatchObject({ killed: true, reason: expect.stringContaining('processor') })
    expect(await parsers.run('w', job(1))).toEqual(good)
  })

  describe.runIf(process.platform === 'linux')('leaves nothing behind', () => {
    it('when it is closed, idle or at work', async () => {
      const url = await behaving('if (size === 1) done(1)')
      const [idle, busy] = [parserOf(url, 5000), parserOf(url, 5000)]
      await idle.run(job(1))
      const run = busy.run(job(2))
      await expect.poll(() => running(url), { timeout: 5000 }).toHaveLength(2)
      idle.close()
      busy.close()
      await expect(run).rejects.toThrow('closed')
      await expect(idle.run(job(1))).rejects.toThrow('closed')
      await expect.poll(() => running(url), { timeout: 5000 }).toEqual([])
    })

    it('when a signal meant for the gateway reaches it too', async () => {
      const url = await script(`import { endWithParent } from ${JSON.stringify(guard.href)}
        endWithParent()
        process.on('message', ({ type, job }) => process.send(
          type === 'probe' ? { type: 'read', job, request: 1, start: 0, end: 1 } : { type: 'found', job: 1, found: { width: 1 } }))
        process.send({ type: 'ready' })`)
      const parser = parserOf(url, 5000)
      // It is at work when it asks for bytes, and gets them after the signals.
      const read = async () => {
        const pids = await running(url)
        expect(pids).toHaveLength(1)
        for (const pid of pids) for (const signal of ['SIGINT', 'SIGTERM']) process.kill(pid, signal)
        return new Uint8Array()
      }
      const run = parser.run(job(1, { read }))
      expect(await run).toMatchObject({ found: { width: 1 }, killed: false })
      parser.close()
      await expect.poll(() => running(url), { timeout: 5000 }).toEqual([])
    })

    it.each([
      ['is idle', 'process.on("message", () => {})'],
      ['spins', 'for (;;);'],
      ['hangs in a call', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)'],
    ])('when the gateway is killed while it %s', async (_what, then) => {
      const url = await script(`import { endWithParent } from ${JSON.stringify(guard.href)}
        endWithParent()
        process.send({ type: 'ready' })
        setTimeout(() => { ${then} }, 100)`)
      const parentUrl = await script(`import { Parsers } from ${JSON.stringify(processModule.href)}
        const parser = new Parsers({ timeoutMs: 60_000, cpuMs: 60_000, idleMs: 60_000, script: new URL(${JSON.stringify(url.href)}) })
        await parser.run('w', { kind: 'image', size: 1, signal: AbortSignal.timeout(60_000) })`)
      const parent = spawn(process.execPath, [parentUrl.pathname], { stdio: 'inherit' })
      parents.push(parent)
      await expect.poll(() => running(url), { timeout: 5000 }).toHaveLength(1)
      await new Promise((resolve) => setTimeout(resolve, 500))
      expect(await running(url)).toHaveLength(1)
      parent.kill('SIGKILL')
      await expect.poll(() => running(url), { timeout: 2000 }).toEqual([])
    })

    it('has no environment', async () => {
      const parser = parserOf(parserScript, 5000)
      const png = await readFile(new URL('../samples/media/still.bmp', import.meta.url))
      const read = async (start: number, end: number) => png.subarray(start, end)
      expect(await parser.run(job(png.length, { read }))).toMatchObject({ found: { width: 64 } })
      const pids = await running(parserScript)
      const environments = (await Promise.all(pids.map(environmentOf))).filter((text) => text !== undefined)
      for (const environment of environments) expect(environment).not.toContain('PATH=')
      expect(environments.length).toBeGreaterThan(0)
    })
  })
})
