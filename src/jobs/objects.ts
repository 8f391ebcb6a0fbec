import type { ObjectStore } from '../uploads/object-store.ts'
import type { JobHandlers } from './worker.ts'

/** The jobs that remove objects from the store. */
export function objectJobs(store: ObjectStore): Pick<JobHandlers, 'delete-object' | 'clear-object' | 'look-again'> {
  return {
    'delete-object': ({ key }) => store.remove(key),
    async 'clear-object'({ key, note, until }) {
      await store.clear(key, note)
      // A request that was given up, or one that a URL still allows, may come after us.
      if (store.settledMs === undefined) return undefined
      return [{ kind: 'look-again', key, due: Math.max(Date.now(), until ?? 0) + store.settledMs }]
    },
    'look-again': ({ key }) => store.clear(key, null),
  }
}
