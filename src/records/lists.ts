import { type Kysely, sql } from 'kysely'
import type { ListFilter, Page } from '../uploads/records.ts'
import { first, type Operation, type Query, query, rows } from './query.ts'
import { firstId, idBytes, idText, lastId, toUpload } from './rows.ts'
import type { Schema, UploadTable } from './schema.ts'
import type { Selectable } from 'kysely'

/** Rows that one step looks at when a filter has no index of its own. */
const windowRows = 2_000
/** Steps for one page; after them the page is short and the next one goes on from there. */
const windowsPerPage = 10

interface Values {
  workspace: string
  before: Uint8Array
  after: Uint8Array
  state: string
  category: string
  project: string
  /** JSON array. */
  states: string
  /** JSON array. */
  projects: string
  typeFrom: string
  typeTo: string
  /** Rows that are looked at. */
  window: number
  limit: number
}

/**
 * Pages of uploads, newest first. One query text for each set of filters, made when first asked for. A filter with an index (project,
 * one state, category) leads; the others are looked at within windows, so that no list holds the event loop for long.
 *
 * `step` asks for one window; the driver lets others run between two steps.
 */
export function listOperations(db: Kysely<Schema>) {
  const texts = new Map<
    string,
    { page: Query<Values, Selectable<UploadTable>>; edge: Query<Values, { id: Uint8Array }> }
  >()

  function textsFor(filter: ListFilter) {
    const shape = [filter.states?.length, filter.category, filter.projectId, filter.contentType, filter.onlyProjects]
      .map((part) => (part === undefined ? '-' : part === 1 ? 'one' : 'some'))
      .join()
    let found = texts.get(shape)
    if (!found) texts.set(shape, (found = build(filter)))
    return found
  }

  function build(filter: ListFilter) {
    const ids = (p: Values) => {
      let window = db
        .selectFrom('upload')
        .select('upload.id')
        .where('upload.workspace_id', '=', p.workspace)
        .where('upload.id', '<', p.before)
        .where('upload.id', '>=', p.after)
        .orderBy('upload.id', 'desc')
      if (filter.projectId !== undefined)
        window = window
          .innerJoin('binding', 'binding.upload_id', 'upload.id')
          .where('binding.workspace_id', '=', p.workspace)
          .where('binding.project_id', '=', p.project)
          .where('binding.upload_id', '<', p.before)
          .clearOrderBy()
          .orderBy('binding.upload_id', 'desc')
      else if (filter.states?.length === 1) window = window.where(sql<boolean>`upload.state = ${p.state}`)
      else if (filter.category !== undefined) window = window.where('upload.category', '=', p.category)
      return window
    }
    return {
      edge: query<Values>()((p) =>
        ids(p)
          .limit(1)
          .offset(sql<number>`${p.window} - 1`),
      ),
      page: query<Values>()((p) => {
        let page = db
          .selectFrom('upload')
          .selectAll()
          .where('id', 'in', ids(p).limit(p.window))
          .orderBy('id', 'desc')
          .limit(p.limit)
        if (filter.states) page = page.where(sql<boolean>`state in (select value from json_each(${p.states}))`)
        if (filter.category !== undefined) page = page.where('category', '=', p.category)
        if (filter.contentType !== undefined)
          page = page.where('content_type', '>=', p.typeFrom).where('content_type', '<', p.typeTo)
        if (filter.onlyProjects)
          page = page.where(
            sql<boolean>`(not exists (select 1 from binding b where b.upload_id = upload.id)
              or exists (select 1 from binding b where b.upload_id = upload.id
                and b.project_id in (select value from json_each(${p.projects}))))`,
          )
        return page
      }),
    }
  }

  return {
    /** At most one window's rows, and where to go on. */
    *step(filter: ListFilter, before: string | undefined): Operation<Page> {
      const { page, edge } = textsFor(filter)
      const values = listValues(filter, before)
      const found = (yield* rows(page, values)).map(toUpload)
      // One row more than the page holds was asked for: it tells that there is a next page.
      if (found.length > filter.limit) {
        const uploads = found.slice(0, filter.limit)
        return { uploads, next: uploads.at(-1)?.id ?? null }
      }
      const last = yield* first(edge, values)
      return { uploads: found, next: last ? idText(last.id) : null }
    },
    windowsPerPage,
  }
}

/** Whether every filter is in the index that leads: then each row of the window is one of the page. */
function isIndexed({ states, category, projectId, contentType, onlyProjects }: ListFilter): boolean {
  if (contentType !== undefined || onlyProjects !== undefined) return false
  const leading = [projectId, states, category].filter((part) => part !== undefined)
  return leading.length === 0 || (leading.length === 1 && (states === undefined || states.length === 1))
}

function listValues(filter: ListFilter, before: string | undefined): Values {
  const [typeFrom, typeTo] = typeRange(filter.contentType ?? '')
  return {
    workspace: filter.workspaceId,
    before: before === undefined ? lastId : idBytes(before),
    after: filter.createdAfter === undefined ? firstId : idBound(filter.createdAfter),
    state: filter.states?.[0] ?? '',
    category: filter.category ?? '',
    project: filter.projectId ?? '',
    states: JSON.stringify(filter.states ?? []),
    projects: JSON.stringify(filter.onlyProjects ?? []),
    typeFrom,
    typeTo,
    window: isIndexed(filter) ? filter.limit + 1 : windowRows,
    limit: filter.limit + 1,
  }
}

/** `image/*` is everything from `image/` up to, not including, `image0`: the character after the slash. */
function typeRange(type: string): [string, string] {
  if (type.endsWith('/*')) return [type.slice(0, -1), `${type.slice(0, -2)}0`]
  return [type, `${type}\u0000`]
}

/** The least id of uploads created after this millisecond: a version 7 UUID begins with its time. */
function idBound(time: number): Uint8Array {
  const id = Buffer.alloc(16)
  id.writeUIntBE(Math.max(0, Math.min(time + 1, 2 ** 48 - 1)), 0, 6)
  return id
}
