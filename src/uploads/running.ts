import { UploadError } from '../errors.ts'
import type { Upload } from './upload.ts'

/** What is going on for which upload, so that it can be ended. */
export function runningWork() {
  const running = new Map<string, Set<AbortController>>()

  /** Work for an upload that ends, with the reason, when somebody ends the upload. @param stopped ends it too */
  async function stoppable(
    id: string,
    work: (signal: AbortSignal) => Promise<Upload>,
    stopped = new AbortController(),
  ): Promise<Upload> {
    const controllers = running.get(id) ?? new Set()
    running.set(id, controllers.add(stopped))
    try {
      return await work(stopped.signal)
    } catch (error) {
      if (stopped.signal.reason instanceof UploadError) throw stopped.signal.reason
      throw error
    } finally {
      controllers.delete(stopped)
      if (controllers.size === 0) running.delete(id)
    }
  }

  function stop(id: string, reason: UploadError): void {
    for (const controller of running.get(id) ?? []) controller.abort(reason)
  }

  return { stoppable, stop, isRunning: (id: string): boolean => running.has(id) }
}
