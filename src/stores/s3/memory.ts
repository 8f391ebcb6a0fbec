import { largestKeptPiece } from '../../uploads/object-store.ts'

/** Bytes of the pieces that memory is given out in: each may go on record as it is. */
export const slabBytes = largestKeptPiece
/** Share of the slabs that leases of more than one slab may take: the rest is for small objects, which never wait for large ones. */
const largeShare = 3 / 4
/** Milliseconds after which a lease that waits is overtaken by smaller ones no more. */
const patienceMs = 250
/** Milliseconds for which a lease is left alone while others wait. */
const undisturbedMs = 2_000
/** Milliseconds between two looks at them. */
const pressureCheckMs = 500

/** Memory for one part of an object on its way into the store. */
export interface Lease {
  /** Bytes that have been copied in. */
  readonly bytes: number
  /** Bytes that it has room for; may become less under pressure, until `grow`. */
  readonly room: number
  /** Copies from the chunk what there is room for; returns how many bytes. */
  fill(chunk: Uint8Array): number
  /** Waits for room for so many bytes in all. */
  grow(bytes: number, signal: AbortSignal): Promise<void>
  /** The bytes, slab by slab. Nobody may have them any more after `release`. */
  slabs(): readonly Uint8Array[]
  /** Gives back what is not filled. */
  trim(): void
  /** Gives all of it back. */
  release(): void
}

export interface PartMemory {
  /** Bytes that are given out, and bytes that there are. */
  readonly used: number
  readonly total: number
  /**
   * Waits for memory for so many bytes. At most one lease at a time goes beyond the total: when no other can be filled to its end.
   *
   * @param pressed called again and again when others wait and this lease has been held for long
   */
  lease(bytes: number, signal: AbortSignal, pressed: (lease: Lease) => void): Promise<Lease>
}

interface Waiting {
  readonly slabs: number
  readonly since: number
  grant(): void
}

/**
 * One budget for all parts of all objects. Slab by slab every part would fill a little and none be whole, so a lease is over a whole
 * part, or over one slab: fewest slabs first, but nobody who has waited for long is overtaken.
 */
export function partMemory(budgetBytes: number): PartMemory {
  const total = Math.floor(budgetBytes / slabBytes)
  const forLarge = Math.floor(total * largeShare)
  const spare: Buffer[] = []
  const leases = new Set<PartLease>()
  let granted = 0
  let waiting: Waiting[] = []
  let timer: NodeJS.Timeout | undefined

  /** Some lease can be filled to its end without waiting, so there will be memory again. */
  const someWhole = (): boolean => [...leases].some((lease) => lease.whole && lease.granted > 1)
  const fits = (slabs: number): boolean =>
    slabs === 1 ? granted < total : granted + slabs <= forLarge || (slabs > 1 && !someWhole())

  function wait(slabs: number, signal: AbortSignal, grant: () => void): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason)
    if (waiting.length === 0 && fits(slabs)) return Promise.resolve(grant())
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        waiting = waiting.filter((one) => one !== mine)
        reject(signal.reason)
        serve()
      }
      const mine: Waiting = {
        slabs,
        since: performance.now(),
        grant() {
          signal.removeEventListener('abort', onAbort)
          grant()
          resolve()
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      waiting.push(mine)
      serve()
      timer ??= setInterval(press, pressureCheckMs).unref()
    })
  }

  /** Gives to those who wait what there is. */
  function serve(): void {
    for (;;) {
      const patient = waiting.find((one) => one.slabs > 1 && performance.now() - one.since > patienceMs)
      const small = waiting.find((one) => one.slabs === 1)
      const large = patient ?? waiting.filter((one) => one.slabs > 1).toSorted((a, b) => a.slabs - b.slabs)[0]
      const next = [small, large].find((one) => one !== undefined && fits(one.slabs))
      if (!next) break
      waiting = waiting.filter((one) => one !== next)
      next.grant()
    }
    if (waiting.length === 0) {
      clearInterval(timer)
      timer = undefined
    }
  }

  function press(): void {
    const old = performance.now() - undisturbedMs
    for (const lease of leases) if (lease.since < old) lease.pressed(lease)
    serve()
  }

  const pool: Pool = {
    wait,
    take(slabs) {
      granted += slabs
    },
    give(slabs, buffers, lease) {
      granted -= slabs
      // What went beyond the budget is not kept.
      for (const buffer of buffers) if (spare.length < total) spare.push(buffer)
      if (lease) leases.delete(lease)
      serve()
    },
    buffer: () => spare.pop() ?? Buffer.allocUnsafeSlow(slabBytes),
    mayGoBeyond: () => granted <= forLarge,
  }

  return {
    get used() {
      return granted * slabBytes
    },
    total: total * slabBytes,
    async lease(bytes, signal, pressed) {
      const lease = new PartLease(pool, pressed)
      const slabs = slabsOf(bytes)
      await wait(slabs, signal, () => {
        lease.take(slabs)
        leases.add(lease)
      })
      return lease
    },
  }
}

interface Pool {
  wait(slabs: number, signal: AbortSignal, grant: () => void): Promise<void>
  take(slabs: number): void
  give(slabs: number, buffers: readonly Buffer[], lease?: PartLease): void
  buffer(): Buffer
  /** No lease has gone beyond the budget. */
  mayGoBeyond(): boolean
}

class PartLease implements Lease {
  /** Slabs that it may fill. */
  granted = 0
  /** It has not been trimmed: it can be filled to its end. */
  whole = true
  bytes = 0
  since = 0
  readonly pressed: (lease: Lease) => void
  readonly #pool: Pool
  #filled: Buffer[] = []

  constructor(pool: Pool, pressed: (lease: Lease) => void) {
    this.#pool = pool
    this.pressed = pressed
  }

  get room(): number {
    return this.granted * slabBytes
  }

  take(slabs: number): void {
    this.#pool.take(slabs)
    this.granted += slabs
    this.whole = true
    this.since = performance.now()
  }

  fill(chunk: Uint8Array): number {
    const taken = Math.min(chunk.length, this.room - this.bytes)
    for (let copied = 0; copied < taken;) {
      const at = this.bytes % slabBytes
      if (at === 0) this.#filled.push(this.#pool.buffer())
      const length = Math.min(taken - copied, slabBytes - at)
      this.#filled.at(-1)?.set(chunk.subarray(copied, copied + length), at)
      copied += length
      this.bytes += length
    }
    return taken
  }

  async grow(bytes: number, signal: AbortSignal): Promise<void> {
    const more = slabsOf(bytes) - this.granted
    if (more > 0) await this.#pool.wait(Math.max(2, more), signal, () => this.take(more))
  }

  trim(): void {
    // The one that goes beyond the budget keeps what it has: it is what frees the others.
    if (!this.#pool.mayGoBeyond()) return
    const unfilled = this.granted - this.#filled.length
    if (unfilled === 0) return
    this.granted = this.#filled.length
    this.whole = false
    this.#pool.give(unfilled, [])
  }

  slabs(): readonly Uint8Array[] {
    return this.#filled.map((slab, i) => slab.subarray(0, this.bytes - i * slabBytes))
  }

  release(): void {
    const slabs = this.granted
    const filled = this.#filled
    this.granted = 0
    this.bytes = 0
    this.#filled = []
    this.#pool.give(slabs, filled, this)
  }
}

const slabsOf = (bytes: number): number => Math.max(1, Math.ceil(bytes / slabBytes))
