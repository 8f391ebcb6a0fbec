import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Answer, clientOf, configText, requestHead, wireTo } from '../support/client.ts'
import { projectRoot, startGateway, type TestGateway } from '../support/gateway.ts'

/** What a browser says of a page that it opens, but for the `*` that would take anything. */
const opens = { Accept: 'text/html,application/xhtml+xml' }
/** What the page loads. */
const assets = ['/page/page.js', '/page/page.css', '/page/icon.svg']

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway({ config: configText() })
})
afterAll(() => gateway?.close())

const ask = (path: string, headers: Record<string, string> = {}, method = 'GET', at = gateway): Promise<Answer> =>
  clientOf(at, '')(method, path, { key: null, headers })

const policy = (url: string): readonly string[] => [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  `connect-src 'self' ${url}`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
]

const described = ({ status, headers }: Answer) => ({
  status,
  headers: ['content-type', 'content-length', 'etag', 'content-security-policy'].map((name) => headers.get(name)),
})

const documentedPaths = async (at: TestGateway): Promise<string[]> =>
  Object.keys((await ask('/openapi.json', {}, 'GET', at)).json<{ paths: object }>().paths)

/** There is no page and never was. */
async function expectNoPage(at: TestGateway, path: string): Promise<void> {
  const answer = await ask(path, opens, 'GET', at)
  expect(answer.status).toBe(404)
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
  expect(answer.headers.get('content-security-policy')).toBeNull()
  expect(answer.json()).toMatchObject({ errorCode: 'NOT_FOUND' })
}

