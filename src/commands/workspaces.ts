import { parseSize } from '../../config/values.ts'
import { bytesText } from '../bytes-text.ts'
import { notFound } from '../errors.ts'
import type { Usage, Workspace } from '../uploads/records.ts'
import { isPersonalWorkspace } from '../uploads/workspace-id.ts'
import { checkId, checkWorkspaceName, type Command, table, text, UsageError, withRecords } from './command.ts'

const usageDays = 30
const dayMs = 86_400_000

const shown = (workspace: Workspace) => ({
  id: workspace.id,
  quota_bytes: workspace.limit,
  used_bytes: workspace.used,
  reserved_bytes: workspace.reserved,
  created_at: new Date(workspace.createdAt).toISOString(),
})

const quotaText = (bytes: number | null): string => (bytes === null ? 'no limit' : bytesText(bytes))

export const workspaceCommands: readonly Command[] = [
  {
    usage: 'workspaces create <id>',
    help: 'makes a workspace',
    async run({ words: [id] }) {
      const name = checkWorkspaceName(id, 'A workspace')
      const workspace = shown(await withRecords((records) => records.ensureWorkspace(name)))
      return { json: workspace, text: `Workspace ${workspace.id} is there.` }
    },
  },
  {
    usage: 'workspaces list',
    help: 'lists the workspaces with their use of storage',
    async run() {
      const all = (await withRecords((records) => records.workspaces())).map(shown)
      const rows = all.map((one) => [
        one.id,
        bytesText(one.used_bytes),
        bytesText(one.reserved_bytes),
        quotaText(one.quota_bytes),
      ])
      return { json: all, text: table([['ID', 'USED', 'RESERVED', 'QUOTA'], ...rows]) }
    },
  },
  {
    usage: 'workspaces set-quota <id> <bytes|10GiB|none>',
    help: 'limits what a workspace may store; none: the default of the installation',
    async run({ words: [id, size = ''] }) {
      const name = checkId(id, 'A workspace')
      const bytes = size === 'none' ? null : size === '0' ? 0 : parseSize(size)
      if (bytes === undefined)
        throw new UsageError(`A quota is bytes, a size such as 10GiB, or none; got ${JSON.stringify(size)}.`)
      const workspace = shown(await withRecords((records) => records.setQuota(name, bytes)))
      return { json: workspace, text: `Workspace ${name} may store: ${quotaText(workspace.quota_bytes)}.` }
    },
  },
  {
    usage: 'projects create <id> [--workspace W]',
    help: 'makes a project known, for installations with projects.mode "registered"',
    flags: ['workspace'],
    async run(input) {
      const id = checkId(input.words[0], 'A project')
      const workspace = checkId(text(input, 'workspace') ?? 'default', '--workspace')
      await withRecords(async (records) => {
        // It may be given projects, but is made only by its user.
        if (isPersonalWorkspace(workspace) && !(await records.workspace(workspace)))
          throw notFound(`workspace "${workspace}"`)
        await records.ensureProject(workspace, id)
      })
      return { json: { id, workspace_id: workspace }, text: `Project ${id} of workspace ${workspace} is there.` }
    },
  },
  {
    usage: 'projects list [--workspace W]',
    help: 'lists the projects of a workspace',
    flags: ['workspace'],
    async run(input) {
      const workspace = checkId(text(input, 'workspace') ?? 'default', '--workspace')
      const ids = await withRecords((records) => records.projects(workspace))
      return { json: ids.map((id) => ({ id, workspace_id: workspace })), text: ids.join('\n') }
    },
  },
  {
    usage: 'usage --workspace W',
    help: 'shows what a workspace stores',
    flags: ['workspace'],
    async run(input) {
      const id = checkId(text(input, 'workspace') ?? 'default', '--workspace')
      const fromDay = new Date(Date.now() - usageDays * dayMs).toISOString().slice(0, 10)
      const usage = await withRecords(async (records) => {
        if (!(await records.workspace(id))) throw notFound(`workspace "${id}"`)
        return records.usage(id, fromDay)
      })
      return { json: usageJson(usage), text: usageText(usage) }
    },
  },
]

const usageJson = ({ workspace, counts, days }: Usage) => ({
  workspace_id: workspace.id,
  used_bytes: workspace.used,
  reserved_bytes: workspace.reserved,
  quota_bytes: workspace.limit,
  uploads: counts,
  daily: days.map(({ day, uploads, bytes }) => ({ date: day, uploads, bytes })),
})

function usageText({ workspace, counts }: Usage): string {
  const states = Object.entries(counts).map(([state, count]) => `${count} ${state}`)
  return [
    `Workspace ${workspace.id}: ${bytesText(workspace.used)} used, ${bytesText(workspace.reserved)} reserved, quota: ${quotaText(workspace.limit)}.`,
    `Uploads: ${states.join(', ')}.`,
  ].join('\n')
}
