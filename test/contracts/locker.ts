import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Lock, Locker } from '../../src/uploads/locker.ts'

/** Milliseconds in which nothing more happens. */
const quietMs = 50
const never = new AbortController().signal
const stays = (): void => {}

/** What every locker must do: the newest request gets the lock. */
export function lockerContract(name: string, open: () => Locker): void {
  describe(`${name} as a locker`, () => {
    let locker: Locker
    beforeEach(() => {
      locker = open()
    })

    /** Holds the lock, and says what becomes of it. */
    async function held(id: string, requestRelease: (lock: Lock) => void = stays): Promise<Lock> {
      const lock = locker.newLock(id)
      await lock.lock(never, () => requestRelease(lock))
      return lock
    }

    it('gives a lock at once that nobody holds, again and again', async () => {
      const locks: Lock[] = []
      for (let i = 0; i < 3; i++) {
        const lock = await held('a')
        await lock.unlock()
        locks.push(lock)
      }
      expect(new Set(locks).size).toBe(3)
    })

    it('knows uploads apart', async () => {
      let asked = 0
      await held('a', () => asked++)
      await held('b')
      expect(asked).toBe(0)
    })

    it('asks the holder at once, and waits until it has let go', async () => {
      const steps: string[] = []
      const first = await held('a', () => steps.push('asked'))
      const second = held('a').then((lock) => (steps.push('held'), lock))
      expect(steps).toEqual(['asked'])
      await sleep(quietMs)
      expect(steps).toEqual(['asked'])
      steps.push('let go')
      await first.unlock()
      await (await second).unlock()
      expect(steps).toEqual(['asked', 'let go', 'held'])
    })

    it('gives it to whoever comes while the holder lets go in the same moment', async () => {
      let asked = 0
      const giveUp = (lock: Lock): void => {
        asked++
        void lock.unlock()
      }
      await held('a', giveUp)
      await held('a', giveUp)
      await held('a')
      expect(asked).toBe(2)
    })

    it('refuses who waits when somebody newer comes', async () => {
      const first = await held('a')
      const second = held('a')
      const third = held('a')
      await expect(second).rejects.toMatchObject({ code: 'upload_locked', retryAfter: expect.any(Number) })
      await first.unlock()
      await (await third).unlock()
    })

    it('has one holder at a time, however many come', async () => {
      let holders = 0
      let most = 0
      let got = 0
      const take = async (i: number): Promise<void> => {
        await sleep(i % 7)
        const lock = locker.newLock('a')
        const stop = Promise.withResolvers<void>()
        try {
          await lock.lock(never, stop.resolve)
        } catch {
          return
        }
        got++
        most = Math.max(most, ++holders)
        await Promise.race([stop.promise, sleep(20)])
        holders--
        await lock.unlock()
      }
      await Promise.all(Array.from({ length: 100 }, (_, i) => take(i)))
      expect([holders, most]).toEqual([0, 1])
      expect(got).toBeGreaterThan(0)
      await held('a')
    })

    it('lets who waits give up, and forgets it', async () => {
      const first = await held('a')
      const leaves = new AbortController()
      const second = locker.newLock('a').lock(leaves.signal, stays)
      leaves.abort(new Error('The client has gone.'))
      await expect(second).rejects.toThrow('The client has gone.')
      await first.unlock()
      await held('a')
      await expect(locker.newLock('b').lock(AbortSignal.abort(new Error('gone')), stays)).rejects.toThrow('gone')
      await held('b')
    })

    it('takes no harm when a lock is given up that was never got, or twice', async () => {
      const first = await held('a')
      const waits = locker.newLock('a')
      await waits.unlock()
      await first.unlock()
      const second = await held('a')
      await first.unlock()
      let asked = false
      const third = held('a').then(() => (asked = true))
      await sleep(quietMs)
      expect(asked).toBe(false)
      await second.unlock()
      await third
    })

    it('refuses who has waited for long', async () => {
      const first = await held('a')
      await expect(held('a')).rejects.toMatchObject({ code: 'upload_locked' })
      await first.unlock()
      await held('a')
    })
  })
}
