import type { ChaosResult } from '../test/support/chaos.ts'

/** What was done and what it came to; the exit code says whether every promise was kept. */
export function printResult({ counts, breaches }: ChaosResult): void {
  for (const [what, times] of Object.entries(counts).toSorted(([a], [b]) => a.localeCompare(b)))
    console.log(`${String(times).padStart(8)}  ${what}`)
  console.log(breaches.length === 0 ? '\nNo breach.' : `\n${breaches.length} breaches:\n${breaches.join('\n')}`)
  process.exitCode = breaches.length === 0 ? 0 : 1
}
