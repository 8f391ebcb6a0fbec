import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { barLine, fit, textCells } from '../../src/commands/upload/bars.ts'
import { UploadFailure } from '../../src/commands/upload/failure.ts'
import { patience } from '../../src/commands/upload/patience.ts'
import { plain, timeText } from '../../src/commands/upload/progress.ts'
import { type Identity, stateFolder, storedUrls } from '../../src/commands/upload/stored-urls.ts'

describe('a bar', () => {
  const state = { nameCells: 20, bytes: 300, size: 1_000, rate: 100 }

  it.each(['film.mp4', '映画の名前はとても長いです.mp4', `${'long'.repeat(40)}.bin`, '', '👩‍👩‍👧.png'])(
    'of %s fits any terminal',
    (name) => {
      for (let cells = 1; cells <= 140; cells++) {
        expect(textCells(barLine({ ...state, name }, cells))).toBeLessThanOrEqual(cells)
        expect(
          textCells(barLine({ ...state, name, waits: 'the server is away: waits 4 s' }, cells)),
        ).toBeLessThanOrEqual(cells)
      }
    },
  )

  it('tells as much as there is room for', () => {
    const line = (cells: number) => barLine({ ...state, name: 'film.mp4', nameCells: 10 }, cells)
    expect(line(100)).toBe('film.mp4     30 %  [#######-----------------]  300 B of 1000 B  100 B/s  0:07 left')
    expect(line(50)).toBe('film.mp4     30 %  [#######-----------------]')
    expect(line(20)).toBe('film.mp4     30 %')
    expect(barLine({ ...state, name: 'film.mp4', waits: 'away: waits 4 s' }, 60)).toMatch(
      /^film\.mp4 +away: waits 4 s$/,
    )
  })

  it('has no end in sight where nothing moves, and no size to divide by in an empty file', () => {
    const at = { ...state, name: 'a', rate: 0 }
    expect(barLine(at, 100)).not.toContain('left')
    expect(barLine({ ...at, bytes: 0, size: 0 }, 100)).toContain('100 %')
  })

  it('cuts names between characters', () => {
    expect(fit('abcdef', 4)).toBe('abc…')
    expect(fit('映画の', 4)).toBe('映…')
    expect(fit('abc', 0)).toBe('')
  })
})

describe('lines for logs', () => {
  it('come at every tenth, at most once a second, and after ten seconds in any case', () => {
    const lines: string[] = []
    let now = 0
    const file = plain((text) => lines.push(text), () => now).file('a\u0007b.bin', 1_000) // prettier-ignore
    file.begins()
    const at = (ms: number, bytes: number): number => {
      now = ms
      const before = lines.length
      file.at(bytes)
      return lines.length - before
    }
    expect([at(0, 0), at(500, 150), at(1_000, 190), at(1_900, 300), at(2_100, 310), at(3_200, 320)]).toEqual([
      0, 0, 1, 0, 1, 0,
    ])
    expect([at(11_900, 330), at(12_200, 340), at(13_000, 1_000)]).toEqual([0, 1, 0])
    file.ends(true)
    expect(lines[0]).toBe('a\\u{7}b.bin: begins, 1000 B\n')
    expect(lines.at(-1)).toBe('a\\u{7}b.bin: done in 0:13, 1000 B sent, 76.9 B/s\n')
  })

  it('count nothing as sent that an earlier run or an earlier try had brought', () => {
    const lines: string[] = []
    let now = 0
    const file = plain((text) => lines.push(text), () => now).file('a.bin', 1_000) // prettier-ignore
    file.begins()
    file.resumes(400)
    for (const bytes of [400, 600, 700]) file.at(bytes)
    file.begins()
    for (const bytes of [500, 1_000]) file.at(bytes)
    now = 10_000
    file.ends(true)
    expect(lines).toEqual([
      'a.bin: begins, 1000 B\n',
      'a.bin: goes on at 40 %, 400 B are there\n',
      'a.bin: done in 0:10, 800 B sent, 80 B/s\n',
    ])
  })

  it.each([
    [0, '0:00'],
    [65_400, '1:05'],
    [7_205_000, '2:00:05'],
  ])('write %i ms as %s', (ms, text) => {
    expect(timeText(ms)).toBe(text)
  })
})

