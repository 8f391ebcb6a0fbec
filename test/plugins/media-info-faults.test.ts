import { beforeEach, describe, expect, it, vi } from 'vitest'
import { mediaInfo } from '../../plugins/media-info.ts'
import type * as parserProcess from '../../plugins/media-info/parser-process.ts'
import { UploadError } from '../../src/errors.ts'
import { bytesSource, sampleUpload, uploadContext } from '../support/plugin-harness.ts'
import { recordingLog } from '../support/rig.ts'

// No process can be started: the machine has none left.
const spawned = vi.hoisted(() => ({ run: () => Promise.reject(new Error('not set')) }))
vi.mock('../../plugins/media-info/parser-process.ts', async (original) => ({
  ...(await original<typeof parserProcess>()),
  ParserProcess: class {
    run = () => spawned.run()
    close() {}
  },
}))
const { ParserFault } = await import('../../plugins/media-info/parser-process.ts')

let recording = recordingLog()
beforeEach(() => void (recording = recordingLog()))

const upload = sampleUpload({ properties: { contentType: 'video/mp4', format: 'mp4' } })
const look = () =>
  mediaInfo().beforeFinish?.(bytesSource(Buffer.alloc(9), '').source, { ...uploadContext(upload), log: recording.log })

describe('a fault of the media parsers', () => {
  it('refuses nothing: the facts are unknown, and the log says so', async () => {
    const fault = new ParserFault('The media parser did not start.')
    spawned.run = () => Promise.reject(fault)
    const nothing = { width: null, height: null, duration: null, codecs: null, pages: null }
    expect(await look()).toEqual({ properties: nothing })
    const facts = { plugin: 'media-info', uploadId: upload.id, err: fault }
    expect(recording.lines).toEqual([{ level: 'error', facts, message: 'the media parser failed' }])
  })

  it('is not the fault of a store that is away, which is tried again', async () => {
    const away = new UploadError('storage_failed', 'The store is away.')
    spawned.run = () => Promise.reject(away)
    await expect(look()).rejects.toBe(away)
    expect(recording.lines).toEqual([])
  })
})

describe('the parser process', () => {
  it('says which errors are its own', async () => {
    const { ParserProcess } = await vi.importActual<typeof parserProcess>('../../plugins/media-info/parser-process.ts')
    const script = new URL('file:///nowhere/no-parser.mjs')
    const parser = new ParserProcess({ timeoutMs: 1_000, idleMs: 1_000, script })
    const signal = AbortSignal.timeout(20_000)
    const run = parser.run({ kind: 'image', size: 1, read: async () => new Uint8Array(), path: async () => '', signal })
    await expect(run).rejects.toBeInstanceOf(ParserFault)
    parser.close()
  })
})