describe('/', () => {
  it('is a page that may ask this gateway and nobody else', async () => {
    const answer = await ask('/', opens)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(answer.headers.get('content-security-policy')?.split('; ')).toEqual(policy(gateway.url))
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
    const html = answer.bytes.toString()
    expect(html).toContain('<h1>Fairlead</h1>')
    expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|<style|style=|\son\w+=/)
  })

  it('names what is there, and nothing elsewhere', async () => {
    const html = (await ask('/', opens)).bytes.toString()
    const named = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, to = '']) => new URL(to, `${gateway.url}/`))
    expect(named.map(({ pathname }) => pathname)).toEqual(expect.arrayContaining(assets))
    for (const url of named) {
      expect(url.origin).toBe(gateway.url)
      expect((await ask(url.pathname, { Accept: '*/*' })).status).toBe(200)
    }
    const css = (await ask('/page/page.css')).bytes.toString()
    expect(css).not.toContain('@import')
    const loaded = [...css.matchAll(/url\(\s*["']?([^"')]{0,30})/g)].map(([, to = '']) => to)
    expect(loaded.length).toBeGreaterThan(0)
    expect(loaded.filter((to) => !to.startsWith('data:'))).toEqual([])
  })

  it.each([
    ['/page/page.js', 'text/javascript; charset=utf-8', '*/*'],
    ['/page/page.css', 'text/css; charset=utf-8', 'text/css,*/*;q=0.1'],
    ['/page/icon.svg', 'image/svg+xml', 'image/avif,image/webp,image/svg+xml'],
  ])('loads %s as %s', async (path, type, accept) => {
    const answer = await ask(path, { Accept: accept })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe(type)
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('content-length')).toBe(String(answer.bytes.length))
  })

  it.each(['/', ...assets])('%s is kept by browsers, which ask whether it is the same', async (path) => {
    const answer = await ask(path)
    expect(answer.headers.get('cache-control')).toBe('no-cache')
    const etag = answer.headers.get('etag') ?? ''
    // Without the header `fetch` would say that it wants no kept answer.
    const known = await ask(path, { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' })
    expect(known.status).toBe(304)
    expect(known.bytes).toHaveLength(0)
    const other = await ask(path, { 'If-None-Match': '"other"', 'Cache-Control': 'max-age=0' })
    expect(other.status).toBe(200)
  })

  it.each(['/', ...assets])('answers HEAD of %s as GET, without the body', async (path) => {
    const [get, head] = await Promise.all([ask(path), ask(path, {}, 'HEAD')])
    expect(described(head)).toEqual(described(get))
    expect(head.bytes).toHaveLength(0)
  })

  it('takes no other method', async () => {
    const answer = await ask('/', {}, 'POST')
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('HEAD, GET, OPTIONS')
  })

  it.each(["a';script-src x", 'a; script-src *', 'a:99999', '..'])('keeps its policy for the host %s', async (host) => {
    const wire = await wireTo(gateway.url)
    await wire.send(requestHead('GET', '/', { Host: host }))
    const answer = await wire.answer()
    wire.cut()
    expect(answer.status).toBe(200)
    const rules = answer.headers.get('content-security-policy')?.split('; ') ?? []
    expect(rules.filter((one) => !one.startsWith('connect-src '))).toEqual(
      policy('').filter((one) => !one.startsWith('connect-src ')),
    )
  })

  it.each([
    '/page/',
    '/page/index.html',
    '/page/page.ts',
    '/page/page.js.map',
    '/page/..%2f..%2fpackage.json',
    '/page/%2e%2e%2fpage%2fpage.js',
    `/page/${encodeURIComponent(`${projectRoot}/package.json`)}`,
    '/page/page.js%00',
    '/page/constructor',
    '/page/page.js/x',
  ])('serves no %s', async (path) => {
    await expectNoPage(gateway, path)
  })

  it.each(['/page', '/index.html', '/page/../package.json', '/page/../../etc/passwd', '//page/page.js'])(
    'serves no %s as it stands',
    async (path) => {
      const wire = await wireTo(gateway.url)
      await wire.send(requestHead('GET', path, { Host: 'a' }))
      expect((await wire.answer()).status).toBe(404)
      wire.cut()
    },
  )
})

describe('switched off', () => {
  let off: TestGateway
  beforeAll(async () => {
    off = await startGateway({ config: configText(undefined, 'server: { page: false }') })
  })
  afterAll(() => off?.close())

  it.each(['/', ...assets])('there is no %s', async (path) => {
    await expectNoPage(off, path)
  })

  it('nor in the document', async () => {
    expect(await documentedPaths(gateway)).toEqual(expect.arrayContaining(['/', '/page/{file}']))
    expect((await documentedPaths(off)).filter((path) => path === '/' || path.startsWith('/page'))).toEqual([])
  })
})

describe('a gateway whose page was not built', () => {
  let folder: string
  let bare: TestGateway
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-bare-'))
    for (const part of ['bin', 'config', 'plugins', 'src', 'package.json'])
      await cp(join(projectRoot, part), join(folder, part), { recursive: true })
    await symlink(join(projectRoot, 'node_modules'), join(folder, 'node_modules'))
    bare = await startGateway({ root: folder })
  })
  afterAll(async () => {
    await bare?.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('says what it is, and where its documentation is', async () => {
    const answer = await ask('/', opens, 'GET', bare)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(answer.headers.get('content-security-policy')?.split('; ')).toEqual(policy(bare.url))
    const html = answer.bytes.toString()
    expect(html).toContain('build:page')
    const links = [...html.matchAll(/href="([^"]*)"/g)].map(([, to = '']) => new URL(to, `${bare.url}/`).pathname)
    expect(links).toEqual(['/docs', '/llms.txt'])
    expect((await ask('/', opens, 'HEAD', bare)).status).toBe(200)
  })

  it.each(assets)('has no %s', async (path) => {
    await expectNoPage(bare, path)
  })
})

describe('an installation without development packages', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fairlead-production-'))
    for (const part of ['package.json', 'page'])
      await cp(join(projectRoot, part), join(folder, part), { recursive: true })
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /** As npm does at the end of an installation. */
  const script = (name: string) =>
    new Promise<{ readonly failed: boolean; readonly said: string }>((resolve) => {
      const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter)
      const env = { PATH, HOME: folder }
      execFile('npm', ['run', '--silent', name], { cwd: folder, env }, (error, out, said) =>
        resolve({ failed: error !== null, said: out + said }),
      )
    })

  it('says in one line that there are no pages, and is none the worse for it', async () => {
    const said = 'The pages at / and /docs are not built: the development packages are not installed.\n'
    expect(await script('prepare')).toEqual({ failed: false, said })
    expect(await script('build:page')).toEqual({ failed: true, said })
  })
})