describe('patience', () => {
  const signal = new AbortController().signal
  const away = { why: 'away', retryAfterMs: 0 }

  it('takes what the server asks for, within bounds, and grows by itself', async () => {
    const stopped = new AbortController()
    const waits: number[] = []
    const patient = patience(stopped.signal, (_, ms) => {
      waits.push(ms)
      if (waits.length === 2) stopped.abort()
    })
    await patient.wait({ why: 'away' })
    await patient.wait({ why: 'away' })
    await expect(patient.wait({ why: 'away', retryAfterMs: 3_600_000 })).rejects.toThrow(/abort/)
    expect(waits).toEqual([1_000, 60_000])
  })

  it('ends when nothing was achieved for too long', async () => {
    const now = Date.now
    const patient = patience(signal, () => {})
    try {
      // The first request has taken long.
      Date.now = () => now() + 16 * 60_000
      await patient.wait(away)
      Date.now = () => now() + 32 * 60_000
      await expect(patient.wait(away)).rejects.toThrow(UploadFailure)
      patient.moved()
      await patient.wait(away)
    } finally {
      Date.now = now
    }
  })
})

describe('the URLs of unfinished uploads', () => {
  let folder: string
  let state: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-state-'))
    state = join(folder, 'a/b')
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const told: string[] = []
  const stored = () => storedUrls(state, (why) => told.push(why))
  const identity: Identity = {
    path: '/data/film.mp4',
    size: 10,
    modified: '1',
    server: 'https://files.example.com',
    workspace: 'w',
    category: null,
    project: null,
  }
  const url = 'https://files.example.com/files/1'

  it('are found by the same file, server and options, and by nothing else', async () => {
    stored().keep(identity, url)
    expect(await stored().find({ ...identity })).toBe(url)
    const others: Partial<Identity>[] = [
      { path: '/data/film2.mp4' },
      { size: 11 },
      { modified: '2' },
      { server: 'https://other.example.com' },
      { workspace: 'v' },
      { category: 'video' },
      { project: 'p' },
    ]
    for (const other of others) expect(await stored().find({ ...identity, ...other })).toBeUndefined()
    expect((await stat(state)).mode & 0o777).toBe(0o700)
    for (const name of await readdir(state)) expect((await stat(join(state, name))).mode & 0o777).toBe(0o600)
  })

  it('are not lost by another command that keeps or forgets its own', async () => {
    const [one, other] = [stored(), stored()]
    for (let i = 0; i < 50; i++) (i % 2 === 0 ? one : other).keep({ ...identity, path: `/data/${i}` }, `${url}${i}`)
    for (let i = 0; i < 50; i++) expect(await one.find({ ...identity, path: `/data/${i}` })).toBe(`${url}${i}`)
    one.keep(identity, url)
    other.keep(identity, `${url}-newer`)
    await one.forget(identity, url)
    expect(await one.find(identity)).toBe(`${url}-newer`)
    await other.forget(identity, `${url}-newer`)
    expect(await one.find(identity)).toBeUndefined()
    expect(await readdir(state)).toHaveLength(50)
  })

  it.each(['', '{', '{}', '{"url":"file:///etc/passwd"}', '{"url":7}', `{"url":"${'x'.repeat(100_000)}"}`])(
    'are not there when the entry is %.40s',
    async (text) => {
      stored().keep(identity, url)
      const [name = ''] = await readdir(state)
      expect(await readFile(join(state, name), 'utf8')).toContain(url)
      await writeFile(join(state, name), text)
      expect(await stored().find(identity)).toBeUndefined()
    },
  )

  it('go when nobody came back for them', async () => {
    stored().keep(identity, url)
    stored().keep({ ...identity, path: '/new' }, url)
    const [name = ''] = await readdir(state)
    const old = new Date(Date.now() - 91 * 86_400_000)
    await utimes(join(state, name), old, old)
    await stored().tidy()
    expect(await readdir(state)).toHaveLength(1)
    expect(await readdir(state)).not.toContain(name)
  })

  it('are told once not to be kept where the folder cannot be', async () => {
    await writeFile(join(folder, 'a'), 'a file where the folder should be')
    const urls = stored()
    told.length = 0
    urls.keep(identity, url)
    urls.keep(identity, url)
    await urls.forget(identity, url)
    await urls.tidy()
    expect(told).toEqual([expect.stringMatching(/EEXIST|ENOTDIR/)])
  })

  it('are where the XDG specification says', () => {
    expect(stateFolder({ XDG_STATE_HOME: '/state' })).toBe('/state/fairlead/uploads')
    for (const env of [{}, { XDG_STATE_HOME: 'relative' }, { XDG_STATE_HOME: '' }])
      expect(stateFolder(env)).toMatch(/^\/.*\/\.local\/state\/fairlead\/uploads$/)
  })
})
