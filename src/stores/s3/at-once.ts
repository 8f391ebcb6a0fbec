/**
 * Does the same with each that is to do, so many at once. The first failure, or the signal, ends the others too: nothing may reach the store when this has
 * returned.
 */
export async function eachAtOnce<T>(
  todo: IterableIterator<T>,
  atOnce: number,
  signal: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal
  async function worker(): Promise<void> {
    for (const item of todo) {
      either.throwIfAborted()
      await work(item, either)
    }
  }
  const workers = Array.from({ length: atOnce }, () => worker().catch((error: unknown) => failed.abort(error)))
  await Promise.all(workers)
  either.throwIfAborted()
}
