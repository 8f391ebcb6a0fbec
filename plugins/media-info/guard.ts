import { isMainThread, Worker, workerData } from 'node:worker_threads'

const checkMs = 500
const threadMemory = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 }

const die = (): void => {
  process.kill(process.pid, 'SIGKILL') // exit() would wait for a decoder that hangs
}

/** Makes this process live exactly as long as the gateway wants it to. */
export function endWithParent(): void {
  process.on('disconnect', die)
  // A terminal or supervisor signals the whole group; a gateway that drains still needs this process, and ends it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  // A parser that spins never hears that the channel is closed: a second thread sees that the parent is another.
  new Worker(new URL(import.meta.url), { workerData: process.ppid, resourceLimits: threadMemory }).unref()
}

if (!isMainThread) {
  setInterval(() => {
    if (process.ppid !== workerData) die()
  }, checkMs)
}
