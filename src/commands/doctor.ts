import type { Config } from '../../config/load.ts'
import { sweepDependencies } from '../app.ts'
import { checkGateway } from '../doctor/gateway.ts'
import { checkStore, explain } from '../doctor/store.ts'
import { goesOn } from '../doctor/within.ts'
import { openStore } from '../drivers.ts'
import { reconcile, type Reconciled } from '../jobs/sweep.ts'
import { UploadError } from '../errors.ts'
import { type Check, passed } from '../uploads/diagnosis.ts'
import type { Job, Records } from '../uploads/records.ts'
import { type Command, table, UsageError, withRecords } from './command.ts'

const jobJson = (job: Job) => ({
  number: job.number,
  kind: job.work.kind,
  tries: job.tries,
  error: job.error,
  failed_at: job.failedAt === null ? null : new Date(job.failedAt).toISOString(),
})

/** Such as "1 finding", "2 findings". */
const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

/** A check that failed, as one sentence after the other. */
const findingOf = ({ detail = '', remedy }: Check): string => (remedy === undefined ? detail : `${detail} ${remedy}`)

const lineOf = (check: Check): string =>
  check.ok
    ? `ok  ${check.check}${check.detail === undefined ? '' : `: ${check.detail}`}`
    : `- ${check.check}: ${findingOf(check)}`

/** One check for each sentence, or one that is well. */
const checksOf = (check: string, findings: readonly string[]): Check[] =>
  findings.length === 0 ? [passed(check)] : findings.map((detail) => ({ check, ok: false, detail }))

interface Examination {
  readonly checks: readonly Check[]
  readonly compared: Reconciled
  readonly waiting: number
}

const nothing: Reconciled = { findings: [], objects: 0, uploads: 0, orphans: [], removed: 0, kept: 0 }

interface Options {
  readonly dryRun: boolean
  readonly setCors: boolean
  readonly removeOrphans: boolean
}

async function examineStore(
  records: Records,
  config: Config,
  { dryRun, setCors, removeOrphans }: Options,
): Promise<{ readonly found: readonly Check[]; readonly compared: Reconciled }> {
  const store = await openStore(config, records)
  try {
    const origins = config.server.corsOrigins
    const downloads = config.s3.downloads === 'redirect'
    const { checks, usable } = await checkStore(store, { dryRun, setCors, origins, downloads })
    if (!usable) return { found: checks, compared: nothing }
    try {
      const compared = await reconcile(sweepDependencies(config, records, store), { dryRun, removeOrphans })
      return { found: [...checks, ...checksOf('objects', compared.findings)], compared }
    } catch (error) {
      if (!(error instanceof UploadError && error.code === 'storage_failed')) throw error
      const said = checks.some(({ ok }) => !ok)
      const untold: Check = { check: 'objects', ok: false, ...explain(store, 'list', error) }
      return { found: said ? checks : [...checks, untold], compared: nothing }
    }
  } finally {
    store.close?.()
  }
}

async function examine(records: Records, config: Config, options: Options): Promise<Examination> {
  const checks = checksOf('records', await records.audit())
  const { found, compared } = await examineStore(records, config, options)
  checks.push(...found)
  const { waiting, failed: lost } = await records.jobs()
  const givenUp = `${counted(lost.length, 'job')} given up: see "fairlead jobs list", then "fairlead jobs retry all".`
  checks.push(...checksOf('jobs', lost.length > 0 ? [givenUp] : []))
  for await (const check of checkGateway(records, config, options)) checks.push(check)
  return { checks, compared, waiting }
}

/** For those who run an installation: is everything as it should be, and what to do when not. */
export const doctorCommands: readonly Command[] = [
  {
    usage: 'doctor [--dry-run] [--set-cors] [--remove-orphans]',
    help: 'tries records, store and server with an upload of its own, and says what is wrong; objects without a record are removed, where they are few. --dry-run only looks; --set-cors lets your web pages send to the bucket; --remove-orphans confirms that objects without a record go, however many they are',
    switches: ['dry-run', 'set-cors', 'remove-orphans'],
    async run({ flags }) {
      const dryRun = flags['dry-run'] === true
      const setCors = flags['set-cors'] === true
      const removeOrphans = flags['remove-orphans'] === true
      if (dryRun && removeOrphans)
        throw new UsageError('--remove-orphans removes, and --dry-run does not: leave one out.')
      if (dryRun && setCors) throw new UsageError('--set-cors writes, and --dry-run does not: leave one out.')
      return withRecords(async (records, config) => {
        if (setCors && config.storage.driver !== 's3')
          throw new UsageError('--set-cors is for the s3 driver: only a bucket has CORS rules of its own.')
        const { checks, compared, waiting } = await examine(records, config, { dryRun, setCors, removeOrphans })
        const findings = checks.filter(({ ok }) => !ok).map(findingOf)
        const { removed } = compared
        const checked = { objects: compared.objects, uploads: compared.uploads, jobs_waiting: waiting }
        const lines = checks.map(lineOf)
        if (removed > 0) lines.push(`Being removed: ${counted(removed, 'object')} without a record.`)
        lines.push(
          `Looked at ${counted(checked.uploads, 'stored upload')} and ${counted(checked.objects, 'object')}; ${counted(waiting, 'job')} waiting. ` +
            (findings.length === 0 ? 'Nothing is wrong.' : `${counted(findings.length, 'finding')}.`),
        )
        return {
          json: { ok: findings.length === 0, findings, removed_orphans: removed, checked, checks },
          text: lines.join('\n'),
          exitCode: findings.length === 0 ? 0 : 1,
          abandons: goesOn(),
        }
      })
    },
  },
  {
    usage: 'jobs list',
    help: 'lists the jobs that were given up',
    async run() {
      const { waiting, failed } = await withRecords((records) => records.jobs())
      const rows = failed.map(jobJson).map((job) => [String(job.number), job.kind, String(job.tries), job.error ?? ''])
      return {
        json: { waiting, failed: failed.map(jobJson) },
        text: `${table([['NUMBER', 'KIND', 'TRIES', 'ERROR'], ...rows])}\n${counted(waiting, 'job')} waiting.`,
      }
    },
  },
  {
    usage: 'jobs retry <number|all>',
    help: 'tries jobs again that were given up',
    async run({ words: [which = ''] }) {
      if (which !== 'all' && !/^\d{1,15}$/.test(which)) throw new UsageError('Name the number of a job, or all.')
      const retried = await withRecords((records) => records.retryJobs(which === 'all' ? 'all' : Number(which)))
      return {
        json: { retried },
        text: `To be tried again: ${counted(retried, 'job')}.`,
        exitCode: retried > 0 || which === 'all' ? 0 : 1,
      }
    },
  },
]
