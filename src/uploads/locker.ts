/** Called when somebody else wants the lock: end what you do with it, keep what you have, and give it up. */
export type RequestRelease = () => void

/** The lock of one upload, for one who wants it. In shape the `Lock` of @tus/server, so that its lockers fit. */
export interface Lock {
  /**
   * Resolves when the lock is held. Whoever comes last is served next: the holder is asked at once to let go, and one who waits already is
   * refused.
   *
   * @param signal gives the waiting up
   * @throws {UploadError} `upload_locked` when it was refused, or the holder does not let go in time
   */
  lock(signal: AbortSignal, requestRelease: RequestRelease): Promise<void>
  unlock(): Promise<void>
}

/** Lets one at a time write to an upload: the newest. */
export interface Locker {
  newLock(id: string): Lock
}
