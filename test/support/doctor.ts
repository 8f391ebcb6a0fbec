import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { z } from 'zod'
import type { Check } from '../../src/uploads/diagnosis.ts'
import { projectRoot } from './gateway.ts'

/** What its many short runs share, so that each need not be compiled again. */
const cache = join(tmpdir(), `fairlead-doctor-compiled-${process.pid}`)
afterAll(() => rm(cache, { recursive: true, force: true }))

/** Milliseconds; the doctor ends long before. */
const timeoutMs = 30_000

const report = z.strictObject({
  ok: z.boolean(),
  findings: z.array(z.string()),
  removed_orphans: z.number(),
  checked: z.strictObject({ objects: z.number(), uploads: z.number(), jobs_waiting: z.number() }),
  checks: z.array(
    z.strictObject({
      check: z.string(),
      ok: z.boolean(),
      detail: z.string().exactOptional(),
      remedy: z.string().exactOptional(),
    }),
  ),
})

export interface Seen extends z.infer<typeof report> {
  readonly code: number
  readonly stdout: string
  /** Checks that failed, and their sentences. */
  readonly failed: Readonly<Record<string, string>>
  /** What is said of checks that are well. */
  readonly notes: Readonly<Record<string, string>>
  /** Milliseconds that the process took. */
  readonly ms: number
}

export interface Patient {
  readonly folder: string
  doctor(flags?: readonly string[], env?: Readonly<Record<string, string>>, uid?: number): Promise<Seen>
  /** What people see. */
  text(flags?: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>
  close(): Promise<void>
}

/** Runs the program's doctor as a process of its own, with those variables, in a folder of its own or that one. */
export async function patient(variables: Readonly<Record<string, string>>, folder?: string): Promise<Patient> {
  const own = folder ?? (await mkdtemp(join(tmpdir(), 'fairlead-doctor-')))
  const base = {
    PATH: process.env['PATH'] ?? '',
    HOME: own,
    NODE_COMPILE_CACHE: cache,
    FAIRLEAD_DATA_DIR: join(own, 'data'),
    FAIRLEAD_PORT: '0',
    ...variables,
  }
  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}, uid?: number) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const user = uid === undefined ? {} : { uid }
      const options = { cwd: own, env: { ...base, ...env }, timeout: timeoutMs, ...user }
      const program = join(projectRoot, 'bin/fairlead.js')
      const child = execFile(process.execPath, [program, 'doctor', ...args], options, (_, stdout, stderr) =>
        resolve({ code: child.exitCode ?? -1, stdout, stderr }),
      )
    })
  return {
    folder: own,
    async doctor(flags = [], env = {}, uid) {
      const began = Date.now()
      const { code, stdout, stderr } = await run([...flags, '--json'], env, uid)
      if (!stdout.startsWith('{"ok"')) throw new Error(`The doctor said: ${stdout}${stderr}`)
      const read = report.parse(JSON.parse(stdout))
      return {
        ...read,
        code,
        stdout,
        failed: textsOf(read.checks, false),
        notes: textsOf(read.checks, true),
        ms: Date.now() - began,
      }
    },
    text: async (flags = [], env = {}) => (await run(flags, env)).stdout,
    async close() {
      if (folder === undefined) await rm(own, { recursive: true, force: true })
    },
  }
}

/** The sentences of the checks that are well, or are not. */
export const textsOf = (checks: readonly Check[], ok: boolean): Record<string, string> =>
  Object.fromEntries(
    checks
      .filter((check) => check.ok === ok && (!ok || check.detail !== undefined))
      .map(({ check, detail = '', remedy = '' }) => [check, `${detail} ${remedy}`.trim()]),
  )
