import type { Config } from '../../config/load.ts'
import { sweepDependencies } from '../app.ts'
import { checkGateway } from '../doctor/gateway.ts'
import { checkStore } from '../doctor/store.ts'
import { goesOn } from '../doctor/within.ts'
import { openStore } from '../drivers.ts'
import { reconcile, type Reconciled } from '../jobs/sweep.ts'
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

/** A check that failed, as one sentence after the other. */
const findingOf = ({ detail = '', remedy }: Check): string => (remedy === undefined ? detail : `${detail} ${remedy}`)

const lineOf = (check: Check): string =>
  check.ok
    ? `ok  ${check.check}${check.detail === undefined ? '' : `: ${check.detail}`}`
    : `- ${check.check}: ${findingOf(check)}`

/** One check for each sentence, or one that is well. */
const checksOf = (check: string, findings: readonly string[]): Check[] =>
  findings.length === 0 ? [passed(check)] : findings.map((detail) => ({ check, ok: false, detail }))

const sentence = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error ? `${error.message} (${error.cause.message})` : String(error)

interface Examination {
  readonly checks: readonly Check[]
  readonly compared: Reconciled
  readonly waiting: number
}

async function examine(
  records: Records,
  config: Config,
  { dryRun, setCors }: { readonly dryRun: boolean; readonly setCors: boolean },
): Promise<Examination> {
  const checks = checksOf('records', await records.audit())
  const store = await openStore(config, records)
  const looked = await checkStore(store, {
    dryRun,
    setCors,
    origins: config.server.corsOrigins,
    downloads: config.s3.downloads === 'redirect',
  })
  checks.push(...looked.checks)
  let compared: Reconciled = { findings: [], objects: 0, uploads: 0, orphans: [] }
  try {
    if (looked.usable) {
      compared = await reconcile(sweepDependencies(config, records, store), { dryRun })
      checks.push(...checksOf('objects', compared.findings))
    }
  } catch (error) {
    // What keeps the store from answering has been said.
    if (looked.checks.every(({ ok }) => ok))
      checks.push(...checksOf('objects', [`Records and store could not be compared: ${sentence(error)}`]))
  }
  store.close?.()
  const { waiting, failed } = await records.jobs()
  const givenUp = `${failed.length} jobs were given up: see "fairlead jobs list", then "fairlead jobs retry all".`
  checks.push(...checksOf('jobs', failed.length > 0 ? [givenUp] : []))
  for await (const check of checkGateway(records, config, { dryRun })) checks.push(check)
  return { checks, compared, waiting }
}

/** For those who run an installation: is everything as it should be, and what to do when not. */
export const doctorCommands: readonly Command[] = [
  {
    usage: 'doctor [--dry-run] [--set-cors]',
    help: 'tries records, store and server with an upload of its own, and says what is wrong; objects without a record are removed. --dry-run only looks; --set-cors lets your web pages send to the bucket',
    switches: ['dry-run', 'set-cors'],
    async run({ flags }) {
      const dryRun = flags['dry-run'] === true
      const setCors = flags['set-cors'] === true
      if (dryRun && setCors) throw new UsageError('--set-cors writes, and --dry-run does not: leave one out.')
      return withRecords(async (records, config) => {
        if (setCors && config.storage.driver !== 's3')
          throw new UsageError('--set-cors is for the s3 driver: only a bucket has CORS rules of its own.')
        const { checks, compared, waiting } = await examine(records, config, { dryRun, setCors })
        const findings = checks.filter(({ ok }) => !ok).map(findingOf)
        const removed = dryRun ? 0 : compared.orphans.length
        const checked = { objects: compared.objects, uploads: compared.uploads, jobs_waiting: waiting }
        const lines = checks.map(lineOf)
        if (removed > 0) lines.push(`${removed} objects without a record are being removed.`)
        lines.push(
          `Looked at ${checked.uploads} stored uploads and ${checked.objects} objects; ${waiting} jobs wait. ` +
            (findings.length === 0 ? 'Nothing is wrong.' : `${findings.length} findings.`),
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
        text: `${table([['NUMBER', 'KIND', 'TRIES', 'ERROR'], ...rows])}\n${waiting} jobs wait.`,
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
        text: `${retried} jobs will be tried again.`,
        exitCode: retried > 0 || which === 'all' ? 0 : 1,
      }
    },
  },
]
