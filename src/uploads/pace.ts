/** The lowest rate that is waited for. */
export interface Pace {
  readonly bytesPerSecond: number
  /** Milliseconds over which the rate is taken, again and again. */
  readonly windowMs: number
}

/** Bytes that must pass in one window. */
export const slowest = ({ bytesPerSecond, windowMs }: Pace): number => (bytesPerSecond * windowMs) / 1_000

export interface PaceWatch {
  came(bytes: number): void
  /** It was we who did not read: this window says nothing about the client. */
  held(): void
  stop(): void
}

/** Calls `onSlow` when less has come in one window than `lowest` demands. @param isHeld whether we are not reading just now */
export function watchPace(lowest: Pace | undefined, isHeld: () => boolean, onSlow: () => void): PaceWatch {
  let bytes = 0
  let wasHeld = false
  const timer =
    lowest &&
    setInterval(() => {
      const counts = !wasHeld
      const before = bytes
      wasHeld = isHeld()
      // When the process has stood still, what came meanwhile waits to be read: that is next.
      setImmediate(() => {
        if (counts && !isHeld() && bytes < slowest(lowest)) onSlow()
        bytes -= before
      })
    }, lowest.windowMs)
  return {
    came: (count) => void (bytes += count),
    held: () => void (wasHeld = true),
    stop: () => clearInterval(timer),
  }
}
