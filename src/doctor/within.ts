/** Milliseconds that one step may take. */
const stepMs = 15_000

export class TooLong extends Error {
  readonly seconds = stepMs / 1_000
}

let lost = 0

/** Whether something goes on that nobody waits for any more. */
export const goesOn = (): boolean => lost > 0

/** What the work gives, if it does so in time. Otherwise it goes on unheard. @throws {TooLong} */
export async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      lost++
      work.then(
        () => lost--,
        () => lost--,
      )
      reject(new TooLong())
    }, stepMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
