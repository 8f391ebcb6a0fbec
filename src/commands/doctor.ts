import { sweepDependencies } from '../app.ts'
import { openStore } from '../drivers.ts'
import { reconcile } from '../jobs/sweep.ts'
import type { Job } from '../uploads/records.ts'
import { type Command, table, UsageError, withRecords } from './command.ts'

const jobJson = (job: Job) => ({
  number: job.number,
  kind: job.work.kind,
  tries: job.tries,
  error: job.error,
  failed_at: job.failedAt === null ? null : new Date(job.failedAt).toISOString(),
})

/** For those who run an installation: is everything as it should be, and what to do when not. */
export const doctorCommands: readonly Command[] = [
  {
    usage: 'doctor [--dry-run]',
    help: 'compares counters, records, ledger and store; objects without a record are removed, unless --dry-run',
    switches: ['dry-run'],
    async run({ flags }) {
      const dryRun = flags['dry-run'] === true
      return withRecords(async (records, config) => {
        const store = await openStore(config, records)
        const findings = [...(await records.audit())]
        await store.check().catch((error: unknown) => findings.push(`The store cannot take uploads: ${String(error)}`))
        const compared = await reconcile(sweepDependencies(config, records, store), { dryRun })
        findings.push(...compared.findings)
        store.close?.()
        const { waiting, failed } = await records.jobs()
        if (failed.length > 0)
          findings.push(
            `${failed.length} jobs were given up: see "fairlead jobs list", then "fairlead jobs retry all".`,
          )
        const removed = dryRun ? 0 : compared.orphans.length
        const checked = { objects: compared.objects, uploads: compared.uploads, jobs_waiting: waiting }
        const lines = findings.map((finding) => `- ${finding}`)
        if (removed > 0) lines.push(`${removed} objects without a record are being removed.`)
        lines.push(
          `Looked at ${checked.uploads} stored uploads and ${checked.objects} objects; ${waiting} jobs wait. ` +
            (findings.length === 0 ? 'Nothing is wrong.' : `${findings.length} findings.`),
        )
        return {
          json: { ok: findings.length === 0, findings, removed_orphans: removed, checked },
          text: lines.join('\n'),
          exitCode: findings.length === 0 ? 0 : 1,
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
