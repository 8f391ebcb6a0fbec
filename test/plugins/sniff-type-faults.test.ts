import { beforeEach, describe, expect, it, vi } from 'vitest'
import { sniffType, type SniffTypeOptions } from '../../plugins/sniff-type.ts'
import { pluginRunner } from '../../src/pipeline/runner.ts'
import { diskStore } from '../../src/stores/disk.ts'
import { sampleUpload } from '../support/plugin-harness.ts'
import { recordingLog } from '../support/rig.ts'

const bug = new TypeError('There is no type for this.')
// The one way to have a sniffer with a fault, now that none is known.
vi.mock('../../plugins/sniff-type/detect.ts', () => ({ detect: () => Promise.reject(bug) }))

let recording = recordingLog()
beforeEach(() => void (recording = recordingLog()))

const options = { reserve: async () => {} }
const bytes = Buffer.from('PK\x03\x04')

async function inspect(filename: string, declaredType: string | null, rules: SniffTypeOptions = {}) {
  const store = diskStore({ directory: '/nowhere' })
  const pipeline = pluginRunner({ plugins: [sniffType(rules)], store, log: recording.log })
  const { properties } = await pipeline.inspect(sampleUpload({ filename, declaredType }), bytes, options)
  return properties
}

describe('a fault of the sniffer', () => {
  it.each([
    ['drawing.vsdx', null, 'application/vnd.ms-visio.drawing', 'vsdx'],
    ['drawing', 'image/png', 'image/png', 'png'],
    ['photo.jpg', 'image/png', 'image/png', 'png'],
    ['photo.jpg', 'application/octet-stream', 'image/jpeg', 'jpeg'],
    ['upload', null, 'application/octet-stream', null],
    ['upload', 'no type', 'application/octet-stream', null],
  ])('leaves %s, declared as %s, what it is called: %s', async (name, declared, contentType, format) => {
    expect(await inspect(name, declared)).toEqual({ contentType, format, charset: null })
  })

  it('is told to the log, with the upload', async () => {
    await inspect('a.vsdx', null)
    const { id } = sampleUpload()
    expect(recording.lines).toMatchObject([{ level: 'error', facts: { plugin: 'sniff-type', uploadId: id, err: bug } }])
  })

  it('makes nothing active of it', async () => {
    for (const active of ['text/html', 'image/svg+xml', 'application/xhtml+xml', 'text/javascript'])
      expect(await inspect('a.html', active)).toMatchObject({ contentType: 'application/octet-stream', format: null })
  })

  it('opens no way around the lists', async () => {
    const refused = { code: 'file_type_not_allowed', facts: { found: 'application/octet-stream' } }
    await expect(inspect('a.png', 'image/png', { allow: ['image/*'] })).rejects.toMatchObject(refused)
    await expect(inspect('a.png', null, { deny: ['application/octet-stream'] })).rejects.toMatchObject(refused)
    const allow = ['application/octet-stream', 'application/pdf']
    expect(await inspect('a.png', 'image/png', { allow })).toMatchObject({ contentType: 'application/octet-stream' })
    expect(await inspect('a.png', null, { deny: ['image/png'] })).toMatchObject({
      contentType: 'application/octet-stream',
    })
  })

  it('is no lie of the client', async () => {
    expect(await inspect('a.png', 'image/png', { mode: 'reject' })).toMatchObject({ contentType: 'image/png' })
  })
})
