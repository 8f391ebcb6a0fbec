import { UploadError } from '../errors.ts'
import type { Lock, Locker, RequestRelease } from '../uploads/locker.ts'

/** Milliseconds for which a newcomer waits until the holder has kept what it has. */
const handOverMs = 5_000
/** Seconds after which a client that was refused may come again. */
const retrySeconds = 1

const locked = (message: string): UploadError => new UploadError('upload_locked', message, { retryAfter: retrySeconds })

interface Waiting {
  readonly requestRelease: RequestRelease
  grant(): void
  refuse(reason: unknown): void
}

interface Place {
  holder: RequestRelease
  waiting: Waiting | undefined
}

/** Locks of one process: one holder and one who waits for each upload. */
export function memoryLocker(): Locker {
  const places = new Map<string, Place>()

  function newLock(id: string): Lock {
    let mine: Place | undefined
    return {
      async lock(signal, requestRelease) {
        signal.throwIfAborted()
        const place = places.get(id)
        if (!place) {
          places.set(id, (mine = { holder: requestRelease, waiting: undefined }))
          return
        }
        place.waiting?.refuse(locked('A newer request for this upload has come.'))
        const granted = turn(place, signal, requestRelease)
        place.holder()
        await granted
        mine = place
      },
      async unlock() {
        const place = mine
        mine = undefined
        if (!place) return
        if (place.waiting) place.waiting.grant()
        else places.delete(id)
      },
    }
  }

  return { newLock }
}

function turn(place: Place, signal: AbortSignal, requestRelease: RequestRelease): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      if (place.waiting === mine) place.waiting = undefined
    }
    const mine: Waiting = {
      requestRelease,
      grant() {
        leave()
        place.holder = requestRelease
        resolve()
      },
      refuse(reason) {
        leave()
        reject(reason)
      },
    }
    const onAbort = (): void => mine.refuse(signal.reason)
    const timer = setTimeout(() => mine.refuse(locked('Another request is still writing this upload.')), handOverMs)
    signal.addEventListener('abort', onAbort, { once: true })
    place.waiting = mine
  })
}
