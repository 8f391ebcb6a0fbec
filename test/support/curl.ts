import { execFile, execFileSync } from 'node:child_process'

/** Seconds after which curl gives up. */
const patience = 30

/** Why tests with these programs cannot run here, for `describe.skipIf`; nothing when they can. In CI they fail then. */
export function missingOf(...programs: readonly string[]): string | undefined {
  const missing = programs.filter((name) => !isThere(name))
  if (missing.length === 0 || process.env['CI']) return undefined
  return `no ${missing.join(', no ')}: apt-get install ${missing.join(' ')}`
}

export interface CurlAnswer {
  readonly status: number
  readonly type: string
  readonly body: string
  /** The body as JSON; the caller says what it must be. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the tests compare what the type only claims
  json<T = Record<string, unknown>>(): T
}

/** Runs curl with these arguments in this folder. Nobody's `.curlrc` counts. */
export function curlIn(folder: string, ...args: readonly string[]): Promise<CurlAnswer> {
  const own = ['--disable', '--silent', '--show-error', '--max-time', String(patience)]
  const all = [...own, '--write-out', '\n%{http_code} %{content_type}', ...args]
  return new Promise((resolve, reject) => {
    execFile('curl', all, { cwd: folder }, (error, stdout, stderr) => {
      if (error) return reject(new Error(`curl ${args.join(' ')}: ${stderr || error.message}`, { cause: error }))
      const end = stdout.lastIndexOf('\n')
      const [status = '', ...type] = stdout.slice(end + 1).split(' ')
      const body = stdout.slice(0, end)
      resolve({ status: Number(status), type: type.join(' '), body, json: () => JSON.parse(body) })
    })
  })
}

function isThere(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
